"""The file store does what every store does, with file operations in this process and in helpers."""

import contextlib

import pytest

from store_lib.conformance import Conformance, behaviours
from store_lib.tests import support


class TestFile(Conformance):
    """File operations in this process."""

    other_id = "other"
    options = ""

    @pytest.fixture
    def store_config(self, tmp_path):
        """Return the configuration of two file stores."""
        self.folder = tmp_path / "images"
        self.foreign = (f"file://{self.folder}-other/image", f"file://{tmp_path}/image")
        return f"""
[DEFAULT]
enabled_backends = it:file, other:file
[backend_defaults]
{self.options}
[it]
filesystem_store_datadir = {self.folder}
[other]
filesystem_store_datadir = {tmp_path / "others"}
"""

    @contextlib.contextmanager
    def vanish(self, place):
        """Move the directory away."""
        self.folder.rename(f"{self.folder}.away")
        yield
        self.folder.with_name("images.away").rename(self.folder)


class TestFileInHelpers(TestFile):
    """File operations in helper processes."""

    options = "filesystem_store_timeout = 60"


class TestFileByHiddenNames(TestFile):
    """Temporary files with hidden names, as on file systems that know no others: where that makes a difference."""

    @pytest.fixture(autouse=True)
    def _hidden(self, monkeypatch):
        support.without_unnamed_files(monkeypatch)


for _behaviour in behaviours():
    if _behaviour.topic not in ("commit", "faults", "leftovers", "sources"):
        setattr(TestFileByHiddenNames, _behaviour.test, None)
