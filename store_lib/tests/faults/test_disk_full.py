"""No room left."""

import contextlib
import os
import resource
import signal

import pytest

from store_lib import errors
from store_lib.tests import support

MIB = support.MIB

pytestmark = pytest.mark.root


@pytest.fixture
def small(mount_tmpfs, tmp_path):
    """Return a directory on a file system of 16 MiB."""
    return mount_tmpfs(tmp_path / "images", 16 * MIB)


def _free(path):
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


@pytest.mark.parametrize("size", [17 * MIB, 40 * MIB])
def test_while_writing(store, small, temporary, size):
    """An image of unknown size does not fit: StoreFull, all room is given back, the store goes on."""
    free = _free(small)
    with pytest.raises(errors.StoreFull) as caught:
        store.add("one", support.pieces(support.payload(size)))
    assert caught.value.store == "it"
    assert support.names(small) == []
    support.until(lambda: _free(small) == free)
    assert store.add("two", support.payload(10 * MIB)).size == 10 * MIB


def test_of_a_known_size(store, small, temporary):
    """An image of a known size does not fit: StoreFull before the source is read."""
    with pytest.raises(errors.StoreFull):
        store.add("one", support.unread(), 17 * MIB)
    assert support.names(small) == []


def test_taken_by_others_meanwhile(store, small, temporary):
    """The room that was there at the start is used by others before the image is complete."""

    def source():
        yield support.payload(6 * MIB)
        with contextlib.suppress(OSError):  # the image takes some of it at the same time
            (small / "theirs").write_bytes(bytes(_free(small)))
        yield support.payload(6 * MIB)

    with pytest.raises(errors.StoreFull):
        store.add("one", source(), 12 * MIB)
    assert support.names(small) == ["theirs"]


def test_nothing_free_at_all(store, small):
    """Not one byte is free: StoreFull for the smallest image; deleting works and makes room."""
    record = store.add("large", support.payload(10 * MIB))
    (small / "theirs").write_bytes(bytes(_free(small)))
    for size in (None, 0, 1):
        with pytest.raises(errors.StoreFull):
            store.add("one", b"x" if size is None else b"x"[:size], size)
    assert support.content(store, record.location) == support.payload(10 * MIB)
    store.delete(record.location)
    assert store.add("one", b"x").size == 1


def test_no_inodes_left(store, small):
    """The file system has no inode left: StoreFull."""
    store.probe()
    os.system(f"mount -o remount,nr_inodes=6 {small}")
    made = 0
    with contextlib.suppress(OSError):
        while made < 100:
            (small / f"theirs-{made}").touch()
            made += 1
    assert made < 10
    with pytest.raises(errors.StoreFull):
        store.add("one", b"x")
    assert len(support.names(small)) == made
    os.unlink(small / "theirs-0")
    assert store.add("one", b"x").size == 1


def test_larger_than_a_file_may_be(store, tmp_path, small):
    """The process may write files of 5 MiB only (EFBIG): StoreFull."""

    def add():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5 * MIB, 5 * MIB))
        try:
            store.add("one", support.payload(9 * MIB))
        except errors.StoreLibError as error:
            return type(error).__name__
        return None

    store.probe()
    assert support.in_child(add) == "StoreFull"
    assert support.names(small) == []
