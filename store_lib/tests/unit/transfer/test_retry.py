"""Retry: how often, for how long, and what ends it."""

import threading
import time
from typing import Any

import pytest

from store_lib import errors
from store_lib.runtime import Clock
from store_lib.tests import fakes
from store_lib.transfer.retry import Retry


class Base:
    """The two settings that matter."""

    def __init__(self, attempts=5, deadline=60):
        self.retry_attempts = attempts
        self.retry_deadline = deadline


class Flaky:
    """Fails some times, then answers."""

    def __init__(self, failures, error=fakes.passing):
        self.failures = failures
        self.error = error
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error()
        return "answer"


class Naps(Clock):
    """Notes how long it should have slept."""

    def __init__(self):
        self.slept = 0.0

    def sleep(self, seconds, wake=None):
        self.slept += seconds


def retry(base: Any = None, clock=None, stop=None, **arguments):
    given: Any = base or Base()
    return Retry(given, clock or fakes.QuickClock(), stop or threading.Event(), **arguments)


@pytest.mark.parametrize("failures", [0, 1, 4])
def test_passing_errors_are_overcome(failures):
    work = Flaky(failures)
    noted = []
    assert retry(noted=lambda: noted.append(1)).call(work) == "answer"
    assert work.calls == failures + 1
    assert len(noted) == failures


def test_the_last_error_is_raised_after_the_last_try():
    work = Flaky(99)
    with pytest.raises(errors.StoreUnavailable):
        retry(Base(attempts=3)).call(work)
    assert work.calls == 3


def test_one_attempt_is_one_attempt():
    work = Flaky(99)
    with pytest.raises(errors.StoreUnavailable):
        retry(Base(attempts=1)).call(work)
    assert work.calls == 1


@pytest.mark.parametrize("error", [errors.BackendError, errors.NotFound, TypeError, KeyboardInterrupt, OSError])
def test_other_errors_are_raised_at_once(error):
    work = Flaky(99, error)
    with pytest.raises(error):
        retry().call(work)
    assert work.calls == 1


def test_no_try_begins_after_the_deadline():
    work = Flaky(99)
    began = time.monotonic()
    with pytest.raises(errors.StoreUnavailable):
        retry(Base(attempts=1000, deadline=0.5), Clock()).call(work)
    assert time.monotonic() - began < 1
    assert work.calls > 1


def test_waiting_grows():
    short, long = Naps(), Naps()
    for _ in range(20):
        with pytest.raises(errors.StoreUnavailable):
            retry(Base(attempts=3, deadline=1e6), short).call(Flaky(99))
        with pytest.raises(errors.StoreUnavailable):
            retry(Base(attempts=9, deadline=1e6), long).call(Flaky(99))
    assert 0 < short.slept < 20 * 0.7
    assert long.slept > 3 * short.slept


def test_the_end_of_the_transfer_wakes_who_waits():
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    with pytest.raises(errors.StoreUnavailable):
        retry(Base(attempts=1000), Clock(), stop).call(Flaky(9999))
    assert time.monotonic() - began < 2


def test_the_check_ends_it():
    def check():
        raise errors.Cancelled("enough")

    work = Flaky(99)
    with pytest.raises(errors.Cancelled):
        retry(check=check).call(work)
    assert work.calls == 1
