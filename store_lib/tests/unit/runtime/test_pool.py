"""Pools: few threads, none waited for, stuck ones given up."""

import gc
import subprocess
import sys
import threading
import time
import weakref

import pytest

from store_lib import errors
from store_lib.runtime import Clock, Pool, cooperative
from store_lib.tests.script import Gate
from store_lib.tests.support import in_child, until


@pytest.fixture
def pool():
    pool = Pool(2, "test", Clock())
    yield pool
    pool.close(1)


def test_work_is_done_in_other_threads(pool):
    seen = []
    for _ in range(20):
        pool.submit(lambda: seen.append(threading.current_thread()))
    until(lambda: len(seen) == 20)
    assert threading.current_thread() not in seen
    assert 1 <= len(set(seen)) <= 2
    assert all(thread.daemon for thread in seen)


def test_no_more_threads_than_the_limit(pool):
    gates = [Gate() for _ in range(6)]
    for gate in gates:
        pool.submit(gate)
    gates[0].wait()
    gates[1].wait()
    time.sleep(0.05)
    assert not gates[2].entered.is_set()
    assert pool.threads == 2
    for gate in gates:
        gate.open()
    until(lambda: all(gate.entered.is_set() for gate in gates))


def test_a_pool_of_none_works_in_the_callers_thread():
    pool = Pool(0, "test", Clock())
    seen = []
    task = pool.submit(lambda: seen.append(threading.current_thread()))
    assert seen == [threading.current_thread()]
    assert task.done
    assert pool.threads == 0


def test_when_the_process_may_have_no_more_threads_work_is_done_all_the_same(pool, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    seen = []
    pool.submit(lambda: seen.append(threading.current_thread()))
    assert seen == [threading.current_thread()]


def test_idle_threads_are_used_again_and_end(pool, monkeypatch):
    monkeypatch.setattr("store_lib.runtime.pool._IDLE", 0.05)
    for _ in range(10):
        done = threading.Event()
        pool.submit(done.set)
        done.wait(5)
    assert pool.threads <= 2
    until(lambda: pool.threads == 0)
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(5)


def test_an_idle_thread_holds_nothing_of_its_last_task(pool):
    class Bytes:
        def look(self):
            """Do the work."""

    held = Bytes()
    seen = weakref.ref(held)
    pool.submit(held.look)
    del held
    until(lambda: gc.collect() is not None and seen() is None, 2)


def test_a_task_that_raises_is_told_in_the_log_and_harms_nobody(pool, caplog):
    pool.submit(lambda: 1 // 0)
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(5)
    until(lambda: "a task of test failed" in caplog.text)


def test_what_has_not_begun_can_be_withdrawn(pool):
    gates = [Gate(), Gate()]
    running = [pool.submit(gate) for gate in gates]
    for gate in gates:
        gate.wait()
    seen = []
    waiting = pool.submit(lambda: seen.append(1))
    assert pool.withdraw(waiting)
    assert not pool.withdraw(waiting)
    assert not pool.withdraw(running[0])
    for gate in gates:
        gate.open()
    until(lambda: all(task.done for task in running))
    assert seen == []


def test_another_takes_the_place_of_a_stuck_thread(pool, logged):
    gates = [Gate(), Gate()]
    tasks = [pool.submit(gate) for gate in gates]
    for gate in gates:
        gate.wait()
    pool.abandon(tasks[0])
    assert len(pool.stuck()) == 1
    assert pool.stuck()[0] >= 0
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(5)
    assert len(logged()) == 1
    for gate in gates:
        gate.open()
    until(lambda: not pool.stuck())
    until(lambda: pool.threads <= 2)


def test_what_waits_behind_a_stuck_thread_gets_another(pool):
    gates = [Gate(), Gate()]
    tasks = [pool.submit(gate) for gate in gates]
    for gate in gates:
        gate.wait()
    done = threading.Event()
    pool.submit(done.set)
    pool.abandon(tasks[0])
    assert done.wait(5)
    for gate in gates:
        gate.open()


def test_with_too_many_stuck_nothing_is_begun_until_one_comes_back(pool):
    gates = [Gate(), Gate()]
    tasks = [pool.submit(gate) for gate in gates]
    for gate in gates:
        gate.wait()
    left = threading.Event()
    pool.submit(left.set)
    for task in tasks:
        pool.abandon(task)
    with pytest.raises(errors.StoreUnavailable, match="2 requests have not come back"):
        pool.submit(lambda: None)
    with pytest.raises(errors.StoreUnavailable):
        pool.check()
    gates[0].open()
    until(lambda: len(pool.stuck()) == 1)
    pool.check()
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(5)
    assert left.wait(5), "what was taken before is done, too"
    gates[1].open()


def test_a_thread_that_comes_back_serves_who_waited_for_it():
    pool = Pool(1, "test", Clock())
    gate, done = Gate(), threading.Event()
    task = pool.submit(gate)
    gate.wait()
    pool.submit(done.set)
    pool.abandon(task)
    gate.open()
    assert done.wait(5)
    assert pool.close(2) == []


def test_abandoning_what_has_not_begun_or_has_ended_is_harmless(pool):
    gates = [Gate(), Gate()]
    tasks = [pool.submit(gate) for gate in gates]
    for gate in gates:
        gate.wait()
    seen = []
    pool.abandon(pool.submit(lambda: seen.append(1)))
    for gate in gates:
        gate.open()
    until(lambda: all(task.done for task in tasks))
    pool.abandon(tasks[0])
    assert pool.stuck() == []
    assert seen == []


def test_after_close_nothing_is_taken_but_what_was_taken_is_done():
    pool = Pool(1, "test", Clock())
    gate, done = Gate(), threading.Event()
    pool.submit(gate)
    pool.submit(done.set)
    gate.wait()
    threading.Timer(0.1, gate.open).start()
    assert pool.close(5) == []
    assert done.is_set()
    assert pool.threads == 0
    with pytest.raises(errors.StoreClosed):
        pool.submit(lambda: None)


def test_close_waits_no_longer_than_it_may_and_tells_what_is_stuck():
    pool = Pool(2, "test", Clock())
    gate = Gate()
    pool.submit(gate)
    gate.wait()
    began = time.monotonic()
    assert pool.close(0.2) == ["test: 1 thread(s) did not come back from the storage"]
    assert time.monotonic() - began < 1
    gate.open()


def test_a_child_has_threads_of_its_own(pool):
    gates = [Gate(), Gate()]
    for gate in gates:
        pool.submit(gate)
    for gate in gates:
        gate.wait()

    def child():
        done = threading.Event()
        before = pool.threads
        pool.submit(done.set)
        return [before, done.wait(5), pool.threads]

    assert in_child(child) == [0, True, 1]
    for gate in gates:
        gate.open()


def test_a_stuck_thread_does_not_hold_up_the_end_of_the_process():
    code = (
        "import time\nfrom store_lib.runtime import Pool, Clock\npool = Pool(2, 'x', Clock())\n"
        "pool.submit(lambda: time.sleep(60))\ntime.sleep(0.1)\n"
    )
    subprocess.run([sys.executable, "-c", code], timeout=20, check=True)


def test_eventlet_is_seen_only_where_it_replaced_the_threads(monkeypatch):
    assert not cooperative()

    class Patcher:
        patched = True

        @classmethod
        def is_monkey_patched(cls, name):
            return cls.patched and name == "thread"

    monkeypatch.setitem(sys.modules, "eventlet.patcher", Patcher)
    assert cooperative()
    Patcher.patched = False
    assert not cooperative()
