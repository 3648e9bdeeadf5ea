"""The file store does what every store does, with file operations in this process and in helpers."""

import pytest

from store_lib.conformance import Conformance


class TestFile(Conformance):
    """File operations in this process."""

    options = ""

    @pytest.fixture
    def store_config(self, tmp_path):
        """Return the configuration of a file store."""
        lines = ["[DEFAULT]", "enabled_backends = it:file", "[it]", f"filesystem_store_datadir = {tmp_path / 'images'}"]
        return "\n".join([*lines, self.options])


class TestFileInHelpers(TestFile):
    """File operations in helper processes."""

    options = "filesystem_store_timeout = 30\n"
