"""Adding images: retries, cancellation, threads that do not come back."""

import io
import os
import threading
import time

import pytest

from store_lib import errors
from store_lib.interface import MIB, Limits
from store_lib.runtime import Clock, Deadline
from store_lib.tests import fakes
from store_lib.tests.support import content, payload, pieces, until
from store_lib.tests.unit.transfer.uploads import PART, WHOLE, ids, unfinished

# -- retry ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [fakes.OBJECTS, fakes.BLOCKS])
def test_one_part_is_sent_again_without_reading_the_source_again(make_store, limits):
    driver = fakes.fake(limits)
    driver.script.fail("write_part", fakes.passing, 2, 4)
    store = make_store(driver)
    record = store.add("image", pieces(payload(5500), 333))
    assert content(store, record.location) == payload(5500)
    assert driver.script.count("write_part") == 6 + 2


def test_a_part_that_keeps_failing_ends_the_transfer(make_store):
    driver = fakes.fake()
    driver.script.fail("write_part", fakes.passing)
    store = make_store(driver, retry_attempts=3)
    with pytest.raises(errors.StoreUnavailable, match="try again"):
        store.add("image", payload(500))
    assert driver.script.count("write_part") == 3
    assert ids(store) == unfinished(store) == []


def test_an_error_that_will_not_pass_is_not_tried_again(make_store):
    driver = fakes.fake()
    driver.script.fail("write_part", errors.StoreFull("no room"))
    with pytest.raises(errors.StoreFull) as raised:
        make_store(driver).add("image", payload(500))
    assert driver.script.count("write_part") == 1
    assert (raised.value.store, raised.value.operation) == ("it", "add")


@pytest.mark.parametrize("verb", ["upload", "start", "reserve"])
def test_the_other_requests_are_sent_again_too(make_store, verb):
    driver = fakes.fake(Limits(part_size=PART, capacity=0))
    driver.script.fail(verb, fakes.passing, 1)
    store = make_store(driver)
    assert content(store, store.add("image", payload(500)).location) == payload(500)
    assert driver.script.count(verb) == 2


def test_a_start_that_may_have_happened_is_not_repeated(make_store):
    driver = fakes.fake()
    driver.script.fail("start", fakes.lost, 1, after=True)
    store = make_store(driver)
    with pytest.raises(errors.OperationTimeout):
        store.add("image", payload(500))
    assert driver.script.count("start") == driver.script.count("abort") == 1
    assert unfinished(store) == []


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_buffer_is_not_used_again_once_a_request_may_still_read_it(make_store, parallel):
    driver = fakes.fake(Limits(part_size=PART, parallel=parallel))
    driver.script.keep = True
    for number in (1, 2, 5, 7):
        driver.script.fail("write_part", fakes.lost, number)
    unknown = [0, 1, 4, 6]
    store = make_store(driver)
    record = store.add("image", io.BytesIO(payload(30 * PART)))
    assert content(store, record.location) == payload(30 * PART)
    changed = [number for number, (view, then) in enumerate(driver.script.kept) if view != then]
    assert not set(changed) & set(unknown)
    assert changed, "buffers are used again otherwise"
    driver.script.kept.clear()


def test_when_every_buffer_is_lost_new_ones_take_their_place(make_store):
    driver = fakes.fake(Limits(part_size=PART, parallel=2))
    for number in range(1, 40, 2):
        driver.script.fail("write_part", fakes.lost, number)
    store = make_store(driver)
    assert content(store, store.add("image", payload(15 * PART)).location) == payload(15 * PART)


@pytest.mark.parametrize("size", [0, 10, 3 * PART, 9 * PART])
def test_buffers_are_given_back(make_store, size):
    buffers = fakes.Buffers()
    make_store(fakes.fake(WHOLE, buffers=buffers)).add("image", payload(size))
    assert sorted(buffers.taken) == sorted(buffers.released) != []


@pytest.mark.parametrize(("verb", "size"), [("write_part", 9 * PART), ("write_whole", 10), ("write_whole", 3 * PART)])
def test_buffers_that_may_still_be_read_are_not_given_back(make_store, verb, size):
    buffers = fakes.Buffers()
    driver = fakes.fake(WHOLE, buffers=buffers)
    driver.script.fail(verb, fakes.lost, 1)
    store = make_store(driver)
    assert content(store, store.add("image", payload(size)).location) == payload(size)
    assert len(buffers.released) < len(buffers.taken)


# -- cancel -----------------------------------------------------------------------------------------------------------


def later(seconds, function):
    """Call `function` in a while, in another thread."""
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()
    return timer


def test_cancel_while_the_source_stalls(make_store):
    driver = fakes.fake()
    store = make_store(driver)
    cancel = threading.Event()
    reading, writing = os.pipe()
    os.write(writing, payload(2500))
    later(0.2, cancel.set)
    began = time.monotonic()
    with open(reading, "rb", buffering=0) as source, pytest.raises(errors.Cancelled):
        store.add("image", source, cancel=cancel)
    assert time.monotonic() - began < 5
    os.close(writing)
    assert ids(store) == unfinished(store) == []


def test_cancel_before_anything(make_store):
    driver = fakes.fake()
    store = make_store(driver)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.Cancelled):
        store.add("image", b"x", cancel=cancel)
    assert driver.script.count("upload") == 0


def test_cancel_while_waiting_for_memory(make_store):
    driver = fakes.fake()
    store = make_store(driver, memory_limit=MIB)
    cancel = threading.Event()
    with _all_memory(store):
        later(0.2, cancel.set)
        with pytest.raises(errors.Cancelled):
            store.add("image", payload(5000), cancel=cancel)
    assert ids(store) == unfinished(store) == []
    store.add("image", payload(5000))


def _all_memory(store):
    budget = store._runtime.budget
    return budget.acquire(budget.limit, budget.limit, Deadline(None, Clock()), lambda: None)


def test_no_memory_in_time_is_busy(make_store):
    store = make_store(memory_limit=MIB, queue_timeout=0.2, retry_attempts=1)
    with _all_memory(store), pytest.raises(errors.Busy, match="memory_limit") as raised:
        store.add("image", payload(5000))
    assert raised.value.transient


@pytest.mark.parametrize("size", [10, 9 * PART])
def test_cancel_while_waiting_for_another_try(make_store, size):
    driver = fakes.fake()
    driver.script.fail("write_part", fakes.passing)
    store = make_store(driver, clock=Clock(), retry_attempts=50)
    cancel = threading.Event()
    later(1.0, cancel.set)
    began = time.monotonic()
    with pytest.raises(errors.Cancelled):
        store.add("image", payload(size), cancel=cancel)
    assert time.monotonic() - began < 2.5
    assert unfinished(store) == []


def test_cancel_while_a_part_is_on_its_way(make_store):
    driver = fakes.fake()
    gate = driver.script.block("write_part", 1)
    store = make_store(driver)
    cancel = threading.Event()
    later(0.1, cancel.set)
    later(0.4, gate.open)
    with pytest.raises(errors.Cancelled):
        store.add("image", payload(9 * PART), cancel=cancel)
    assert ids(store) == unfinished(store) == []


# -- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
@pytest.mark.parametrize("timeout", [0, 30])
def test_many_transfers_end_on_two_threads(make_store, timeout):
    driver = fakes.fake(Limits(part_size=PART, parallel=4, ranges=True))
    store = make_store(driver, threads=2, max_threads=2, memory_limit=MIB, operation_timeout=timeout)
    failures = []

    def work(number):
        try:
            record = store.add(f"image-{number}", pieces(payload(20 * PART, seed=number % 4), 500))
            assert content(store, record.location) == payload(20 * PART, seed=number % 4)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(ids(store)) == 64
    assert store._runtime.pool.threads <= 2


def test_a_thread_that_does_not_come_back_is_given_up(make_store, monkeypatch, logged):
    monkeypatch.setattr("store_lib.transfer.flow.GRACE", 0.1)
    driver = fakes.fake()
    gate = driver.script.block("write_part", 2)
    store = make_store(driver, operation_timeout=0.3, max_threads=4)
    began = time.monotonic()
    with pytest.raises(errors.OperationTimeout):
        store.add("image", payload(9 * PART))
    assert time.monotonic() - began < 3
    assert [text for text in logged() if "does not come back" in text]
    assert len(store._runtime.pool.stuck()) >= 1
    assert ids(store) == unfinished(store) == []
    store.add("other", payload(9 * PART))
    gate.open()
    until(lambda: not store._runtime.pool.stuck())


def test_too_many_stuck_threads_make_the_store_fail_at_once(make_store, monkeypatch):
    monkeypatch.setattr("store_lib.transfer.flow.GRACE", 0.1)
    driver = fakes.fake(Limits(part_size=PART, parallel=1))
    gates = [driver.script.block("write_part", number) for number in (1, 2)]
    store = make_store(driver, operation_timeout=0.2, max_threads=2, retry_attempts=1)
    for number in range(2):
        with pytest.raises(errors.OperationTimeout):
            store.add(f"image-{number}", payload(9 * PART))
    began = time.monotonic()
    with pytest.raises(errors.StoreUnavailable, match="2 requests have not come back"):
        store.add("image", payload(9 * PART))
    assert time.monotonic() - began < 1
    assert unfinished(store) == []
    for gate in gates:
        gate.open()
    until(lambda: not store._runtime.pool.stuck())
    store.add("image", payload(9 * PART))


def test_closing_the_store_ends_transfers_and_clears_away(make_store):
    driver = fakes.fake(Limits(part_size=PART, parallel=1))
    gate = driver.script.block("write_part", 2)
    store = make_store(driver, operation_timeout=20)
    failures = []

    def work():
        try:
            store.add("image", pieces(payload(50 * PART), 100))
        except errors.StoreLibError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    gate.wait()
    later(0.2, gate.open)
    store.close(5)
    thread.join(5)
    assert not thread.is_alive()
    assert isinstance(failures[0], errors.StoreClosed)
    assert driver.script.count("abort") == 1


def test_what_ends_after_the_store_was_closed_is_cleared_away_all_the_same(make_store):
    driver = fakes.fake(Limits(part_size=PART, parallel=1))
    gate = driver.script.block("write_part", 2)
    store = make_store(driver, operation_timeout=20)
    failures = []

    def work():
        try:
            store.add("image", payload(50 * PART))
        except errors.StoreLibError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    gate.wait()
    assert store.close(0.1) != []
    gate.open()
    thread.join(5)
    assert isinstance(failures[0], errors.StoreClosed)
    assert driver.script.count("abort") == 1
