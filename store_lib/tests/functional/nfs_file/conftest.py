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


#: What is asked of a share every day, by the parameters of a test; the rest of them it does as a disk does.
DAILY = {
    # Nothing, less than what a share writes at once, and several parts.
    "test_what_is_stored": {"True-0", "True-100000", "False-13631493"},
    "test_a_name_that_is_taken_meanwhile": {"file", "dangling link"},
    "test_a_move_is_a_rename": {"in helpers"},
    "test_a_move_that_was_cut_short_is_completed": {"in helpers"},
    # The server is asked for holes, also where there is nothing else, and at an end within a block.
    "test_from_store_to_store_holes_stay_holes": {
        "in the middle",
        "nothing but a hole",
        "odd size with a hole at the end",
    },
    "test_thin_provisioning_leaves_zeroes_out": {"False"},
}


def pytest_collection_modifyitems(items):
    folder = pathlib.Path(__file__).parent
    in_the_guest_alone(items, folder, "file on NFS", LIMIT)
    for item in items:
        daily = DAILY.get(item.originalname) if folder in item.path.parents else None
        if daily and item.callspec.id not in daily:
            item.add_marker(pytest.mark.long)


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
