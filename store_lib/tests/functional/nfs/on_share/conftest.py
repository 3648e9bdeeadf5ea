"""Tests of the file store whose directories lie on a share of NFS 4.2 that the store knows nothing of."""

import pytest

from store_lib.tests import support
from store_lib.tests.functional.nfs.conftest import LASTING, Share, mount, unmount


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
