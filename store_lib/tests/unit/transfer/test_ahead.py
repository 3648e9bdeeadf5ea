"""Reading ahead: several ranges at once, in order, and no more than there is memory for."""

import threading
import time

import pytest

from store_lib import errors
from store_lib.interface import KIB, MIB, Limits
from store_lib.runtime import Clock, Deadline
from store_lib.tests import fakes
from store_lib.tests.support import payload, until
from store_lib.tests.unit.transfer.images import AHEAD, DATA, PART, URI


def test_ranges_are_fetched_at_once_and_come_in_order(make_filled):
    driver = fakes.fake(AHEAD)
    running, most = [], []
    lock = threading.Lock()

    def slow():
        with lock:
            running.append(1)
            most.append(len(running))
        time.sleep(0.01 * (4 - len(most) % 4))
        with lock:
            running.pop()

    driver.script.act("read", slow)
    store = make_filled(driver)
    with store.open(URI) as reader:
        assert reader.read() == DATA
    assert 2 <= max(most) <= 4 + 1
    assert driver.script.count("read") == 21


@pytest.mark.parametrize(
    ("start", "length"),
    [(0, 30 * PART + 500), (4 * PART + 10, 3 * PART), (4 * PART + 10, 11 * PART), (25 * PART, PART)],
)
def test_large_holes_are_not_asked_for(make_store, start, length):
    driver = fakes.fake(Limits(part_size=PART, parallel=4, sparse=100, thin=True, ranges=True))
    store = make_store(driver)
    data = bytearray(payload(30 * PART + 500))
    small, holes = (
        (10 * PART, 10 * PART + 300),
        [(2 * PART + 100, 9 * PART), (12 * PART, 20 * PART), (29 * PART, len(data))],
    )
    for begin, end in [small, *holes]:
        data[begin:end] = bytes(end - begin)
    location = store.add("image", bytes(data)).location
    with store.open(location, start, length) as reader:
        assert reader.read() == data[start : start + length]
    asked = [
        (call.detail["offset"], call.detail["offset"] + call.detail["length"]) for call in driver.script.of("read")
    ]
    for begin, end in holes:
        assert not [each for each in asked if max(begin, each[0]) < min(end, each[1])]
    assert not any(last - first > PART for first, last in asked)


def test_no_more_than_a_few_ranges_are_read_ahead(make_filled):
    driver = fakes.fake(AHEAD)
    store = make_filled(driver)
    with store.open(URI) as reader:
        reader.read(10)
        time.sleep(0.05)
        assert driver.script.count("read") <= 6


def test_without_memory_for_it_nothing_is_read_ahead(make_filled):
    driver = fakes.fake(AHEAD)
    store = make_filled(driver, memory_limit=MIB, queue_timeout=0)
    with store._runtime.budget.acquire(MIB, MIB, Deadline(None, Clock()), lambda: None), store.open(URI) as reader:
        assert reader.read() == DATA
    assert driver.script.count("read") == 1


@pytest.mark.timeout(30)
def test_many_readers_in_one_thread_do_not_wait_for_each_other(make_store):
    store = make_store(fakes.fake(Limits(part_size=100 * KIB, parallel=4, ranges=True)), memory_limit=MIB)
    data = payload(MIB)
    store.add("image", data)
    readers = [store.open(URI) for _ in range(20)]
    assert {reader.read(1000) for reader in readers} == {data[:1000]}
    for reader in readers:
        assert reader.read() == data[1000:]
        reader.close()


@pytest.mark.timeout(30)
def test_copying_within_a_store_does_not_wait_for_its_own_memory(make_store):
    store = make_store(fakes.fake(Limits(part_size=300 * KIB, parallel=4, ranges=True)), memory_limit=MIB)
    data = payload(3 * MIB)
    store.add("image", data)
    with store.open(URI) as reader:
        store.add("copy", reader)
    assert store.open("memory://it/copy").read() == data


def test_seeking_forgets_what_was_read_ahead(make_filled):
    driver = fakes.fake(AHEAD)
    store = make_filled(driver)
    with store.open(URI) as reader:
        reader.read(10)
        reader.seek(15_000)
        assert store._runtime.budget.used == 0
        assert reader.read(10) == DATA[15_000:15_010]


def test_what_is_read_ahead_ends_when_nobody_wants_it(make_filled):
    driver = fakes.fake(AHEAD)
    read = []

    def slowly(chunks):
        for byte in b"".join(chunks):
            time.sleep(0.01)
            read.append(byte)
            yield bytes([byte])

    for number in range(2, 40):
        driver.script.body(number, slowly)
    store = make_filled(driver)
    with store.open(URI) as reader:
        reader.read(10)
        until(lambda: read)
        reader.seek(0)
        time.sleep(0.05)
        before = len(read)
        time.sleep(0.1)
        assert len(read) == before


def test_a_thread_that_is_stuck_while_reading_is_given_up(make_filled, monkeypatch):
    monkeypatch.setattr("store_lib.transfer.ahead.GRACE", 0.05)
    driver = fakes.fake(AHEAD)
    gate = driver.script.block("read", 2)
    store = make_filled(driver, operation_timeout=0.2, retry_deadline=0)
    began = time.monotonic()
    with store.open(URI) as reader, pytest.raises(errors.OperationTimeout, match="sent nothing"):
        reader.read()
    assert time.monotonic() - began < 3
    gate.open()


def test_reads_end_on_one_thread_that_others_use(make_filled):
    driver = fakes.fake(AHEAD)
    store = make_filled(driver, max_threads=1)
    found = []
    threads = [threading.Thread(target=lambda: found.append(store.open(URI).read())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [DATA] * 16
