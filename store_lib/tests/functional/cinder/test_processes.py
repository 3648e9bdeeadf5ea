"""Processes that want one image at once, and processes that are killed while they have volumes attached."""

import contextlib
import pathlib
import signal

import pytest

from store_lib.tests import support
from store_lib.tests.functional.cinder.cloud import PATIENCE
from store_lib.tests.functional.cinder.conftest import DATA, NO_LOGIN, SMALL_PARTS, between, until
from store_lib.tests.support import MIB, Child, content

pytestmark = pytest.mark.faults


def read(store, location, caller):
    """Read an image in another process and tell what it is."""
    with store.open(location, context=caller) as reader:
        return reader.read() == DATA


@pytest.mark.parametrize(("kind", "count"), [("rbd1", 10), pytest.param("nfs1", 4, marks=pytest.mark.long)])
def test_processes_read_one_image_at_once(make_cinder, cloud, kept, view, kind, count):
    """A volume has one attachment at a time: each process waits for its turn, and all of them get it."""
    location, caller = kept(kind), cloud.caller()
    # Logging in is not what is tested: all go by one token.
    store = make_cinder(kind, operation_timeout=500, cinder_attach_timeout=500, **NO_LOGIN)
    children = [Child(read, store, location, caller) for _ in range(count)]
    try:
        assert [child.result() for child in children] == [True] * count
    finally:
        for child in children:
            child.__exit__()
    view.settled()


def hold(store, location, path):
    """Read an image half, tell so, and stay."""
    with store.open(location) as reader:
        reader.read(MIB)
        pathlib.Path(path).touch()
        signal.pause()


def write(store, path):
    """Write half of an image, tell so, and stay."""

    def stay():
        pathlib.Path(path).touch()
        signal.pause()

    store.add("cut", between(stay), len(DATA))


def test_processes_are_killed_while_they_read_and_write(shared, kept, cloud, view, tmp_path):
    """What they had attached is taken away by a sweep, or by the next who wants the volume; so is the volume."""
    stores = {kind: shared(kind, **SMALL_PARTS) for kind in ("rbd1", "nfs1")}
    images = {kind: kept(kind) for kind in stores}
    with cloud.quick_to_forget(), contextlib.ExitStack() as running:
        children, said = [], []
        for kind, store in stores.items():
            reads, writes = tmp_path / f"{kind}-reads", tmp_path / f"{kind}-writes"
            children.append(running.enter_context(Child(hold, store, images[kind], str(reads))))
            children.append(running.enter_context(Child(write, store, str(writes))))
            said += [reads, writes]
        support.until(lambda: all(each.exists() for each in said), PATIENCE)
        assert view.statuses() == ["in-use"] * 4
        assert not any(store.sweep(older_than=0).removed for store in stores.values())  # they live
        for child in children:
            child.kill(signal.SIGKILL)
            child.wait()
    for kind, store in stores.items():
        assert content(store, images[kind]) == DATA
    # However young it is: its process certainly runs no more.
    until(lambda: all(store.sweep() for store in stores.values()) and not view.volumes())
    view.settled()
    for kind, store in stores.items():
        assert content(store, images[kind]) == DATA
