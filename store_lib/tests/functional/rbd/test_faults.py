"""A cluster that hangs, dies, is full or refuses: errors in bounded time, nothing left, and it comes back by itself."""

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from store_lib import errors
from store_lib.interface import Deletion, Status
from store_lib.tests.support import MIB, Child, content, payload, until

pytestmark = pytest.mark.faults

DATA = payload(40 * MIB)


@pytest.fixture
def store(make_store):
    """Return a store that gives up soon: one request ends in a quarter of the time, so few wait for a busy disk."""
    return make_store(operation_timeout=12, probe_timeout=8, probe_interval=0, rbd_store_in_flight=4)


def during(place, daemon, at):
    """Yield DATA in pieces and have a daemon hang once `at` bytes were yielded, until `place` is closed."""
    for start in range(0, len(DATA), MIB):
        if start == at:
            place.enter_context(daemon)
        yield DATA[start : start + MIB]


def comes_back(store):
    """Wait until an image can be added, and return its location."""

    def works():
        with contextlib.suppress(errors.StoreUnavailable, errors.StoreFull):
            return store.add("back", b"back", 4, digests=()).location
        return None

    return until(works, 90)


def delete(store, location):
    """Delete until the cluster lets it happen."""

    def deleted():
        with contextlib.suppress(errors.StoreUnavailable):
            try:
                return store.delete(location)
            except errors.NotFound:  # what was cut off went on by itself
                return Deletion.DELETED
        return None

    until(deleted, 90)


def refuses(store):
    """Wait until the store has no room, which the cluster notices late."""

    def refused():
        try:
            store.delete(store.add("large", DATA, len(DATA), digests=()).location)
        except errors.StoreFull:
            return True
        return False

    until(refused, 90)


def sweep_until_empty(store, view):
    """Sweep until nothing is left in the pool: what hung is only let go of after a while."""
    end = time.monotonic() + 90
    while not view.empty():
        swept = store.sweep(older_than=0)
        assert time.monotonic() < end, f"left: {view.names()} {view.trash()} {view.objects()} {swept}"
        time.sleep(0.2)


@pytest.mark.parametrize("fault", ["stopped", "killed"])
def test_an_osd_that_goes_in_the_middle_of_adding(store, cluster, view, fault):
    """Adding ends with an error in time; once the OSD is back, adding works and a sweep leaves nothing."""
    with contextlib.ExitStack() as place:
        began = time.monotonic()
        with pytest.raises(errors.StoreUnavailable):
            store.add("cut", during(place, getattr(cluster, fault)("osd.0"), 16 * MIB), len(DATA))
        assert time.monotonic() - began < 60
    location = comes_back(store)
    assert content(store, location) == b"back"
    store.delete(location)
    sweep_until_empty(store, view)


def test_adding_outlives_a_short_outage(make_store, cluster, view):
    """With further tries allowed, an OSD that hangs for a moment costs no image."""
    store = make_store(operation_timeout=12, retry_attempts=20, retry_deadline=90)
    with contextlib.ExitStack() as place:
        timer = threading.Timer(6, place.close)
        timer.start()
        record = store.add("held-up", during(place, cluster.stopped("osd.0"), 16 * MIB), len(DATA))
        timer.join()
    assert content(store, record.location) == DATA
    assert view.names() == ["held-up"]


@pytest.mark.parametrize("fault", ["stopped", "killed"])
def test_an_osd_that_goes_in_the_middle_of_reading(store, cluster, view, fault):
    """Reading and deleting end with an error in time; later reading goes on where it was, and deleting is repeated."""
    location = store.add("image", DATA, len(DATA)).location
    doomed = store.add("doomed", b"x" * MIB, MIB).location
    with store.open(location) as reader:
        assert reader.read(MIB) == DATA[:MIB]
        with getattr(cluster, fault)("osd.0"), ThreadPoolExecutor() as threads:
            for going in [threads.submit(reader.read), threads.submit(store.delete, doomed)]:
                with pytest.raises(errors.StoreUnavailable):
                    going.result(60)
        at = reader.tell()

        def rest():
            with contextlib.suppress(errors.StoreUnavailable):
                reader.seek(at)
                return reader.read()
            return None

        assert until(rest, 90) == DATA[at:]
    delete(store, doomed)
    delete(store, location)
    sweep_until_empty(store, view)


def test_a_probe_of_an_osd_that_hangs(store, cluster):
    """The monitor answers, yet nothing can be stored: the store is down, which is told in time."""
    assert store.probe().status is Status.UP
    with cluster.stopped("osd.0"):
        began = time.monotonic()
        assert store.probe().status is Status.DOWN
        assert time.monotonic() - began < 30
    until(lambda: store.probe().status is Status.UP, 90)


@pytest.mark.parametrize("fault", ["stopped", "killed"])
def test_a_monitor_that_goes(store, make_stores, cluster, pool, tmp_path, fault):
    """A store in use closes for writing and reads on; one that is used first then gives up in time; both come back.

    A store of another kind beside them does not notice.
    """
    location = store.add("image", b"abc", 3).location
    limits = {"retry_attempts": 1, "probe_interval": 0, "operation_timeout": 12, "connect_timeout": 2}
    late = make_stores(
        "[DEFAULT]\nenabled_backends = late:rbd, disk:file\n[glance_store]\ndefault_backend = disk\n"
        f"[disk]\nfilesystem_store_datadir = {tmp_path}/disk\n{cluster.section('late', pool, **limits)}"
    )
    with getattr(cluster, fault)("mon.a"):
        began = time.monotonic()
        assert store.probe().status is Status.DOWN
        for each in (store, late["late"]):
            with pytest.raises(errors.StoreUnavailable):
                each.add("other", b"x", 1)
        assert time.monotonic() - began < 60
        assert content(store, location) == b"abc"
        assert content(late["disk"], late["disk"].add("image", b"disk", 4).location) == b"disk"
    late["late"].delete(comes_back(late["late"]))
    assert comes_back(store)


def test_a_client_that_the_cluster_has_cut_off(store, cluster):
    """What an administrator, or another client that took its lock, has cut off connects anew by itself."""
    location = store.add("image", b"abc", 3).location
    with store._driver.cluster.pool() as pool:
        cluster.admin.blocklist_add(pool.cluster.get_addrs(), 600)
    assert content(store, comes_back(store)) == b"back"
    assert content(store, location) == b"abc"


def test_a_full_pool(store, cluster, view):
    """What does not fit is refused exactly and at once, nothing is left, and deleting works in the full pool."""
    kept = store.add("kept", DATA[:MIB], MIB).location
    clone = store.add("cloned", DATA[:MIB], MIB).location
    view.clone("cloned", "clone", 2)
    cluster.ask("osd pool set-quota", pool=view.pool, field="max_bytes", val=str(8 * MIB))
    refuses(store)
    assert "large" not in view.names()
    assert not [name for name in view.names() if name.startswith(".")]
    assert store.delete(clone) is Deletion.DEFERRED
    assert store.delete(kept) is Deletion.DELETED
    cluster.ask("osd pool set-quota", pool=view.pool, field="max_bytes", val="0")
    assert comes_back(store)


@contextlib.contextmanager
def full(cluster):
    """Have the OSD find itself full: what it holds is more than it may."""
    low, usual = (1e-6, 2e-6, 3e-6), (0.85, 0.9, 0.95)
    steps = ("nearfull", "backfillfull", "full")

    def tell(ratios):
        for step, ratio in zip(steps, ratios, strict=True):
            cluster.ask(f"osd set-{step}-ratio", ratio=ratio)

    def is_full():
        return "full" in cluster.ask("osd dump")["osds"][0]["state"]

    tell(low)
    try:
        until(is_full, 60)
        yield
    finally:
        tell(usual)
        until(lambda: not is_full(), 60)


def test_a_full_osd(store, cluster, view):
    """Adding is refused at once, nothing is left, reading and deleting work; with room again all does."""
    kept = store.add("kept", DATA[:MIB], MIB).location
    doomed = store.add("doomed", DATA[:MIB], MIB).location
    cloned = store.add("cloned", DATA[:MIB], MIB).location
    view.clone("cloned", "clone", 2)
    known = view.objects()
    with full(cluster):
        refuses(store)
        assert view.objects() == known
        assert content(store, kept) == DATA[:MIB]
        assert store.delete(doomed) is Deletion.DELETED
        assert store.delete(cloned) is Deletion.DEFERRED
        assert view.names() == ["clone", "kept"]
    assert content(store, comes_back(store)) == b"back"


def test_an_image_that_ceph_cannot_remove(store, cluster, view):
    """In a full pool whose trash was never made, Ceph says of an image that it is not there: nobody may believe it."""
    location = store.add("image", b"x", 1).location
    view.ioctx.set_osdmap_full_try()
    with full(cluster):
        refuses(store)
        view.ioctx.remove_object("rbd_trash")
        with pytest.raises(errors.StoreUnavailable, match="still there"):
            store.delete(location)
        assert view.names() == ["image"]
    delete(store, location)
    assert view.empty()


def test_a_process_that_is_killed_leaves_what_a_sweep_removes(store, view):
    """As long as Ceph believes that it writes, a sweep leaves it alone; then it goes."""

    def add():
        def slow():
            yield DATA
            time.sleep(600)

        store.add("never", slow(), None)

    with Child(add) as child:
        until(lambda: [each for each in store.leftovers() if each.alive], 60)
        assert not store.sweep(older_than=0).removed
        assert "never" not in view.names(), "a name stands for a complete image only"
        child.kill(signal.SIGKILL)
        child.wait()
        until(lambda: store.sweep().removed, 90)
    assert view.empty()


def rounds(seconds):
    """Yield numbers for some time, three at least: how much a round takes depends on the machine."""
    began = time.monotonic()
    for number in itertools.count():
        passed = time.monotonic() - began
        if number >= 3 and passed > seconds:
            return
        print(f"round {number} after {passed:.0f} s")
        yield number


@pytest.mark.long
@pytest.mark.timeout(900)
def test_an_osd_that_goes_at_any_moment(store, cluster, view):
    """Adding, reading, deleting: each ends in time, well or with an error of ours; what is there is whole."""
    seed = os.getpid()
    print(f"seed {seed}")
    chance = random.Random(seed)
    known = errors.StoreUnavailable, errors.CommitUnknown
    kept = store.add("kept", DATA, len(DATA)).location
    for number in rounds(100):
        doomed = store.add(f"doomed-{number}", DATA[:MIB], MIB).location

        def go(fault, after):
            time.sleep(after)
            with getattr(cluster, fault)("osd.0"):
                time.sleep(4)

        going = threading.Thread(target=go, args=(chance.choice(["stopped", "killed"]), 2 * chance.random()))
        going.start()
        began = time.monotonic()
        added = None
        with contextlib.suppress(*known):
            added = store.add(f"new-{number}", DATA, len(DATA)).location
        with contextlib.suppress(*known):
            assert content(store, kept) == DATA
        with contextlib.suppress(*known):
            store.delete(doomed)
        assert time.monotonic() - began < 180
        going.join()
        store.delete(comes_back(store))
        listed = {each.id: each.location for each in store.list()}
        assert added is None or f"new-{number}" in listed
        assert content(store, kept) == DATA
        for name, location in listed.items():
            if name.startswith("new-"):
                assert content(store, location) == DATA
            if name != "kept":
                store.delete(location)
    store.delete(kept)
    sweep_until_empty(store, view)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_an_osd_that_hangs_at_any_moment_of_a_commit(make_store, cluster, view):
    """Whenever it hangs: the image is whole under its name, or not there; never two names, never a part of it."""
    store = make_store(operation_timeout=12)
    seed = os.getpid()
    print(f"seed {seed}")
    chance = random.Random(seed)
    for number in rounds(60):
        image_id = f"image-{number}"
        began = threading.Event()

        def source(began=began):
            yield b"x" * 1000
            began.set()

        def hang(began=began):
            began.wait(60)
            time.sleep(chance.random() / 10)
            with cluster.stopped("osd.0"):
                time.sleep(4)

        hanging = threading.Thread(target=hang)
        hanging.start()
        added = False
        with contextlib.suppress(errors.StoreUnavailable, errors.CommitUnknown):
            store.add(image_id, source(), 1000)
            added = True
        hanging.join()
        store.delete(comes_back(store))
        found = [name for name in view.names() if name == image_id]
        assert found or not added
        if found:
            with view.image(image_id, snapshot="snap", read_only=True) as image:
                assert image.read(0, 1000) == b"x" * 1000
