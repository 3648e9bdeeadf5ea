"""Forks and interrupts."""

import os
import random
import signal
import threading
import time

import pytest

from store_lib import Status, Store, errors
from store_lib.drivers import _posix
from store_lib.tests import support

MIB = support.MIB
DATA = support.payload(5 * MIB + 3)


def _use(store, image_id):
    """Do a bit of everything; return what a child can send back."""
    record = store.add(image_id, DATA)
    assert support.content(store, record.location) == DATA
    assert image_id in {each.id for each in store.list()}
    assert store.stat(record.location).size == len(DATA)
    assert store.capacity().total > 0
    return [record.digests["sha512"], store.health.status.value]


def test_fork_after_construction(make_file_store, tmp_path):
    """Forks before the store was ever used: child and parent use it, the child makes no directory the parent lacks."""
    store = make_file_store()
    children = [support.Child(_use, store, f"child-{number}") for number in range(4)]
    _use(store, "parent")
    for child in children:
        with child:
            assert child.result() == [support.sha512(DATA), "up"]
    assert support.names(tmp_path / "images") == ["child-0", "child-1", "child-2", "child-3", "parent"]


def test_fork_after_use(store, tmp_path):
    """Forks after the store was used, its threads alive: the child starts anew and so does its child."""
    _use(store, "parent")
    assert store.health.status is Status.UP

    def child():
        assert store.health.status is Status.UNKNOWN
        inner = support.in_child(_use, store, "grandchild")
        return inner == _use(store, "child")

    assert support.in_child(child)
    _use(store, "again")
    assert support.names(tmp_path / "images") == ["again", "child", "grandchild", "parent"]


@pytest.mark.parametrize("point", [0, 1, 4, 5])
def test_fork_in_the_middle_of_a_transfer(store, tmp_path, temporary, point):
    """Forks from another thread while an image is written: the child works by itself and disturbs nothing."""
    stopped, go = threading.Event(), threading.Event()
    records = []

    def source():
        for index, piece in enumerate(support.pieces(DATA, MIB)):
            if index == point:
                stopped.set()
                assert go.wait(60)
            yield piece

    adding = threading.Thread(target=lambda: records.append(store.add("parent", source())))
    adding.start()
    assert stopped.wait(10)

    def child():
        found = _use(store, "child")
        assert not store.sweep(older_than=0).removed
        return found

    assert support.in_child(child)[0] == support.sha512(DATA)
    go.set()
    adding.join()
    assert support.content(store, records[0].location) == DATA
    assert support.names(tmp_path / "images") == ["child", "parent"]


def test_fork_in_the_source(store, tmp_path, temporary):
    """The source itself forks children that use the store and leave: the transfer goes on."""

    def source():
        for index, piece in enumerate(support.pieces(DATA, 2 * MIB)):
            assert support.in_child(_use, store, f"child-{index}")
            yield piece

    record = store.add("parent", source())
    assert support.content(store, record.location) == DATA
    assert len(support.names(tmp_path / "images")) == 4


def test_a_child_that_unwinds_a_transfer(store, tmp_path, temporary):
    """The source forks a child that raises through add: the parent's hidden file stays, and its image is stored."""

    def add_in_child(pipe):
        pid = os.fork()
        if not pid:
            raise SystemExit
        os.waitpid(pid, 0)

    parent = os.getpid()

    def source():
        yield DATA[: 4 * MIB + 1]
        add_in_child(None)
        yield DATA[4 * MIB + 1 :]

    try:
        record = store.add("parent", source())
    except SystemExit:
        os._exit(0)  # the child
    assert os.getpid() == parent
    assert support.content(store, record.location) == DATA
    assert support.names(tmp_path / "images") == ["parent"]


def test_many_forks_during_transfers(store, tmp_path):
    """Forks over and over while four threads add: no child hangs on a lock that a thread held at the fork."""
    ended = threading.Event()

    def add(number):
        turn = 0
        while not ended.is_set():
            record = store.add(f"i{number}-{turn}", DATA[: 5 * MIB])
            store.delete(record.location)
            turn += 1

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(12):
            assert support.in_child(lambda number=number: store.add(f"c{number}", DATA[: 5 * MIB]).size) == 5 * MIB
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert len(support.names(tmp_path / "images")) == 12


# -- interrupts -------------------------------------------------------------------------------------------------------


def _interrupt(number, frame):
    """Raise KeyboardInterrupt where the interrupt comes in the middle of add, and not just before it or after it."""
    while frame is not None:
        if frame.f_code is Store.add.__code__:
            raise KeyboardInterrupt
        frame = frame.f_back


def _interrupted_add(store, image_id, named, ready):
    """Add an image; return how it ended."""
    signal.signal(signal.SIGINT, _interrupt)
    if named:
        _posix.create_unnamed = lambda directory, mode: None
    try:
        os.write(ready, b"x")
        store.add(image_id, support.pieces(DATA))
        ended = "added"
    except KeyboardInterrupt:
        ended = "interrupted"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return ended


@pytest.mark.parametrize("named", [False, True])
def test_sigint(store, tmp_path, named):
    """Interrupts adds at random moments, many about the commit: what was interrupted leaves nothing behind."""
    store.probe()
    folder = tmp_path / "images"
    chance = random.Random(7)
    began = time.monotonic()
    support.in_child(lambda: store.add("measured", support.pieces(DATA)).size)
    whole = time.monotonic() - began
    ends = []
    for number in range(200):
        wait, ready = os.pipe()
        with support.Child(_interrupted_add, store, f"i{number}", named, ready) as child:
            os.close(ready)
            os.read(wait, 1)
            os.close(wait)
            time.sleep(chance.uniform(0 if number % 2 else whole / 2, whole * 1.1))
            child.kill(signal.SIGINT)
            ends.append(child.result())
        there = [name for name in support.names(folder) if name != "measured"]
        assert there == ([f"i{number}"] if ends[-1] == "added" else []), ends[-1]
        if there:
            store.delete(f"file://{folder}/{there[0]}")
        if ends.count("interrupted") == 20:
            break
    assert ends.count("interrupted") == 20


@pytest.mark.parametrize("where", ["create_hidden", "write", "sync", "publish", "after publish", "same_directory"])
def test_interrupted_exactly_there(store, tmp_path, monkeypatch, where):
    """Interrupts within each step of an add, the commit included: nothing is left, not even a committed image."""
    support.without_unnamed_files(monkeypatch)
    name = where.removeprefix("after ")
    real = getattr(_posix, name)
    done: list[bool] = []

    def interrupted(*arguments):
        if name == "same_directory" and (done or "one" not in support.names(tmp_path / "images")):
            return real(*arguments)  # the one after the commit is meant
        done.append(True)
        if where.startswith("after"):
            real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_posix, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.add("one", b"small")
    assert done
    assert support.names(tmp_path / "images") == []
    with pytest.raises(errors.NotFound):
        store.stat(f"file://{tmp_path}/images/one")
