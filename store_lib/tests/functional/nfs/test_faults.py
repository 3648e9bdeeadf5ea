"""Shares that go away: unmounted, replaced, stale, and servers that are dead, hung or out of reach."""

import concurrent.futures
import os
import shutil
import threading
import time

import psutil
import pytest

from store_lib import Status, errors
from store_lib.tests import support
from store_lib.tests.functional.nfs.conftest import (
    TIMEOUT,
    VERSIONS,
    mount,
    mount_before,
    mounted,
    run,
    server,
    show,
    unmount,
)

MIB = 1024 * 1024
#: What ending a call may take beyond its deadline where others keep the machine busy; each test prints what it took.
SLACK = 30.0


class Slow:
    """A source that does something in the middle."""

    def __init__(self, data, action):
        self._pieces = list(support.pieces(data, MIB))
        self._action = action

    def __iter__(self):
        for number, piece in enumerate(self._pieces):
            if number == len(self._pieces) // 2:
                self._action()
            yield piece


def helpers():
    """Return the helper processes that live."""
    found = []
    for child in psutil.Process().children():
        try:
            if any("_helper_main" in word for word in child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


# -- the mount goes away ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_unmounted_behind_the_back_nothing_lands_in_the_directory_below(make_share, make_nfs, watch, version):
    share = make_share()
    store = make_nfs(share, version)
    kept = store.add("image-1", b"x")
    (point,) = mounted()
    for when in ("before", "during"):
        print(f"unmounted {when} an add")
        there = share.names
        if when == "before":
            unmount(point)
        act = (lambda: None) if when == "before" else lambda: unmount(point)
        source = Slow(support.payload(16 * MIB), act)
        watch(lambda source=source: store.add("image-2", source), TIMEOUT + SLACK, errors.StoreUnavailable)
        show(below=os.listdir(point), share=share.names)
        assert os.listdir(point) == []
        assert share.names == there
        watch(lambda: store.stat(kept.location), SLACK, errors.StoreUnavailable)
        watch(lambda: store.delete(kept.location), SLACK, errors.StoreUnavailable)
        found = store.probe()
        print(found)
        assert (found.status, found.details["server"]) == (Status.DOWN, "up")
        mount(share, point, version=version)
        assert support.content(store, kept.location) == b"x"
        store.add(f"image-{when}", b"z")
        show(back=store.probe().status, share=share.names)
    assert share.names == ["image-1", "image-before", "image-during"]


@pytest.mark.parametrize("version", VERSIONS)
def test_another_share_mounted_over_it_during_an_add(make_share, make_nfs, watch, version):
    share, other = make_share(), make_share()
    store = make_nfs(share, version)
    (point,) = mounted()

    def replace():
        unmount(point)
        mount(other, point, version=version)

    watch(lambda: store.add("image-1", Slow(support.payload(16 * MIB), replace)), SLACK * 2, errors.StoreUnavailable)
    unmount(point)
    show(share=share.names, other=support.names(other.folder), below=os.listdir(point))
    assert support.names(other.folder) == []
    assert share.names == []
    assert os.listdir(point) == []


def test_a_local_file_system_mounted_over_it_is_noticed(make_share, make_nfs, watch):
    share = make_share()
    store = make_nfs(share)
    (point,) = mounted()
    run("mount", "-t", "tmpfs", "none", point)
    try:
        watch(lambda: store.add("image-1", b"x"), SLACK * 2, errors.StoreUnavailable)
        show(over=os.listdir(point), share=share.names)
        assert os.listdir(point) == []
        assert share.names == []
    finally:
        unmount(point)
    store.add("image-1", b"x")
    show(back=store.probe().status, share=share.names)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stale_share_is_an_error_and_comes_back_by_a_mount_of_its_own(make_share, make_nfs, version):
    share = make_share()
    store = make_nfs(share, version, by_store=True, prepare=False, nfs_mount_options="actimeo=1")
    mount_before(store, [share], "actimeo=1", version)
    store.initialise()
    record = store.add("image-1", b"x")
    marker = (share.folder / ".store_lib").read_text()
    shutil.rmtree(share.folder)
    time.sleep(1.5)  # what is remembered of attributes
    share.folder.mkdir()
    (share.folder / ".store_lib").write_text(marker)
    (share.folder / "image-1").write_bytes(b"x")
    print(store.probe())
    support.until(lambda: store.probe().status is Status.UP, 90)
    assert support.content(store, record.location) == b"x"
    store.add("image-2", b"y")
    show(back=store.probe(), share=share.names)
    assert share.names == ["image-1", "image-2"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stale_share_of_the_operators_is_an_error_and_no_missing_image(make_share, make_nfs, watch, version):
    share = make_share()
    store = make_nfs(share, version, nfs_mount_options="actimeo=1")
    record = store.add("image-1", b"x")
    shutil.rmtree(share.folder)
    share.folder.mkdir()
    watch(lambda: store.delete(record.location), TIMEOUT + SLACK, errors.StoreUnavailable)
    watch(lambda: store.add("image-2", b"y"), TIMEOUT + SLACK, errors.StoreUnavailable)
    found = store.probe()
    print(found)
    assert found.status is Status.DOWN


# -- the server goes away ---------------------------------------------------------------------------------------------


def hasty(make_nfs, share, version="4.2", **options):
    """Make a store that gives up soon, once it works: on a busy machine starting a helper takes as long."""
    (share.folder / ".store_lib").write_text("{}")
    store = make_nfs(share, version, prepare=False, filesystem_store_timeout=TIMEOUT, **options)
    support.until(lambda: store.probe().status is Status.UP, 90)
    return store


def through(make_nfs, share, version="4.2", **options):
    """Make a hasty store that reaches the server by the relay."""
    words = "proto=tcp,port=2049" if version == "3" else ""  # which would ask the portmapper
    return hasty(make_nfs, share, version, nfs_mount_options=words, operation_timeout=TIMEOUT, **options)


def test_a_hung_server_fails_calls_in_time_and_is_back_when_it_is(make_share, make_nfs, relay, watch):
    """Hangs while two stores do nothing, on NFS 3 and 4.2, and one is in the middle of an add; they wait together."""
    idle = {version: make_share() for version in ("3", "4.2")}
    stores = {version: through(make_nfs, share, version) for version, share in idle.items()}
    kept = {version: store.add("image-1", b"x").location for version, store in stores.items()}
    busy = make_share()
    writing = through(make_nfs, busy)
    hung = threading.Event()

    def hang():
        relay.set(stall=True)
        hung.set()

    def write():
        source = Slow(support.payload(32 * MIB), hang)
        watch(lambda: writing.add("image-1", source), 3 * TIMEOUT + SLACK, errors.StoreUnavailable)

    def call(version):
        store, location = stores[version], kept[version]
        assert hung.wait(60)
        watch(lambda: store.add("image-2", b"y"), 2 * TIMEOUT + SLACK, errors.StoreUnavailable)
        watch(lambda: support.content(store, location), 2 * TIMEOUT + SLACK, errors.StoreUnavailable)
        watch(lambda: store.delete(location), 2 * TIMEOUT + SLACK, errors.StoreUnavailable)
        found = store.probe()
        print(found)
        assert found.status is Status.DOWN
        assert "does not answer" in found.reason

    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        for ended in [threads.submit(write), *(threads.submit(call, version) for version in stores)]:
            ended.result()
    relay.set(stall=False)
    for version, store in stores.items():
        support.until(lambda store=store: store.probe().status is Status.UP, 90)
        assert support.content(store, kept[version]) == b"x"
        store.add("image-3", b"z")
        show(version=version, back=store.probe().status, share=idle[version].names)
        assert {"image-1", "image-3"} <= set(idle[version].names)
    support.until(lambda: writing.probe().status is Status.UP, 90)
    support.until(lambda: writing.sweep(older_than=0) and busy.names == [], 60)
    show(written=busy.names)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_killed_server_is_told_from_a_broken_mount(make_share, make_nfs, watch, version):
    share = make_share()
    store = hasty(make_nfs, share, version)
    kept = store.add("image-1", b"x")
    server("stop")
    try:
        watch(lambda: store.add("image-2", b"y"), 2 * TIMEOUT + SLACK, errors.StoreUnavailable)
        found = store.probe()
        print(found)
        assert (found.status, found.details["server"]) == (Status.DOWN, "down")
    finally:
        server("start")
    support.until(lambda: store.probe().status is Status.UP, 90)
    assert support.content(store, kept.location) == b"x"
    store.add("image-3", b"z")
    show(back=store.probe().status, share=share.names)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_out_of_reach(make_share, make_nfs, watch, version):
    share = make_share()
    store = hasty(make_nfs, share, version)
    kept = store.add("image-1", b"x")
    run("ip", "link", "set", "lo", "down")
    try:
        watch(lambda: store.add("image-2", b"y"), 3 * TIMEOUT + SLACK, errors.StoreUnavailable)
        found = store.probe()
        print(found)
        assert found.status is Status.DOWN
    finally:
        run("ip", "link", "set", "lo", "up")
    support.until(lambda: store.probe().status is Status.UP, 90)
    assert support.content(store, kept.location) == b"x"
    show(back=store.probe().status, share=share.names)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hundred_calls_to_a_hung_server_all_end_and_leave_nothing(make_share, make_nfs, relay, version):
    share = make_share()
    store = through(make_nfs, share, version, probe_interval=600)
    kept = store.add("image-1", b"x")
    threads = threading.active_count()
    relay.set(stall=True)
    took, ended = [], []

    def call(number):
        began = time.monotonic()
        try:
            store.stat(kept.location) if number % 2 else support.content(store, kept.location)
        except errors.StoreUnavailable as error:
            ended.append(error)
        took.append(time.monotonic() - began)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(100)]
    with support.lateness() as late:
        for caller in callers:
            caller.start()
        start = support.time_of_a_start()  # two of the callers wait for a helper to start, before they ask the server
        for caller in callers:
            caller.join(120)
    allowed = TIMEOUT + 1 + start + sum(late)
    print(
        f"{len(ended)} of {len(took)} calls failed, the longest after {max(took):.2f} s of {allowed:.2f} allowed (the "
        f"machine was {sum(late):.2f} s late, starting a process took {start:.2f} s)"
    )
    assert (len(took), len(ended)) == (100, 100)
    assert max(took) < allowed
    relay.set(stall=False)
    support.until(lambda: store.probe().status is Status.UP, 90)
    assert support.content(store, kept.location) == b"x"
    store.close()
    support.until(lambda: not helpers(), 30)
    support.until(lambda: threading.active_count() <= threads, 30)
    show(processes=helpers(), threads_more=threading.active_count() - threads)


def test_a_mount_of_a_dead_server_fails_in_time(make_share, make_nfs, watch):
    share = make_share()
    store = make_nfs(share, by_store=True, prepare=False, nfs_mount_options="port=9", filesystem_store_timeout=TIMEOUT)
    watch(lambda: store.add("image-1", b"x"), TIMEOUT + 30, errors.StoreUnavailable)
    show(mounted=mounted())
    assert mounted() == []
