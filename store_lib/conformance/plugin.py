"""Options of pytest for running the suite on a configured store; loaded by every pytest, hence it imports nothing."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("store_lib.conformance.checks", "store_lib.conformance.place")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("store_lib", "conformance of a configured store (pytest --pyargs store_lib.conformance)")
    group.addoption("--store-config", metavar="FILE", help="configuration file of the stores")
    group.addoption("--store", metavar="ID", help="id of the store; images are added to it and removed again")
    group.addoption("--store-other", metavar="ID", help="a second store of the same kind, for copies between the two")
