"""How an image gets its name: exclusive, atomic, durable, and with nothing left beside it."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from typing import Any

import pytest

from store_lib import errors
from store_lib.drivers import _posix
from store_lib.tests import support

MIB = support.MIB
SIZES = [0, 1, 100_000, 4 * MIB, 4 * MIB + 1, 13 * MIB + 5]


@pytest.fixture
def calls(monkeypatch):
    """Return a list that tells in which order files and directories are synced and linked."""
    made = []

    def note(name, function):
        def noted(*arguments, **more):
            if name == "fsync":
                kind = "directory" if stat.S_ISDIR(os.fstat(arguments[0]).st_mode) else "file"
                made.append(f"fsync {kind}")
            else:
                made.append(name)
            return function(*arguments, **more)

        return noted

    for name in ("fsync", "link", "unlink", "rename", "pwrite", "ftruncate", "fchmod"):
        monkeypatch.setattr(os, name, note(name, getattr(os, name)))
    return made


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("known", [True, False])
def test_what_is_stored(store, tmp_path, temporary, size, known):
    """Adds images of sizes around that of a part, known and unknown beforehand."""
    data = support.payload(size)
    record = store.add("one", support.pieces(data), size if known else None)
    assert record.size == size
    assert record.digests["sha512"] == support.sha512(data)
    assert (tmp_path / "images" / "one").read_bytes() == data
    assert support.names(tmp_path / "images") == ["one"]
    assert support.content(store, record.location) == data


def test_the_order_of_a_durable_commit(store, calls, temporary):
    """Watches the calls: all bytes, then the file to the disk, then the name, then the directory to the disk."""
    store.add("one", support.payload(9 * MIB))
    important = [call for call in calls if call != "pwrite"]
    expected = ["fsync file", "link", "fsync directory"]
    assert important == expected + (["unlink"] if temporary == "named" else [])
    assert "pwrite" not in calls[calls.index("fsync file") :]


def test_nothing_is_seen_before_the_commit(store, tmp_path, temporary):
    """Looks at the store while an image is written, at each piece of the source."""
    folder = tmp_path / "images"

    def source():
        for piece in support.pieces(support.payload(9 * MIB), MIB):
            yield piece
            assert not [name for name in support.names(folder) if not name.startswith(support.HIDDEN)]
            assert not list(store.list())
            with pytest.raises(errors.NotFound):
                store.stat(f"file://{folder}/one")

    store.add("one", source())
    assert [each.id for each in store.list()] == ["one"]


def test_hidden_files_are_seen_by_nobody(store, tmp_path, monkeypatch):
    """Lists, reads and deletes while a hidden file is there: only leftovers() shows it."""
    support.without_unnamed_files(monkeypatch)
    folder = tmp_path / "images"

    def source():
        yield bytes(5 * MIB)
        (name,) = support.until(lambda: support.names(folder))
        assert name.startswith(support.HIDDEN)
        assert not list(store.list())
        for verb in (store.stat, store.open, store.delete):
            with pytest.raises(errors.BadLocation):
                verb(f"file://{folder}/{name}")
        (leftover,) = store.leftovers()
        assert leftover.alive
        assert leftover.owner.pid == os.getpid()
        assert not store.sweep(older_than=0).removed

    store.add("one", source())
    assert support.names(folder) == ["one"]
    assert not list(store.leftovers())


def test_a_taken_name_costs_no_transfer(store):
    """Adds an id that is taken: refused before the source is read."""
    store.add("one", b"first")

    with pytest.raises(errors.Duplicate) as caught:
        store.add("one", support.unread())
    assert (caught.value.store, caught.value.operation) == ("it", "add")


@pytest.mark.parametrize("taken_by", ["file", "folder", "link", "dangling link", "fifo"])
def test_a_name_that_is_taken_meanwhile(store, tmp_path, temporary, taken_by):
    """Puts something in the image's place while the image is written: Duplicate, and it stays as it is."""
    folder = tmp_path / "images"
    place = folder / "one"
    make = {
        "file": lambda: place.write_bytes(b"theirs"),
        "folder": place.mkdir,
        "link": lambda: os.symlink("/etc/passwd", place),
        "dangling link": lambda: os.symlink("/nowhere", place),
        "fifo": lambda: os.mkfifo(place),
    }[taken_by]

    def source():
        yield bytes(5 * MIB)
        make()
        before.update(support.snapshot(folder))

    before: dict[str, tuple[object, ...]] = {}
    with pytest.raises(errors.Duplicate):
        store.add("one", source())
    after = support.snapshot(folder)
    assert after[str(place)] == before[str(place)]
    assert support.names(folder) == ["one"]


@pytest.mark.parametrize("failing", ["fsync file", "link", "fsync directory"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EROFS])
def test_a_failing_flush_is_never_repeated(make_file_store, tmp_path, monkeypatch, temporary, failing, code):
    """Has fsync or link fail once: one call, an error, no image, though retries are allowed."""
    store = make_file_store(retry_attempts=5)
    made = []
    real: dict[str, Callable[..., Any]] = {"fsync": os.fsync, "link": os.link}

    def fail(name):
        def failing_call(*arguments, **more):
            kind = name
            if name == "fsync":
                kind += " directory" if stat.S_ISDIR(os.fstat(arguments[0]).st_mode) else " file"
            made.append(kind)
            if kind == failing and made.count(kind) == 1:
                raise OSError(code, os.strerror(code))
            return real[name](*arguments, **more)

        return failing_call

    for name in real:
        monkeypatch.setattr(os, name, fail(name))
    with pytest.raises(errors.StoreLibError) as caught:
        store.add("one", support.payload(5 * MIB))
    assert not caught.value.transient
    assert made.count(failing) == 1
    assert support.names(tmp_path / "images") == []
    assert store.add("one", b"x").size == 1


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_sync_directories(store, monkeypatch, code):
    """Has fsync of a directory answer that there is no such thing: the image counts as stored."""
    real = os.fsync

    def fsync(file):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(code, os.strerror(code))
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    assert store.add("one", b"x").size == 1


def test_a_repeated_link_whose_first_answer_was_lost(store, tmp_path, monkeypatch, temporary):
    """Has link do its work and then say that the name is taken, as a server does that repeats a call."""
    real = os.link

    def link(*arguments, **more):
        real(*arguments, **more)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", link)
    record = store.add("one", b"data")
    assert support.content(store, record.location) == b"data"
    assert support.names(tmp_path / "images") == ["one"]


def test_a_hidden_name_that_cannot_be_removed(store, tmp_path, monkeypatch, caplog):
    """Has the removal of the hidden name fail: the image is stored, the other name is a leftover that is swept."""
    support.without_unnamed_files(monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(_posix, "unlink", _raise(errno.EBUSY))
        record = store.add("one", b"data")
    assert support.content(store, record.location) == b"data"
    assert "store sweep" in caplog.text
    assert len(support.names(tmp_path / "images")) == 2
    assert not store.sweep().removed  # young, and its process lives
    assert len(store.sweep(older_than=-1).removed) == 1
    assert support.names(tmp_path / "images") == ["one"]
    assert support.content(store, record.location) == b"data"


def _raise(code):
    def fail(*arguments, **more):
        raise OSError(code, os.strerror(code))

    return fail


def test_a_machine_without_proc(store, tmp_path, monkeypatch):
    """Hides /proc, by which a file without a name gets one: hidden files are used."""
    real = os.path.isdir
    monkeypatch.setattr(os.path, "isdir", lambda path: path != "/proc/self/fd" and real(path))
    seen = []

    def source():
        yield bytes(5 * MIB)
        seen.extend(support.until(lambda: support.names(tmp_path / "images")))

    store.add("one", source())
    assert [name.startswith(support.HIDDEN) for name in seen] == [True]
    assert support.names(tmp_path / "images") == ["one"]


def test_free_space_is_asked_first(store, tmp_path):
    """Adds an image of a known size beyond what is free: refused before the source is read."""
    free = store.capacity().free

    with pytest.raises(errors.StoreFull):
        store.add("one", support.unread(), free * 2)
    assert support.names(tmp_path / "images") == []


def test_the_files_descriptor_is_not_closed_under_a_writer(store, monkeypatch):
    """Ends an upload while a thread still writes: the descriptor's number is not handed on meanwhile."""
    driver = store._driver
    upload = driver.upload("one", None, store._runtime.context())
    upload.start()
    lent = upload._use()
    number = lent.__enter__()
    assert not upload.abort()
    os.fstat(number)
    lent.__exit__(None, None, None)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    with pytest.raises(errors.StoreClosed):
        upload.write_part(None)
    assert not upload.abort()
    with contextlib.suppress(errors.StoreLibError):
        assert upload.outcome() is None
