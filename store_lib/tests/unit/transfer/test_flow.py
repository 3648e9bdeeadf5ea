"""The bookkeeping of one transfer: tasks, their first failure, buffers."""

import functools
import threading
import time

import pytest

from store_lib import errors
from store_lib.runtime import Clock, Pool
from store_lib.tests.script import Gate
from store_lib.tests.support import until
from store_lib.transfer.flow import Flow, Line


class Failure(Exception):
    """Something."""


def new_flow(check=lambda: None, tick=lambda: None, timeout=None):
    return Flow(Clock(), check, tick, timeout)


@pytest.fixture
def pool():
    pool = Pool(3, "test", Clock())
    yield pool
    pool.close(1)


def allocate(size):
    return memoryview(bytearray(size))


def test_draining_waits_for_every_task(pool):
    flow, done = new_flow(), []

    def slow(number):
        time.sleep(0.005)
        done.append(number)

    for number in range(20):
        flow.submit(pool, functools.partial(slow, number))
    flow.drain()
    assert sorted(done) == list(range(20))
    assert flow.running == 0


def test_the_first_failure_ends_it_and_what_has_not_begun_is_not_done(pool):
    flow, done, error = new_flow(), [], Failure("first")
    gate = Gate()

    def fail():
        gate()
        raise error

    flow.submit(pool, fail)
    gate.wait()
    gate.open()
    with pytest.raises(Failure) as raised:
        flow.drain()
    assert raised.value is error
    flow.submit(pool, lambda: done.append(1))
    flow.end()
    assert done == []
    with pytest.raises(Failure):
        flow.check()
    flow.fail(Failure("second"))
    with pytest.raises(Failure, match="first"):
        flow.check()


def test_waiting_ticks_and_can_be_cancelled(pool):
    ticks = []
    began = time.monotonic()

    def check():
        if time.monotonic() - began > 0.35:
            raise errors.Cancelled("enough")

    flow = new_flow(check, lambda: ticks.append(threading.current_thread()))
    with pytest.raises(errors.Cancelled):
        flow.wait(lambda: False)
    assert 3 <= len(ticks) <= 10
    assert set(ticks) == {threading.current_thread()}


def test_the_end_withdraws_and_waits(pool):
    flow, gates, done = new_flow(), [Gate() for _ in range(3)], []
    for gate in gates:
        flow.submit(pool, gate)
    for gate in gates:
        gate.wait()
    flow.submit(pool, lambda: done.append(1))
    threading.Timer(0.1, lambda: [gate.open() for gate in gates]).start()
    flow.end()
    assert flow.running == 0
    assert done == []
    flow.end()


def test_a_request_that_does_not_come_back_is_given_up_and_its_buffers_are_lost(pool, monkeypatch):
    monkeypatch.setattr("store_lib.transfer.flow.GRACE", 0.05)
    flow, gate = new_flow(timeout=0.1), Gate()
    flow.add_slots([allocate(10), allocate(10)])
    slot = flow.take_slot(allocate)
    flow.hold(slot, 1)

    def request():
        with flow.request():
            gate()
        flow.let_go(slot)

    flow.submit(pool, request)
    with pytest.raises(errors.OperationTimeout):
        flow.drain()
    flow.end()
    assert len(pool.stuck()) == 1
    assert flow.drop_slots(), "somebody may still look at a buffer"
    gate.open()
    until(lambda: not pool.stuck())


def test_time_between_requests_does_not_count(pool, monkeypatch):
    monkeypatch.setattr("store_lib.transfer.flow.GRACE", 0.05)
    flow = new_flow(timeout=0.1)

    def requests():
        for _ in range(5):
            with flow.request():
                time.sleep(0.05)
        time.sleep(0.3)

    flow.submit(pool, requests)
    flow.drain()


def test_a_pool_that_does_nothing_any_more_is_not_waited_for():
    pool = Pool(1, "test", Clock())
    gate = Gate()
    stuck = pool.submit(gate)
    gate.wait()
    flow = new_flow()
    flow.submit(pool, lambda: None)
    pool.abandon(stuck)
    with pytest.raises(errors.StoreUnavailable, match="have not come back"):
        flow.drain()
    flow.end()
    assert flow.running == 0
    gate.open()


def test_a_pool_that_is_closed_meanwhile_ends_the_transfer(pool):
    flow, gate = new_flow(), Gate()
    flow.submit(pool, gate)
    gate.wait()
    threading.Timer(0.1, gate.open).start()
    pool.close(5)
    flow.drain()
    with pytest.raises(errors.StoreClosed):
        flow.submit(pool, lambda: None)
    flow.end()


# -- buffers ----------------------------------------------------------------------------------------------------------


def test_a_buffer_is_free_once_everybody_has_let_go():
    flow = new_flow()
    flow.add_slots([allocate(10)])
    slot = flow.take_slot(allocate)
    flow.hold(slot, 2)
    flow.let_go(slot)
    taken = []
    thread = threading.Thread(target=lambda: taken.append(flow.take_slot(allocate)))
    thread.start()
    time.sleep(0.05)
    assert taken == []
    flow.let_go(slot)
    thread.join(5)
    assert taken == [slot]
    assert not flow.drop_slots()


def test_buffers_come_in_the_order_in_which_they_lie():
    flow, blocks = new_flow(), [allocate(10) for _ in range(3)]
    flow.add_slots(blocks)
    assert [flow.take_slot(allocate).block for _ in range(3)] == blocks


def test_a_lost_buffer_is_replaced_only_when_none_is_left():
    flow, made = new_flow(), []

    def replace(size):
        made.append(allocate(size))
        return made[-1]

    flow.add_slots([allocate(10), allocate(10)])
    for _ in range(2):
        slot = flow.take_slot(replace)
        flow.hold(slot, 1)
        slot.tainted = True
        flow.let_go(slot)
    assert made == []
    slot = flow.take_slot(replace)
    assert slot.block is made[0]
    flow.hold(slot, 1)
    flow.let_go(slot)
    assert flow.take_slot(replace) is slot, "the new one is used again"
    assert flow.drop_slots()


# -- lines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_line_begins_in_order_and_keeps_its_width(threads, width):
    pool, flow = Pool(threads, "test", Clock()), new_flow()
    began, running, most = [], [], []
    lock = threading.Lock()

    def work(number):
        with lock:
            began.append(number)
            running.append(number)
            most.append(len(running))
        time.sleep(0.001)
        with lock:
            running.remove(number)

    line = Line(work, pool, flow, width)
    for number in range(60):
        line.put(number)
    flow.drain()
    assert line.idle
    assert sorted(began) == list(range(60))
    assert max(most) <= min(width, max(1, threads))
    if width == 1:
        assert began == list(range(60))
    pool.close(1)


def test_lines_of_many_transfers_share_a_thread():
    pool = Pool(1, "test", Clock())
    flows = [new_flow() for _ in range(30)]
    done: list[int] = []
    for flow in flows:
        line = Line(done.append, pool, flow)
        for number in range(20):
            line.put(number)
    for flow in flows:
        flow.drain()
    assert len(done) == 600
    pool.close(1)


def test_an_error_in_a_line_ends_its_flow(pool):
    flow = new_flow()

    def work(number):
        if number == 5:
            raise Failure("five")

    line = Line(work, pool, flow, 2)
    for number in range(20):
        line.put(number)
    with pytest.raises(Failure, match="five"):
        flow.drain()
    flow.end()
