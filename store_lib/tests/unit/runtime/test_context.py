"""The context of an operation, guarded calls, deadlines and bandwidth."""

import os
import threading
import time
from typing import Any

import pytest

from store_lib import errors
from store_lib.drivers.memory import MemoryDriver
from store_lib.runtime import Bandwidth, Clock, Deadline, OperationContext, Pool, SharedRuntime, StoreRuntime, new_owner
from store_lib.settings import BaseSettings, Origin, StoreSettings
from store_lib.tests.script import Gate
from store_lib.tests.support import until


def context(timeout=None, deadline=None, stop=None, threads=4):
    return OperationContext(
        caller="token",
        owner=new_owner(),
        timeout=timeout,
        deadline=Deadline(deadline, Clock()),
        stop=stop or threading.Event(),
        pool=Pool(threads, "test", Clock()),
    )


@pytest.mark.parametrize(
    ("timeout", "deadline", "least", "most"), [(None, None, None, None), (5, None, 5, 5), (None, 3, 2, 3), (5, 3, 2, 3)]
)
def test_a_request_may_take_what_the_shorter_of_both_allows(timeout, deadline, least, most):
    found = context(timeout, deadline).timeout
    if least is None:
        assert found is None
    else:
        assert least <= found <= most


def test_an_operation_ends_when_it_should():
    stop = threading.Event()
    ctx = context(stop=stop)
    ctx.check()
    stop.set()
    with pytest.raises(errors.Cancelled):
        ctx.check()
    ctx = context(deadline=0.01)
    time.sleep(0.02)
    with pytest.raises(errors.OperationTimeout):
        ctx.check()
    assert ctx.timeout == 0


# -- map --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [0, 1, 4, 64])
@pytest.mark.parametrize("count", [0, 1, 5, 200])
def test_map_keeps_the_order(threads, count):
    assert context(threads=threads).map(lambda number: number * 2, range(count)) == [2 * each for each in range(count)]


def test_map_works_on_several_at_once():
    barrier = threading.Barrier(4, timeout=5)
    context(threads=4).map(lambda number: barrier.wait(), range(4))


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_the_first_error_is_raised_once_all_that_was_begun_has_ended(threads):
    running = []
    error = errors.StoreFull("full")

    def work(number):
        running.append(number)
        try:
            if number == 3:
                raise error
            time.sleep(0.01)
        finally:
            running.remove(number)

    with pytest.raises(errors.StoreFull) as raised:
        context(threads=threads).map(work, range(1000))
    assert raised.value is error
    assert running == []


def test_the_error_of_the_items_is_raised():
    def items():
        yield 1
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        context().map(str, items())


def test_map_ends_when_the_operation_does():
    stop = threading.Event()
    done = []

    def work(number):
        done.append(number)
        if number == 10:
            stop.set()

    with pytest.raises(errors.Cancelled):
        context(stop=stop, threads=1).map(work, range(10**6))
    assert len(done) < 100


def test_map_ends_though_no_thread_is_free():
    ctx = context(threads=1)
    gate = Gate()
    ctx._pool.submit(gate)
    gate.wait()
    assert ctx.map(str, range(5)) == ["0", "1", "2", "3", "4"]
    gate.open()


def test_maps_inside_maps_end():
    ctx = context(threads=2)
    assert ctx.map(lambda outer: sum(ctx.map(lambda inner: inner, range(10))), range(10)) == [45] * 10


# -- guarded calls ----------------------------------------------------------------------------------------------------


@pytest.fixture
def runtime(make_stores, monkeypatch):
    monkeypatch.setattr("store_lib.runtime.GRACE", 0.05)
    return make_stores("[DEFAULT]\nenabled_backends = it:memory\n[it]\nmax_threads = 2\n")["it"]._runtime


def test_a_guarded_call_returns_or_raises(runtime):
    assert runtime.guarded(lambda: 5, 1) == 5
    with pytest.raises(KeyError, match="mine"):
        runtime.guarded(lambda: {"a": 1}["mine"], 1)
    assert runtime.guarded(threading.current_thread, 1) is not threading.current_thread()
    assert runtime.guarded(threading.current_thread, None) is threading.current_thread()


def test_a_guarded_call_that_hangs_is_given_up_with_its_outcome_unknown(runtime):
    gate = Gate()
    began = time.monotonic()
    with pytest.raises(errors.OperationTimeout) as raised:
        runtime.guarded(gate, 0.1)
    assert 0.1 <= time.monotonic() - began < 1
    assert raised.value.outcome is errors.Outcome.UNKNOWN
    assert len(runtime.pool.stuck()) == 1
    gate.open()
    until(lambda: not runtime.pool.stuck())


def test_a_guarded_call_that_goes_on_is_not_given_up(runtime):
    gate = Gate()
    asked: list[None] = []

    def progress():
        asked.append(gate.open() if len(asked) > 4 else None)
        return len(asked)

    runtime.guarded(gate, 0.01, progress=progress)
    assert len(asked) > 4


def test_a_delete_may_take_longer_than_a_request_while_something_goes(make_stores, monkeypatch):
    """A driver that removes many things one after another, each in time, is let do so to the end."""
    monkeypatch.setattr("store_lib.runtime.GRACE", 0.0)

    class Slow(MemoryDriver):
        def delete(self, address, ctx):
            for _ in range(30):
                ctx.map(time.sleep, [0.1])
            return super().delete(address, ctx)

    text = "[DEFAULT]\nenabled_backends = it:slow\n[it]\noperation_timeout = 2\nretry_attempts = 1\n"
    store = make_stores(text, drivers={"slow": Slow})["it"]
    record, began = store.add("image", b"data", 4), time.monotonic()
    store.delete(record.location)
    assert time.monotonic() - began > 2


def test_a_guarded_call_that_gets_no_thread_was_not_done(runtime):
    gates = [Gate(), Gate()]
    for gate in gates:
        runtime.pool.submit(gate)
    for gate in gates:
        gate.wait()
    seen = []
    with pytest.raises(errors.Busy) as raised:
        runtime.guarded(lambda: seen.append(1), 0.1)
    assert raised.value.outcome is errors.Outcome.NOT_DONE
    for gate in gates:
        gate.open()
    time.sleep(0.05)
    assert seen == []


# -- bandwidth and time -----------------------------------------------------------------------------------------------


def test_no_limit_is_no_wait():
    bandwidth = Bandwidth(0, Clock())
    began = time.monotonic()
    for _ in range(1000):
        bandwidth.take(10**9, lambda: None)
    assert time.monotonic() - began < 1


def test_the_rate_holds_over_some_time():
    bandwidth = Bandwidth(10_000, Clock())
    began = time.monotonic()
    for _ in range(6):
        bandwidth.take(1000, lambda: None)
    assert 0.45 < time.monotonic() - began < 1.5


def test_waiting_for_bandwidth_can_be_given_up():
    bandwidth = Bandwidth(10, Clock())
    bandwidth.take(1000, lambda: None)

    def check():
        raise errors.Cancelled("enough")

    began = time.monotonic()
    with pytest.raises(errors.Cancelled):
        bandwidth.take(1, check)
    assert time.monotonic() - began < 1


def test_deadlines():
    never, soon = Deadline(None, Clock()), Deadline(0.05, Clock())
    left = soon.left()
    assert never.left() is None
    assert not never.over
    assert not soon.over
    assert left is not None
    assert 0 < left <= 0.05
    time.sleep(0.06)
    assert [soon.over, soon.left()] == [True, 0]


def test_monkey_patched_by_eventlet_everything_runs_in_the_callers_thread(monkeypatch):
    monkeypatch.setattr("store_lib.runtime.cooperative", lambda: True)
    shared = SharedRuntime()
    assert shared.digest_pool.limit == 0
    values: dict[str, Any] = dict.fromkeys(BaseSettings.__dataclass_fields__, 1)
    values.update(digests=[], disabled_features=[])
    base = StoreSettings("it", "memory", values, dict.fromkeys(values, Origin.OPTION)).base
    runtime = StoreRuntime("it", base, shared)
    assert runtime.guarded(threading.current_thread, 1) is threading.current_thread()
    assert runtime.pool.limit == 0


@pytest.mark.parametrize(("processors", "threads"), [(1, 0), (2, 2), (3, 3), (64, 8)])
def test_digests_have_a_thread_a_processor_and_none_where_there_is_one(monkeypatch, processors, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)))
    assert SharedRuntime().digest_pool.limit == threads
    assert SharedRuntime(threads=5).digest_pool.limit == 5
