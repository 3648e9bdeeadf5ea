"""Health of stores: asked for in the background, and shown and changed by what callers do."""

import threading
import time

import pytest

from store_lib import errors
from store_lib.interface import Status
from store_lib.tests import fakes
from store_lib.tests.support import in_child, until

TWO = (
    "[DEFAULT]\nenabled_backends = a:fake, b:fake\n[glance_store]\ndefault_backend = a\n"
    "[backend_defaults]\nprobe_interval = 0\n"
)


def _probing():
    return [thread for thread in threading.enumerate() if thread.name == "store_lib-probes"]


# -- in the background ------------------------------------------------------------------------------------------------


def test_no_thread_before_it_is_asked_for(make_stores):
    stores = make_stores(TWO, drivers={"fake": fakes.fake()})
    stores.start()
    assert not _probing()


def test_the_background_keeps_asking_until_the_stores_are_closed(make_stores, monkeypatch):
    monkeypatch.setattr("store_lib.health._NAP", 0.01)
    driver = fakes.fake()
    stores = make_stores(TWO, drivers={"fake": driver})
    stores.start(background=True)
    stores.start(background=True)
    assert len(_probing()) == 1
    until(lambda: driver.script.count("probe") > 6, 30)
    driver.script.fail("probe", fakes.passing("gone"))
    until(lambda: stores["a"].health.status is Status.DOWN, 30)
    driver.script.unfail("probe")
    until(lambda: stores["a"].health.status is Status.UP, 30)
    assert stores.close() == []
    assert not _probing()


def test_a_bug_in_a_probe_does_not_end_the_background(make_stores, monkeypatch, logged):
    monkeypatch.setattr("store_lib.health._NAP", 0.01)
    driver = fakes.fake()
    driver.script.fail("probe", TypeError("bug"), 1, 2, 3, 4)
    stores = make_stores(TWO, drivers={"fake": driver})
    stores._prober.start()
    until(lambda: stores["a"].health.status is Status.UP, 30)
    assert any("a probe failed" in text for text in logged())


def test_a_child_has_no_such_thread_until_it_starts_one(make_stores, monkeypatch):
    monkeypatch.setattr("store_lib.health._NAP", 0.01)
    stores = make_stores(TWO, drivers={"fake": fakes.fake()})
    stores.start(background=True)

    def child():
        before = len(_probing())
        stores.start(background=True)
        return [before, len(_probing()), stores.close()]

    assert in_child(child) == [0, 1, []]


# -- through a store --------------------------------------------------------------------------------------------------


def test_a_closed_store_refuses_add_and_delete_but_reads(make_store):
    driver = fakes.fake()
    store = make_store(driver, probe_interval=1000)
    place = store.add("image", b"x").location
    driver.script.fail("probe", fakes.passing("gone"))
    assert store.probe().status is Status.DOWN
    for change in (lambda: store.add("other", b"x"), lambda: store.delete(place)):
        with pytest.raises(errors.StoreUnavailable, match="gone") as raised:
            change()
        assert raised.value.store == "it"
    assert store.open(place).read() == b"x"
    assert store.stat(place).size == 1


def test_a_probe_that_hangs_takes_its_time_and_no_more(make_store, monkeypatch):
    monkeypatch.setattr("store_lib.runtime.GRACE", 0.1)
    driver = fakes.fake()
    gate = driver.script.block("probe", 1)
    store = make_store(driver, probe_timeout=0.2)
    began = time.monotonic()
    assert store.probe().status is Status.DOWN
    assert store.probe().status is Status.DOWN
    assert time.monotonic() - began < 1.5
    assert driver.script.count("probe") == 1, "the second one must not hang with the first"
    gate.open()


def test_a_store_whose_threads_are_all_at_work_is_not_down(make_store):
    driver = fakes.fake()
    gate = driver.script.block("write_part")
    store = make_store(driver, max_threads=1)
    thread = threading.Thread(target=store.add, args=("image", bytes(9000)))
    thread.start()
    gate.wait()
    assert store.probe().status is Status.UP
    gate.open()
    thread.join()


def test_probe_timeout_is_told_to_the_driver(make_store):
    driver = fakes.fake()
    make_store(driver, probe_timeout=3).probe()
    assert 2 < driver.script.of("probe")[0].detail["ctx"].timeout <= 3


def test_a_store_shows_that_its_storage_needed_retries(make_store):
    driver = fakes.fake()
    store = make_store(driver)
    for verb, use in (
        ("write_part", lambda: store.add("one", bytes(5000))),
        ("stat", lambda: store.stat("memory://it/one")),
        ("read", lambda: store.open("memory://it/one").read()),
    ):
        driver.script.fail(verb, fakes.passing, driver.script.count(verb) + 1)
        use()
        seen = [store.health.status]
        store.stat("memory://it/one")
        seen.append(store.health.status)
        assert seen == [Status.DEGRADED, Status.UP], verb


def test_a_store_shows_that_it_is_nearly_full(make_store):
    store = make_store(memory_store_size=100000)
    store.add("one", bytes(96000))
    health = store.probe()
    assert health.status is Status.DEGRADED
    assert (health.details["total"], health.details["free"]) == (100000, 4000)


def test_a_room_that_cannot_be_told_does_not_close_a_store(make_store):
    driver = fakes.fake()
    driver.script.fail("capacity", RuntimeError("whatever"))
    assert make_store(driver).probe().status is Status.UP


@pytest.mark.parametrize("verb", ["write_part", "stat", "read"])
def test_after_a_time_out_the_next_add_asks_first(make_store, verb):
    driver = fakes.fake()
    store = make_store(driver, retry_attempts=1)
    place = store.add("one", bytes(5000)).location
    driver.script.fail(verb, fakes.lost, driver.script.count(verb) + 1)
    with pytest.raises(errors.OperationTimeout):
        {
            "write_part": lambda: store.add("two", bytes(5000)),
            "stat": lambda: store.stat(place),
            "read": lambda: store.open(place).read(),
        }[verb]()
    asked = driver.script.count("probe")
    driver.script.fail("probe", fakes.passing("gone"), asked + 1)
    with pytest.raises(errors.StoreUnavailable, match="gone"):
        store.add("three", b"x")
    store.add("three", b"x")


def test_what_is_refused_to_a_caller_closes_nothing(make_store):
    driver = fakes.fake()
    store = make_store(driver, probe_interval=1000)
    store.add("one", b"x")
    asked = driver.script.count("probe")
    driver.script.fail("upload", errors.Forbidden("401: the token is not valid"), 2)
    with pytest.raises(errors.Forbidden):
        store.add("two", b"x", context="a caller's")
    store.add("two", b"x", context="another caller's")
    assert driver.script.count("probe") == asked
    assert store.health.status is Status.UP
