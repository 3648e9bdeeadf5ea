"""Several directories in one store."""

import contextlib
import os
import threading
import time

import pytest

from store_lib import Status, errors
from store_lib.drivers import _posix
from store_lib.tests import support

MIB = support.MIB
DATA = support.payload(300_000)


def _folder(record):
    return os.path.basename(os.path.dirname(record.location.uri))


@pytest.fixture
def make(make_file_store, tmp_path):
    """Return a function that makes a store of directories, each given as NAME or NAME:PRIORITY."""
    return lambda *each, **more: make_file_store(
        filesystem_store_datadirs=[f"{tmp_path}/{name}" for name in each], **more
    )


def test_the_greatest_priority_wins(make):
    """Adds to directories of different priorities."""
    store = make("a:100", "b:200", "c")
    assert {_folder(store.add(f"i{number}", DATA)) for number in range(5)} == {"b"}
    assert store.prefix().endswith("/b")


@pytest.mark.root
def test_among_equals_the_most_free_space_wins(make, mount_tmpfs, tmp_path):
    """Adds to two file systems of equal priority and different free space."""
    mount_tmpfs(tmp_path / "a", 8 * MIB)
    mount_tmpfs(tmp_path / "b", 16 * MIB)
    store = make("a:5", "b:5")
    assert _folder(store.add("one", support.payload(10 * MIB))) == "b"
    assert _folder(store.add("two", DATA)) == "a"


@pytest.mark.root
def test_a_full_one_is_skipped(make, mount_tmpfs, tmp_path):
    """Adds an image that does not fit into the preferred directory."""
    mount_tmpfs(tmp_path / "small", 2 * MIB)
    mount_tmpfs(tmp_path / "large", 16 * MIB)
    store = make("small:200", "large:100")
    assert _folder(store.add("one", support.payload(3 * MIB), 3 * MIB)) == "large"
    assert _folder(store.add("two", DATA, len(DATA))) == "small"
    with pytest.raises(errors.StoreFull):
        store.add("three", support.payload(15 * MIB), 15 * MIB)
    assert store.capacity().total == 18 * MIB
    with contextlib.suppress(errors.StoreFull):
        store.add("four", iter(lambda: bytes(MIB), None))  # fills the preferred one
    (tmp_path / "small" / "filler").write_bytes(bytes(store_free(tmp_path / "small")))
    assert _folder(store.add("five", DATA)) == "large"  # of unknown size


def store_free(path):
    """Return the free bytes of the file system."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


@pytest.mark.root
def test_one_that_cannot_be_written_is_skipped(make, mount_tmpfs, tmp_path):
    """Mounts the preferred directory read-only: images go to the other one, those on it are read and known."""
    mount_tmpfs(tmp_path / "a", 8 * MIB)
    store = make("a:200", "b:100")
    first = store.add("one", DATA)
    assert _folder(first) == "a"
    assert os.system(f"mount -o remount,ro {tmp_path}/a") == 0
    assert store.probe().status is Status.DEGRADED
    assert _folder(store.add("two", DATA)) == "b"
    assert support.content(store, first.location) == DATA
    with pytest.raises(errors.Duplicate):
        store.add("one", DATA)
    with pytest.raises(errors.Forbidden):
        store.delete(first.location)


def test_a_broken_one_does_not_stop_the_others(make, tmp_path):
    """Takes one of three directories away, and each of them in turn."""
    store = make("a:3", "b:2", "c:1")
    records = {"a": store.add("one", DATA)}
    for gone in ("a", "b", "c"):
        os.rename(tmp_path / gone, tmp_path / "aside")
        assert store.probe().status is Status.DEGRADED
        assert str(tmp_path / gone) in store.health.reason
        assert _folder(store.add(f"without-{gone}", DATA)) == ("b" if gone == "a" else "a")
        if gone in records:
            with pytest.raises(errors.StoreUnavailable):
                store.stat(records[gone].location)
        os.rename(tmp_path / "aside", tmp_path / gone)
        assert store.probe().status is Status.UP
    assert support.content(store, records["a"].location) == DATA


def test_all_of_them_broken(make, tmp_path):
    """Takes both directories away."""
    store = make("a", "b")
    store.add("one", DATA)
    for name in ("a", "b"):
        os.rename(tmp_path / name, tmp_path / f"{name}-aside")
    assert store.probe().status is Status.DOWN
    with pytest.raises(errors.StoreUnavailable):
        store.add("two", DATA)
    assert support.names(tmp_path) == ["a-aside", "b-aside", "store_lib-0.conf"]


def test_an_id_is_taken_in_all_of_them(make, tmp_path):
    """Adds an id that another directory holds already, and one that a folder has."""
    store = make("a:1", "b:2")
    (tmp_path / "a").mkdir(exist_ok=True)
    (tmp_path / "a" / "taken").write_bytes(b"old")
    (tmp_path / "a" / "folder").mkdir()
    for name in ("taken", "folder"):
        with pytest.raises(errors.Duplicate):
            store.add(name, DATA)
    assert (tmp_path / "a" / "taken").read_bytes() == b"old"
    assert support.names(tmp_path / "b") == []


@pytest.mark.parametrize("turn", range(4))
def test_one_id_at_once_in_several_of_them(make_file_store, tmp_path, monkeypatch, temporary, turn):
    """Adds one id from 16 threads through stores that prefer different directories: one wins."""
    if turn % 2:  # leaves the others much time between looking at all directories and the own link
        real = _posix.publish

        def publish(*arguments):
            time.sleep(0.05)
            real(*arguments)

        monkeypatch.setattr(_posix, "publish", publish)
    orders = [("a:3", "b:2", "c:1"), ("a:1", "b:3", "c:2"), ("a:2", "b:1", "c:3"), ("c:1", "b:1", "a:1")]
    stores = [make_file_store(filesystem_store_datadirs=[f"{tmp_path}/{each}" for each in order]) for order in orders]
    barrier = threading.Barrier(16)
    won, lost = [], []

    def add(number):
        data = support.payload(50_000, number)

        def source():
            yield data[:1000]
            barrier.wait(30)  # all have looked and found the name free
            yield data[1000:]

        try:
            record = stores[number % len(stores)].add("same", source())
            won.append((record, data))
        except errors.Duplicate as error:
            lost.append(error)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 15)
    there = [f"{name}/{file}" for name in "abc" for file in support.names(tmp_path / name)]
    ((record, data),) = won
    assert there == [f"{_folder(record)}/same"]
    assert support.content(stores[0], record.location) == data


def test_one_directory_under_two_names(make, tmp_path):
    """Configures a directory and a link to it: no transfer waits for itself."""
    (tmp_path / "a").mkdir()
    os.symlink(tmp_path / "a", tmp_path / "b")
    store = make("a", "b")
    store.add("one", DATA)
    with pytest.raises(errors.Duplicate):
        store.add("one", DATA)


def test_priorities_are_written_after_the_last_colon(make_file_store, tmp_path):
    """Configures a path with a colon in it."""
    store = make_file_store(filesystem_store_datadirs=[f"{tmp_path}/with:colon:7", f"{tmp_path}/other:9"])
    store.add("one", DATA)
    assert store.describe()["datadirs"] == [f"{tmp_path}/other", f"{tmp_path}/with:colon"]
    assert (tmp_path / "other" / "one").exists()
