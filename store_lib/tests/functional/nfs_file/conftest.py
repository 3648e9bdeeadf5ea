"""Tests of the file store whose directories lie on a share of NFS 4.2 that the store knows nothing of.

``tools/run-tests "file on NFS"``, or ``tools/guest run -- .venv/bin/python -m pytest
store_lib/tests/functional/nfs_file``.
"""

import pathlib

import pytest

from store_lib.tests import support
from store_lib.tests.functional.nfs.conftest import (
    LASTING,
    LIMIT,
    Share,
    _relay,
    _unmount,
    _watchdog,
    _watched,
    in_the_guest_alone,
    mount,
    unmount,
)

__all__ = ["_relay", "_unmount", "_watchdog", "_watched"]


def pytest_collection_modifyitems(items):
    in_the_guest_alone(items, pathlib.Path(__file__).parent, "file on NFS", LIMIT)


@pytest.fixture(scope="module")
def point(_relay, tmp_path_factory):
    """Return the mount point of a share."""
    point = tmp_path_factory.mktemp("on_share")
    mount(Share(), point)
    LASTING.add(str(point))
    yield point
    LASTING.discard(str(point))
    unmount(point)


@pytest.fixture
def tmp_path(point):
    """Return a new folder on the share."""
    path = point / str(len(support.names(point)))
    path.mkdir()
    return path


@pytest.fixture
def temporary():
    """NFS has no files without a name: temporary files are hidden ones."""
    return "named"
