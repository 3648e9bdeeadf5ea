"""The helper processes of a store, while what they do hangs: real processes, which wait for a lock of a file."""

import contextlib
import fcntl
import os
import threading
import time

import pytest

from store_lib import errors
from store_lib.drivers import _helper_pool
from store_lib.drivers._helper import Helper, renew, soonest, together
from store_lib.tests import support

#: Seconds for one call where it is to end, and where it is not to be overdue within the test.
SOON, LATE = 2.0, 120.0


@pytest.fixture
def started(monkeypatch):
    """Return a list of all helpers that are started."""
    found = []

    class Noted(Helper):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            found.append(self)

    monkeypatch.setattr(_helper_pool, "Helper", Noted)
    return found


@pytest.fixture
def make_pool(started):
    """Return a function that makes a pool with a time-out."""
    with support.nothing_left(), contextlib.ExitStack() as made:
        made.callback(started.clear)  # they hold memory

        def make(timeout):
            pool = _helper_pool.Helpers(10, timeout, 100)
            made.callback(pool.close)
            return pool

        yield make


class Place:
    """A directory that hangs whoever opens it, as long as it is locked."""

    def __init__(self, path):
        self.path = str(path)
        self._own = os.open(path, os.O_RDONLY)

    def hang(self):
        fcntl.flock(self._own, fcntl.LOCK_EX)

    def wake(self):
        fcntl.flock(self._own, fcntl.LOCK_UN)

    def open(self, helper):
        """Open it in a helper, unless it is open there."""
        with helper.opening:
            if "place" not in helper.kept:
                directory = helper.open_directory(self.path)
                with contextlib.suppress(FileNotFoundError):
                    helper.publish_alone([directory], directory, directory, "nothing", "name")
                helper.kept["place"] = directory

    def close(self):
        os.close(self._own)


@pytest.fixture
def place(tmp_path):
    """Return a directory that hangs."""
    found = Place(tmp_path)
    found.hang()
    yield found
    found.close()


class Callers:
    """Threads that ask a pool for a helper and open a directory in it; with what each of them ended."""

    def __init__(self, pool, place):
        self._pool, self._place = pool, place
        self._threads = []
        self.ended = []

    def start(self, number):
        for _ in range(number):
            self._threads.append(threading.Thread(target=self._call))
            self._threads[-1].start()

    def _call(self):
        try:
            self._place.open(self._pool.choose())
            self.ended.append("opened")
        except errors.StoreUnavailable as error:  # its text: the error itself holds the helper
            self.ended.append(error.message)

    def join(self):
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        return self.ended


@pytest.fixture
def callers(started, place):
    """Return a function that returns callers of a pool, two of which hang in helpers of their own and six wait."""

    def hanging(pool):
        made = Callers(pool, place)
        for number in (1, 2):
            made.start(1)
            support.until(lambda number=number: len(started) == number and started[-1].beginning, 60)
        pool._timeout = LATE  # for those that wait
        made.start(6)
        support.until(lambda: pool._waiting == 6, 60)
        return made

    return hanging


def test_two_begin_at_a_time_and_the_others_use_what_they_have_opened(make_pool, callers, place, started):
    made = callers(make_pool(LATE))
    assert len(started) == 2
    place.wake()
    assert made.join() == ["opened"] * 8
    assert len(started) <= 10


def test_who_waits_is_told_when_the_first_is_overdue(make_pool, callers, place, started):
    pool = make_pool(SOON)
    told = callers(pool).join()
    assert len(told) == 8
    assert len(started) == 2, "somebody tried what others had found to hang"
    assert sum("did not answer within 2 s" in text for text in told) in (1, 2)
    assert sum("has not answered for" in text for text in told) >= 6
    assert pool.hung_for() >= SOON
    place.wake()
    made = Callers(pool, place)
    support.until(lambda: pool.hung_for() is None or made.start(1) or "opened" in made.join(), 60)
    assert pool.hung_for() is None


def test_who_waits_is_told_when_the_store_is_closed(make_pool, callers, started):
    pool = make_pool(LATE)
    made = callers(pool)
    pool.close()
    told = made.join()
    assert len(told) == 8
    assert sum("was closed" in text for text in told) == 6
    assert len(started) == 2
    assert all(helper.reaped(30) for helper in started)


def test_nobody_waits_longer_than_for_one_call(make_pool, callers, place, started):
    pool = make_pool(LATE)
    made = callers(pool)
    pool._timeout = 0.1  # of who comes now; those that hang have begun before
    with pytest.raises(errors.OperationTimeout, match="did not answer others"):
        pool.choose()
    assert len(started) == 2
    place.wake()
    assert made.join() == ["opened"] * 8


def test_opening_has_the_time_of_one_call_and_at_first_that_of_the_start(started, make_pool):
    before = time.monotonic()
    opening = make_pool(LATE).choose().opening
    with opening:
        first = opening.deadline()
        assert opening.deadline() == first
    assert before + LATE < first < time.monotonic() + LATE + 1
    opening._started = before  # long ago
    entered = time.monotonic()
    with opening:
        assert entered + LATE <= opening.deadline() <= time.monotonic() + LATE


def test_the_calls_of_an_operation_have_the_time_of_one(make_pool, place):
    """What earlier calls took is gone for the later ones."""
    place.wake()
    pool = make_pool(LATE)
    helper = pool.choose()
    place.open(helper)
    place.hang()
    directory = helper.kept["place"]
    with together(SOON), together(LATE):  # the outer one counts
        time.sleep(SOON)
        began = time.monotonic()
        with support.lateness() as late, pytest.raises(errors.OperationTimeout):
            helper.publish_alone([directory], directory, directory, "nothing", "name")
        assert time.monotonic() - began < SOON - 0.5 + sum(late)


def test_what_takes_its_own_time_is_not_counted():
    """Outside nothing is bounded; a bound begins anew where that is said."""
    renew()
    now = time.monotonic()
    assert soonest(now + LATE) == now + LATE
    with together(SOON):
        assert now + SOON <= (first := soonest(now + LATE)) < now + LATE
        time.sleep(0.05)
        renew()
        assert first < soonest(now + LATE) < now + LATE
        assert soonest(now) == now
    assert soonest(now + LATE) == now + LATE
