"""Stores that go down and come back, probes that never return, drivers that raise anything."""

import dataclasses
import os
import threading
from collections import Counter

import pytest

from store_lib import Status, errors
from store_lib.drivers.memory import MemoryDriver
from store_lib.interface import Download
from store_lib.tests import fakes, support

KIB = support.KIB
KEPT = support.payload(300 * KIB)


class Callers:
    """Threads that add, read and delete during ``with``; what came of each turn is counted."""

    def __init__(self, store, number):
        #: Set while the store is away.
        self.down = threading.Event()
        #: What never may come of a turn.
        self.bad: list[str] = []
        self._store = store
        self._kept = store.add("kept", KEPT).location
        self._found: Counter[tuple[bool, str]] = Counter()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(each,), name=f"caller-{each}") for each in range(number)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *details):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def until_50_more(self, what):
        """Wait until so many more turns have ended like that, with the store as it is now."""
        key = (self.down.is_set(), what)
        before = self._found[key]
        support.until(lambda: self._found[key] > before + 50, 60)

    def _work(self, number):
        turn = 0
        while not self._stop.is_set():
            turn += 1
            try:
                self._use(f"i{number}-{turn}", support.payload(100 * KIB, number % 4))
                self._note("done")
            except errors.StoreUnavailable:
                self._note("unavailable")
            except BaseException as error:
                self.bad.append(repr(error))

    def _use(self, image_id, data):
        place = self._store.add(image_id, data).location
        if support.content(self._store, place) != data or support.content(self._store, self._kept) != KEPT:
            self.bad.append("other bytes")
        self._store.delete(place)

    def _note(self, what):
        with self._lock:
            self._found[self.down.is_set(), what] += 1


def test_a_store_goes_down_and_comes_back_while_50_threads_work(make_file_store, tmp_path):
    """Renames the directory away and back: every add and read works or fails as unavailable, and all goes on after."""
    store = make_file_store(max_threads=8)
    with Callers(store, 50) as callers:
        for _ in range(3):
            callers.until_50_more("done")
            os.rename(tmp_path / "images", tmp_path / "away")
            callers.down.set()
            callers.until_50_more("unavailable")
            assert store.probe().status is Status.DOWN
            os.rename(tmp_path / "away", tmp_path / "images")
            callers.down.clear()
        callers.until_50_more("done")
    assert callers.bad == []
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
