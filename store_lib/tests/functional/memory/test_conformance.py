"""The memory store does what every store does."""

import pytest

from store_lib.conformance import Conformance


class TestMemory(Conformance):
    """Images in memory."""

    @pytest.fixture
    def store_config(self):
        """Return the configuration of one memory store."""
        return "[DEFAULT]\nenabled_backends = it:memory\n[it]\n"
