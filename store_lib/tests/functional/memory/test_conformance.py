"""The memory store does what every store does."""

import pytest

from store_lib.conformance import Conformance
from store_lib.conformance.broken import table


class TestMemory(Conformance):
    """Images in memory."""

    other_id = "other"
    too_small = {"memory_store_size": 100_000}  # noqa: RUF012 (read only)

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

    vanish = staticmethod(table.vanish)
