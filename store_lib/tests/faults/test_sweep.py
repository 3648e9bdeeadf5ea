"""Which hidden files are swept, and which are somebody's."""

import dataclasses
import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest

from store_lib import errors
from store_lib.runtime import new_owner, process
from store_lib.tests import support

MIB = support.MIB
DAY = 86400


@pytest.fixture
def images(store, tmp_path):
    """Return the store's directory."""
    store.probe()
    return tmp_path / "images"


def _gone():
    """Return the pid of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


OWNERS = {
    "this process": lambda owner: owner,
    "a process that is gone": lambda owner: dataclasses.replace(owner, pid=_gone()),
    "a pid that is used again": lambda owner: dataclasses.replace(owner, started=owner.started - 1),
    "another host": lambda owner: dataclasses.replace(owner, host="elsewhere", pid=_gone()),
    "another boot": lambda owner: dataclasses.replace(owner, boot=32 * "0", pid=_gone()),
    "another pod": lambda owner: dataclasses.replace(owner, pid_namespace=1, pid=_gone()),
}
#: Who may be judged by the process alone.
AT_ONCE = ("a process that is gone", "a pid that is used again")


@pytest.mark.parametrize("whose", OWNERS)
@pytest.mark.parametrize("age", [0, DAY - 600, DAY + 600])
@pytest.mark.parametrize("locked", [False, True])
def test_who_may_go(store, images, whose, age, locked):
    """Makes hidden files of several owners, ages, with and without a lock: only what is surely dead goes."""
    path = images / (support.HIDDEN + OWNERS[whose](new_owner()).encode())
    path.write_bytes(b"half an image")
    os.utime(path, (time.time() - age,) * 2)
    with open(path, "rb") as holder:
        if locked:
            fcntl.flock(holder, fcntl.LOCK_EX)
        (leftover,) = store.leftovers()
        assert leftover.alive is locked
        assert leftover.size == 13
        goes = not locked and (whose in AT_ONCE or age > DAY)
        dry = store.sweep(dry_run=True)
        assert path.exists()
        done = store.sweep()
    assert (len(dry.removed), len(dry.kept)) == (len(done.removed), len(done.kept)) == (int(goes), int(not goes))
    assert path.exists() is not goes


def test_an_age_of_ones_own(store, images):
    """Sweeps with older_than: it counts for other hosts."""
    path = images / (support.HIDDEN + dataclasses.replace(new_owner(), host="elsewhere").encode())
    path.write_bytes(b"half")
    os.utime(path, (time.time() - 100,) * 2)
    assert not store.sweep(older_than=200).removed
    assert len(store.sweep(older_than=50).removed) == 1


def test_what_is_not_ours(store, images):
    """Puts other hidden files, folders, links and images there, old as the hills: they stay."""
    owner = dataclasses.replace(new_owner(), pid=_gone()).encode()
    for name in (".nfs0000", ".store_lib", ".store_lib-", ".store_lib-x-y-z", f".other-{owner}", f"{owner}", "image"):
        (images / name).write_bytes(b"theirs")
        os.utime(images / name, (0, 0))
    (images / (support.HIDDEN + owner)).mkdir()
    os.symlink(images / "image", images / (support.HIDDEN + owner.replace("-", "-1", 1)))
    before = support.snapshot(images)
    assert not list(store.leftovers())
    assert not store.sweep(older_than=0).removed
    assert support.snapshot(images) == before


def test_a_live_upload_of_another_host(store, images, monkeypatch):
    """Sweeps, with no patience at all, while uploads of "another host" are under way: both end well."""
    support.without_unnamed_files(monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(process, "_identity", lambda: ("elsewhere", 32 * "0", 1, 1, 1))

        def source():
            yield support.payload(9 * MIB)[: 5 * MIB]  # the file is made once there is more than one buffer of it
            for piece in support.pieces(support.payload(9 * MIB)[5 * MIB :], MIB):
                yield piece
                (name,) = support.until(lambda: support.names(images))
                os.utime(images / name, (0, 0))
                swept = support.in_child(_sweep, store)
                assert swept == [0, 1, True]

        record = store.add("one", source())
    assert support.content(store, record.location) == support.payload(9 * MIB)


def _sweep(store):
    vars(process)["_identity"] = lambda: ("here", 32 * "1", 2, 2, 2)
    (leftover,) = store.leftovers()
    done = store.sweep(older_than=0)
    return [len(done.removed), len(done.kept), leftover.alive]


def test_many_sweepers(store, images):
    """Sweeps fifty dead files from eight threads at once: each goes once, nobody fails."""
    gone = dataclasses.replace(new_owner(), pid=_gone())
    for number in range(50):
        (images / (support.HIDDEN + dataclasses.replace(gone, upload=f"{number:032x}").encode())).touch()
    results = []
    threads = [threading.Thread(target=lambda: results.append(store.sweep())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(result.removed) for result in results) == 50
    assert not any(result.failed for result in results)
    assert support.names(images) == []


def test_it_comes_to_life_meanwhile(store, images):
    """Takes the lock of a dead file after it was listed: it is looked at once more and stays."""
    path = images / (support.HIDDEN + dataclasses.replace(new_owner(), pid=_gone()).encode())
    path.touch()
    (leftover,) = store.leftovers()
    assert not leftover.alive
    with open(path, "rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(errors.InUse):
            store._driver.sweep(leftover, store._runtime.context())
    assert path.exists()


def test_one_that_cannot_be_removed(store, images, monkeypatch):
    """Has one removal of three fail: the others go, and it is told which and why."""
    from store_lib.drivers import _posix

    gone = dataclasses.replace(new_owner(), pid=_gone())
    for number in range(3):
        (images / (support.HIDDEN + dataclasses.replace(gone, upload=f"{number:032x}").encode())).touch()
    real = _posix.unlink

    def unlink(directory, name):
        if f"{1:032x}" in name:
            raise PermissionError(1, "Operation not permitted")
        real(directory, name)

    with monkeypatch.context() as patched:
        patched.setattr(_posix, "unlink", unlink)
        done = store.sweep()
    assert len(done.removed) == 2
    ((leftover, error),) = done.failed
    assert leftover.owner.upload == f"{1:032x}"
    assert isinstance(error, errors.Forbidden)
    assert len(support.names(images)) == 1
