"""A cluster that hangs, dies, is full or refuses: errors in bounded time, nothing left, and it comes back by itself."""

import contextlib
import os
import random
import signal
import threading
import time

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


def test_an_osd_that_goes_in_the_middle_of_reading(store, cluster):
    """Reading ends with an error in time and goes on where it was once the OSD is back."""
    location = store.add("image", DATA, len(DATA)).location
    with store.open(location) as reader:
        assert reader.read(MIB) == DATA[:MIB]
        with cluster.killed("osd.0"), pytest.raises(errors.StoreUnavailable):
            reader.read()
        at = reader.tell()

        def rest():
            with contextlib.suppress(errors.StoreUnavailable):
                reader.seek(at)
                return reader.read()
            return None

        assert until(rest, 90) == DATA[at:]


def test_an_osd_that_hangs_while_deleting(store, cluster, view):
    """Deleting ends with an error in time, and can be repeated."""
    location = store.add("image", b"x" * MIB, MIB).location
    with cluster.stopped("osd.0"), pytest.raises(errors.StoreUnavailable):
        store.delete(location)

    def deleted():
        with contextlib.suppress(errors.StoreUnavailable):
            try:
                return store.delete(location)
            except errors.NotFound:  # the first went on by itself
                return Deletion.DELETED
        return None

    assert until(deleted, 90)
    sweep_until_empty(store, view)


def test_a_monitor_that_hangs(store, cluster):
    """The store closes for writing; reading goes on; it opens again by itself."""
    location = store.add("image", b"abc", 3).location
    with cluster.stopped("mon.a"):
        began = time.monotonic()
        assert store.probe().status is Status.DOWN
        assert time.monotonic() - began < 30
        with pytest.raises(errors.StoreUnavailable):
            store.add("other", b"x", 1)
        assert content(store, location) == b"abc"
    assert comes_back(store)


def test_no_monitor_at_the_first_use(make_store, cluster):
    """Connecting is given up in time, and made good once the monitor answers."""
    store = make_store(operation_timeout=12, connect_timeout=2, probe_timeout=6)
    with cluster.stopped("mon.a"):
        began = time.monotonic()
        with pytest.raises(errors.StoreUnavailable):
            store.add("image", b"x", 1)
        assert time.monotonic() - began < 30
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

    def refused():
        try:
            store.delete(store.add("large", DATA, len(DATA), digests=()).location)  # it counts late
        except errors.StoreFull as error:
            return error
        return None

    assert until(refused, 90)
    assert "large" not in view.names()
    assert not [name for name in view.names() if name.startswith(".")]
    assert store.delete(clone) is Deletion.DEFERRED
    assert store.delete(kept) is Deletion.DELETED
    cluster.ask("osd pool set-quota", pool=view.pool, field="max_bytes", val="0")
    assert comes_back(store)


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
        child.kill(signal.SIGKILL)
        child.wait()
        until(lambda: store.sweep().removed, 90)
    assert view.empty()


def test_errors_name_what_is_wrong(make_store, cluster, tmp_path):
    """A pool that is not there, a user that the cluster does not know, a key ring that is not there, a reader's key."""
    store = make_store(rbd_store_pool="nowhere")
    assert (store.probe().status, "no pool 'nowhere'" in store.health.reason) == (Status.DOWN, True)
    store = make_store(rbd_store_user="stranger")
    assert (store.probe().status, "client.stranger" in store.health.reason) == (Status.DOWN, True)
    with pytest.raises(errors.StoreUnavailable):
        store.add("image", b"x", 1)
    conf = tmp_path / "ceph.conf"
    with open(cluster.conf) as file:
        conf.write_text(file.read().replace("keyring =", f"keyring = {tmp_path}/none #"))
    store = make_store(rbd_store_ceph_conf=conf)
    assert (store.probe().status, "keyring" in store.health.reason) == (Status.DOWN, True)


def test_a_user_that_may_only_read(make_store, cluster, store, pool):
    """Images are read; adding and deleting are refused, and nothing is left."""
    location = store.add("image", b"abc", 3).location
    caps = ["mon", "profile rbd", "osd", "profile rbd-read-only"]
    cluster.ask("auth get-or-create", entity=f"client.{pool}", caps=caps)
    key = cluster.ask("auth get-key", entity=f"client.{pool}")["key"]
    with open(cluster.folder / "keyring", "a") as file:
        file.write(f"[client.{pool}]\n\tkey = {key}\n")
    reader = make_store(rbd_store_user=pool)
    assert content(reader, location) == b"abc"
    for refused in (lambda: reader.add("other", b"x", 1), lambda: reader.delete(location)):
        with pytest.raises(errors.Forbidden):
            refused()
    assert [each.id for each in store.list()] == ["image"]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_an_osd_that_goes_at_any_moment(store, cluster, view):
    """Adding, reading, deleting: each ends in time, well or with an error of ours; what is there is whole."""
    seed = os.getpid()
    print(f"seed {seed}")
    chance = random.Random(seed)
    known = errors.StoreUnavailable, errors.CommitUnknown
    kept = store.add("kept", DATA, len(DATA)).location
    for number in range(20):
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
    chance = random.Random(os.getpid())
    for number in range(30):
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
