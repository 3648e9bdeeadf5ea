"""Stores that go down and come back, probes that never return, drivers that raise anything."""

import dataclasses
import os
import threading

import pytest

from store_lib import Status, errors
from store_lib.drivers.memory import MemoryDriver
from store_lib.interface import Download
from store_lib.tests import fakes, support

KIB = support.KIB


def test_a_store_goes_down_and_comes_back_while_50_threads_work(make_file_store, tmp_path):
    """Renames the directory away and back: every add and read works or fails as unavailable, and all goes on after."""
    store = make_file_store(max_threads=8)
    kept = store.add("kept", support.payload(300 * KIB)).location
    stop, down, lock = threading.Event(), threading.Event(), threading.Lock()
    found: dict[tuple[bool, str], int] = {}
    bad: list[str] = []

    def note(what):
        with lock:
            key = (down.is_set(), what)
            found[key] = found.get(key, 0) + 1

    def work(number):
        turn = 0
        while not stop.is_set():
            turn += 1
            try:
                data = support.payload(100 * KIB, number % 4)
                place = store.add(f"i{number}-{turn}", data).location
                if support.content(store, place) != data or support.content(store, kept) != support.payload(300 * KIB):
                    bad.append("other bytes")
                store.delete(place)
                note("done")
            except errors.StoreUnavailable:
                note("unavailable")
            except BaseException as error:
                bad.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,), name=f"caller-{number}") for number in range(50)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            before = found.get((False, "done"), 0)
            support.until(lambda before=before: found.get((False, "done"), 0) > before + 50, 60)
            os.rename(tmp_path / "images", tmp_path / "away")
            down.set()
            before = found.get((True, "unavailable"), 0)
            support.until(lambda before=before: found.get((True, "unavailable"), 0) > before + 50, 60)
            assert store.probe().status is Status.DOWN
            os.rename(tmp_path / "away", tmp_path / "images")
            down.clear()
        before = found.get((False, "done"), 0)
        support.until(lambda: found.get((False, "done"), 0) > before + 50, 60)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert bad == []
    assert store.probe().status is Status.UP
    for left in store.list():
        store.delete(left.location)  # of an add or delete that the outage cut short
    assert support.names(tmp_path / "images") == []


@pytest.fixture
def hanging(make_stores, monkeypatch):
    """Return two stores, ``it`` and ``other``, with the fake driver of the first."""
    monkeypatch.setattr("store_lib.runtime.GRACE", 0.2)
    driver, other = fakes.fake(), fakes.fake()
    stores = make_stores(
        "[DEFAULT]\nenabled_backends = it:fake, other:fine\n[glance_store]\ndefault_backend = it\n"
        "[backend_defaults]\nprobe_timeout = 0.3\nprobe_interval = 0\n",
        drivers={"fake": driver, "fine": other},
    )
    yield stores, driver.script
    driver.script.release()
    support.until(lambda: not stores["it"]._runtime.probe_pool.stuck(), 30)


def test_a_probe_that_never_returns(hanging):
    """Hangs the first probe: the store is down, adds fail at once, others are not held up; then it comes back."""
    stores, script = hanging
    gate = script.block("probe", 1)
    store = stores["it"]
    health = stores.start()
    assert (health["it"].status, health["other"].status) == (Status.DOWN, Status.UP)
    for _ in range(5):
        with pytest.raises(errors.StoreUnavailable, match="down"):
            store.add("one", b"x")
    assert script.count("probe") == 1, "no further thread may hang"
    assert stores["other"].add("one", b"x").size == 1
    gate.open()
    support.until(lambda: store.probe().status is Status.UP, 30)
    assert store.add("one", b"x").size == 1


def test_closing_with_a_probe_that_never_returns(hanging):
    """Closes in bounded time, and says what is stuck."""
    stores, script = hanging
    script.block("probe")
    stores["it"].probe()
    stuck = stores.close(0.5)
    assert len(stuck) == 1
    assert "probe" in stuck[0]


class Foreign(Exception):
    """What a third party's client library raises; its driver maps nothing."""


VERBS = ("upload", "start", "write_part", "commit", "open", "read", "stat", "delete", "list", "probe", "capacity")


@pytest.mark.parametrize("verb", VERBS)
def test_a_third_partys_driver_that_raises_foreign_exceptions(make_stores, verb):
    """Lets every verb fail in a way that no table knows: it passes as it is, nothing is left, and the rest works."""
    driver = fakes.fake()
    stores = make_stores("[DEFAULT]\nenabled_backends = it:fake\n", drivers={"fake": driver})
    store = stores["it"]
    data = support.payload(5000)
    kept = store.add("kept", data).location
    before = driver.script.count(verb)
    driver.script.fail(verb, lambda: Foreign(verb), before + 1)
    uses = {
        "open": lambda: store.open(kept),
        "read": lambda: store.open(kept).read(),
        "stat": lambda: store.stat(kept),
        "delete": lambda: store.delete(kept),
        "list": lambda: [*store.list()],
        "probe": store.probe,
        "capacity": store.capacity,
    }
    with pytest.raises(Foreign, match=verb):
        uses.get(verb, lambda: store.add("one", data))()
    assert [each.id for each in store.list()] == ["kept"]
    assert [*store.leftovers()] == []
    assert support.content(store, store.add("one", data).location) == data
    assert store.probe().status is Status.UP
    assert store._runtime.budget.used == 0
    assert stores.close() == []


def test_a_third_partys_driver_that_raises_foreign_exceptions_while_it_copies(make_stores):
    """Fails in copy_part and in move: the source stays."""
    one = fakes.fake(FEATURES=fakes.SHARING)
    two = fakes.fake(dataclasses.replace(fakes.OBJECTS, copy_max=2000), FEATURES=fakes.SHARING)
    stores = make_stores(
        "[DEFAULT]\nenabled_backends = a:one, b:two\n[glance_store]\ndefault_backend = a\n",
        drivers={"one": one, "two": two},
    )
    data = support.payload(7000)
    kept = stores["a"].add("kept", data).location
    one.script.fail("move", lambda: Foreign("move"), 1)
    two.script.fail("copy_part", lambda: Foreign("copy_part"), 1)
    with pytest.raises(Foreign, match="move"):
        stores.migrate(kept, "b", delete_source=True)
    with pytest.raises(Foreign, match="copy_part"):
        stores.copy(kept, "b")
    assert support.content(stores["a"], kept) == data
    assert [*stores["b"].list()] == [*stores["b"].leftovers()] == []
    assert support.content(stores["b"], stores.copy(kept, "b").location) == data


def test_a_third_partys_driver_whose_clearing_away_raises(make_stores):
    """Raises in abort and close, which never may: the error that is told stays the first one."""

    class Rude(fakes.FakeUpload):
        def abort(self):
            super().abort()
            raise Foreign("abort")

    class RudeDownload(Download):
        def __init__(self, inner):
            self.info, self.limits, self._inner = inner.info, inner.limits, inner

        def read(self, offset, length):
            return self._inner.read(offset, length)

        def close(self):
            raise Foreign("close")

    driver = fakes.fake(
        UPLOAD=Rude, open=lambda self, address, *rest: RudeDownload(MemoryDriver.open(self, address, *rest))
    )
    driver.script.fail("write_part", errors.Forbidden("no"), 1)
    stores = make_stores("[DEFAULT]\nenabled_backends = it:fake\n", drivers={"fake": driver})
    with pytest.raises(errors.Forbidden):
        stores["it"].add("one", support.payload(5000))
    place = stores["it"].add("one", support.payload(5000)).location
    reader = stores["it"].open(place)
    assert reader.read() == support.payload(5000)
    with pytest.raises(Foreign):
        reader.close()
    reader.close()
