"""Reading, listing and removing what is there."""

import contextlib
import io
import os
import socket
import threading

import pytest

from store_lib import Deletion, Feature, Status, errors
from store_lib.tests import support

MIB = support.MIB
SIZE = 5 * MIB + 321
DATA = support.payload(SIZE)


@pytest.fixture
def location(store):
    """Return the location of an image of some MiB."""
    return store.add("one", DATA).location


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (0, None),
        (0, 0),
        (0, 1),
        (0, SIZE),
        (1, None),
        (MIB - 1, 2),
        (MIB, 2 * MIB),
        (SIZE - 1, 1),
        (SIZE, None),
        (SIZE, 0),
    ],
)
def test_ranges(store, location, offset, length):
    """Reads ranges, at the borders too."""
    expected = DATA[offset:] if length is None else DATA[offset : offset + length]
    with store.open(location, offset, length) as reader:
        assert reader.length == len(expected)
        assert reader.read() == expected
        assert reader.read() == b""
        assert reader.info.size == SIZE
    with store.open(location, offset, length) as reader:
        assert b"".join(reader) == expected


@pytest.mark.parametrize(
    ("offset", "length"), [(SIZE + 1, None), (0, SIZE + 1), (SIZE, 1), (-1, None), (0, -1), ("0", 1)]
)
def test_ranges_beyond_the_image(store, location, offset, length):
    """Asks for bytes that are not there."""
    with pytest.raises(errors.BadRange):
        store.open(location, offset, length)


def test_seeking(store, location):
    """Seeks about inside a range and reads short pieces."""
    plain = io.BytesIO(DATA[1000 : 1000 + 3 * MIB])
    with store.open(location, 1000, 3 * MIB) as reader:
        assert reader.seekable()
        for whence, offset in [(0, 5), (1, 100_000), (2, -7), (0, 0), (2, 0), (0, 2 * MIB), (1, -MIB), (0, 4 * MIB)]:
            reader.seek(offset, whence)
            plain.seek(min(plain.seek(offset, whence), 3 * MIB))
            assert reader.tell() == plain.tell()
            assert reader.read(70_000) == plain.read(70_000)
        with pytest.raises(ValueError, match="negative"):
            reader.seek(-1)


def test_as_a_plain_file(store, location):
    """Wraps what open returns in Python's own reader, and reads it by lines and readinto."""
    buffered = io.BufferedReader(store.open(location))
    with buffered:
        assert buffered.read(10) == DATA[:10]
        assert buffered.readline() == DATA[10 : DATA.index(b"\n", 10) + 1]
    with store.open(location) as reader:
        buffer = bytearray(SIZE)
        at = 0
        while got := reader.readinto(memoryview(buffer)[at:]):
            at += got
        assert buffer == DATA


def test_delete_while_a_reader_has_it_open(store, location, tmp_path):
    """Deletes an image that is being read: the reader goes on to the end, new ones find nothing."""
    with store.open(location) as reader:
        assert reader.read(10) == DATA[:10]
        assert store.delete(location) is Deletion.DELETED
        assert support.names(tmp_path / "images") == []
        with pytest.raises(errors.NotFound):
            store.open(location)
        store.add("one", b"another")
        assert reader.read() == DATA[10:]
    assert support.content(store, location) == b"another"


def test_closing_in_another_thread(store, location):
    """Closes a reader while another thread reads: it ends with an error, and no descriptor is used again."""
    for _ in range(20):
        reader = store.open(location)
        began = threading.Event()
        told: list[bytes] = []

        def read(reader=reader, began=began, told=told):
            with contextlib.suppress(ValueError, errors.StoreClosed):
                while True:
                    chunk = reader.read(1000)
                    began.set()
                    if not chunk:
                        break
                    told.append(chunk)

        thread = threading.Thread(target=read)
        thread.start()
        began.wait()
        reader.close()
        thread.join()
        assert DATA.startswith(b"".join(told))


def test_a_file_that_is_cut_off_meanwhile(store, location, tmp_path):
    """Truncates an image while it is read: an error, never a normal end."""
    with store.open(location) as reader:
        reader.read(10)
        os.truncate(tmp_path / "images" / "one", MIB)
        with pytest.raises(errors.StoreLibError) as caught:
            reader.read()
    assert caught.value.store == "it"


def test_stat(store, location, tmp_path):
    """Asks for size and time, before and after a change."""
    info = store.stat(location)
    assert info.size == SIZE
    assert abs(info.modified.timestamp() - os.stat(tmp_path / "images" / "one").st_mtime) < 0.001
    assert info.modified.tzinfo is not None
    assert store.stat(location).version == info.version
    os.utime(tmp_path / "images" / "one", (0, 0))
    assert store.stat(location).version != info.version


def test_list(make_file_store, tmp_path):
    """Lists two directories that hold other things too: images with size and location, nothing else."""
    store = make_file_store(filesystem_store_datadirs=[f"{tmp_path}/a:2", f"{tmp_path}/b:1"])
    first = store.add("one", b"12345")
    (tmp_path / "b" / "two").write_bytes(b"1")
    (tmp_path / "b" / "folder").mkdir()
    (tmp_path / "b" / "folder" / "deep").write_bytes(b"1")
    (tmp_path / "b" / ".hidden").write_bytes(b"1")
    (tmp_path / "b" / "two words").write_bytes(b"1")
    os.symlink(tmp_path / "a" / "one", tmp_path / "b" / "link")
    os.mkfifo(tmp_path / "b" / "fifo")
    with open(os.fsencode(tmp_path / "b") + b"/not-utf-8-\xff", "wb"):
        pass
    with open(tmp_path / "b" / "line\nbreak", "wb"):
        pass
    found = {each.location.uri: (each.id, each.size) for each in store.list()}
    assert found == {
        first.location.uri: ("one", 5),
        f"file://{tmp_path}/b/two": ("two", 1),
        f"file://{tmp_path}/b/two words": (None, 1),
    }
    assert all(store.stat(uri).size for uri in found)


def test_a_list_of_many(store, tmp_path):
    """Lists a thousand images while some are deleted."""
    store.probe()
    for number in range(1000):
        (tmp_path / "images" / f"i{number}").touch()
    listing = store.list()
    next(listing)
    for number in range(0, 1000, 2):
        os.unlink(tmp_path / "images" / f"i{number}")
    assert len(list(listing)) >= 499
    assert {each.id for each in store.list()} == {f"i{number}" for number in range(1, 1000, 2)}


def test_what_is_no_image(store, tmp_path):
    """Asks for a folder, a link, a pipe, a socket: refused, at once, and left as it is."""
    store.probe()
    images = tmp_path / "images"
    (images / "folder").mkdir()
    os.symlink("/etc/passwd", images / "link")
    os.symlink(images / "folder", images / "inner")
    os.mkfifo(images / "fifo")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(images / "socket"))
    listening.close()
    before = support.snapshot(images)
    for name in ("folder", "link", "fifo", "socket", "inner", "inner/x", "link/x", "fifo/x"):
        for verb in (store.stat, store.open, store.delete):
            with pytest.raises(errors.BadLocation):
                verb(f"file://{images}/{name}")
    assert support.snapshot(images) == before


def test_capacity(store, tmp_path):
    """Compares with what the file system tells."""
    found = store.capacity()
    told = os.statvfs(tmp_path)
    assert found.total == told.f_blocks * told.f_frsize
    assert abs(found.free - told.f_bavail * told.f_frsize) < 512 * MIB
    assert found.used == found.total - found.free


def test_capacity_counts_each_file_system_once(make_file_store, tmp_path):
    """Configures two directories on one file system."""
    store = make_file_store(filesystem_store_datadirs=[f"{tmp_path}/a", f"{tmp_path}/b"])
    told = os.statvfs(tmp_path)
    assert store.capacity().total == told.f_blocks * told.f_frsize


@pytest.mark.root
def test_a_nearly_full_store_says_so(make_file_store, mount_tmpfs, tmp_path):
    """Fills a small file system to 97 %: degraded, and still usable."""
    mount_tmpfs(tmp_path / "images", 8 * MIB)
    store = make_file_store()
    assert store.probe().status is Status.UP
    store.add("large", support.payload(8 * MIB - 200_000))
    assert store.probe().status is Status.DEGRADED
    assert store.add("small", b"x").size == 1


def test_verify_and_hash(store, location, tmp_path):
    """Flips one bit on the disk: verify finds it."""
    assert store.hash(location, ["sha512"]) == {"sha512": support.sha512(DATA)}
    store.verify(location, f"sha512:{support.sha512(DATA)}")
    with open(tmp_path / "images" / "one", "r+b") as file:
        file.seek(3 * MIB)
        file.write(bytes([DATA[3 * MIB] ^ 1]))
    with pytest.raises(errors.DigestMismatch):
        store.verify(location, f"sha512:{support.sha512(DATA)}")


def test_verify_after_write(make_file_store, tmp_path, monkeypatch):
    """Reads back what was written; a wrong byte on the disk fails the add and leaves nothing."""
    from store_lib.drivers import _posix

    store = make_file_store(verify_after_write="true")
    assert store.add("one", DATA).verified_by == "read"
    real = _posix.sync

    def spoil(file, size, mode):
        os.pwrite(file, bytes([DATA[7] ^ 1]), 7)
        return real(file, size, mode)

    monkeypatch.setattr(_posix, "sync", spoil)
    with pytest.raises(errors.DigestMismatch):
        store.add("two", DATA)
    assert support.names(tmp_path / "images") == ["one"]


def test_features(store):
    """Asks what the store can do."""
    for feature in ("WRITE", "DELETE", "RANGES", "LIST", "EXCLUSIVE", "SPARSE", "CAPACITY", "LEFTOVERS"):
        assert Feature[feature] in store.features
    assert not store.read_only


def test_a_store_that_the_operator_made_read_only(make_file_store, tmp_path):
    """Sets read_only: reading works, nothing else does."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "one").write_bytes(DATA)
    store = make_file_store(read_only="true")
    uri = f"file://{tmp_path}/images/one"
    assert support.content(store, uri) == DATA
    for verb in (lambda: store.add("two", b"x"), lambda: store.delete(uri), store.sweep):
        with pytest.raises(errors.ReadOnlyStore):
            verb()
    assert support.names(tmp_path / "images") == ["one"]
