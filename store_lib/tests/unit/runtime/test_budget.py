"""Memory: granted whole, first come first served, given back."""

import random
import threading
import time

import pytest

from store_lib import errors
from store_lib.runtime import Budget, Clock, Deadline
from store_lib.tests.support import in_child, until

NEVER = Deadline(None, Clock())


def go_on():
    """Nobody cancels."""


def soon(seconds=0.1):
    return Deadline(seconds, Clock())


def start(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    return thread


def test_what_is_granted_is_given_back():
    budget = Budget(100)
    with budget.acquire(60, 60, NEVER, go_on) as grant:
        assert (grant.size, budget.used) == (60, 60)
        grant.release()
        grant.release()
        assert budget.used == 0
    assert budget.used == 0


def test_less_is_granted_when_less_is_free_but_not_less_than_the_least():
    budget = Budget(100)
    with budget.acquire(70, 70, NEVER, go_on):
        with budget.acquire(50, 20, NEVER, go_on) as grant:
            assert grant.size == 30
        with pytest.raises(errors.Busy):
            budget.acquire(50, 31, soon(), go_on)
    assert budget.used == 0


def test_nobody_gets_more_than_there_is():
    with Budget(100).acquire(1000, 500, NEVER, go_on) as grant:
        assert grant.size == 100


def test_who_came_first_is_served_first_though_another_would_fit():
    budget = Budget(100)
    first = budget.acquire(80, 80, NEVER, go_on)
    order = []

    def want(name, size):
        with budget.acquire(size, size, NEVER, go_on):
            order.append(name)

    large = start(want, "large", 95)
    until(lambda: len(budget._queue) == 1)
    small = start(want, "small", 10)
    until(lambda: len(budget._queue) == 2)
    time.sleep(0.05)
    assert order == []
    first.release()
    large.join()
    small.join()
    assert order == ["large", "small"]


def too_late(budget):
    with pytest.raises(errors.Busy):
        budget.acquire(50, 50, soon(0.3), go_on)


def test_waiting_ends_at_the_deadline_and_others_move_up():
    budget = Budget(100)
    with budget.acquire(80, 80, NEVER, go_on):
        thread = start(too_late, budget)
        until(lambda: len(budget._queue) == 1)
        began = time.monotonic()
        with budget.acquire(20, 20, soon(5), go_on) as grant:
            assert grant.size == 20
        assert 0.1 < time.monotonic() - began < 2
        thread.join()


def test_waiting_can_be_cancelled():
    budget = Budget(100)

    class Enough(Exception):
        pass

    def check():
        raise Enough

    with budget.acquire(100, 100, NEVER, go_on), pytest.raises(Enough):
        budget.acquire(10, 10, NEVER, check)
    assert budget.used == 0
    assert not budget._queue


def test_trying_does_not_wait_and_does_not_overtake():
    budget = Budget(100)
    assert budget.try_acquire(200, 50).size == 100  # type: ignore[union-attr]
    assert budget.try_acquire(10, 10) is None
    budget._give_back(100)
    with budget.acquire(80, 80, NEVER, go_on):
        thread = start(lambda: budget.acquire(50, 50, NEVER, go_on).release())
        until(lambda: len(budget._queue) == 1)
        assert budget.try_acquire(10, 10) is None, "somebody waits"
    thread.join()
    grant = budget.try_acquire(10, 30)
    assert grant is not None
    assert grant.size == 10
    grant.release()
    assert budget.used == 0


def test_no_byte_is_lost_in_a_crowd():
    budget = Budget(1000)
    failures = []

    def work(seed):
        dice = random.Random(seed)
        for _ in range(30):
            try:
                with budget.acquire(dice.randint(1, 700), dice.randint(1, 400), soon(dice.choice([0, 0.01, 5])), go_on):
                    if not 0 < budget.used <= 1000:
                        failures.append(budget.used)
            except errors.Busy:
                pass

    threads = [start(work, seed) for seed in range(16)]
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert budget.used == 0


def test_a_child_begins_with_all_memory():
    budget = Budget(100)
    with budget.acquire(100, 100, NEVER, go_on):
        assert in_child(lambda: [budget.used, budget.acquire(100, 100, soon(), go_on).size]) == [0, 100]
