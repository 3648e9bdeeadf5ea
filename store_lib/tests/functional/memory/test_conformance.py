"""The memory store does what every store does."""

import contextlib

import pytest

from store_lib.conformance import Conformance


class TestMemory(Conformance):
    """Images in memory."""

    other_id = "other"

    @pytest.fixture
    def store_config(self):
        """Return the configuration of two memory stores."""
        return """
[DEFAULT]
enabled_backends = it:memory, other:memory
[backend_defaults]
memory_store_name = shared
memory_store_password = a-secret-of-memory
"""

    @contextlib.contextmanager
    def vanish(self, place):
        """Take the images' place away."""
        state = place.store()._driver.state
        state.there = False
        yield
        state.there = True
