"""Progress: thinned out, and the end is always told."""

import pytest

from store_lib.runtime import Clock
from store_lib.transfer.progress import Progress


class Steps(Clock):
    """A clock that the test moves."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def told():
    return []


@pytest.mark.parametrize("total", [None, 100])
def test_at_most_ten_times_a_second(told, total):
    clock = Steps()
    progress = Progress(lambda *args: told.append(args), total, clock)
    for done in range(100):
        clock.now += 0.02
        progress.show(done)
    assert len(told) == 20
    assert all(each[1] == total for each in told)


def test_what_was_told_is_not_told_again(told):
    clock = Steps()
    progress = Progress(lambda *args: told.append(args), 10, clock)
    for _ in range(5):
        clock.now += 1
        progress.show(3)
    progress.show(10)
    clock.now += 1
    progress.show(10)
    progress.end(10)
    assert told == [(3, 10), (10, 10)]


@pytest.mark.parametrize("total", [None, 7])
def test_the_end_is_told_with_the_total_at_once(told, total):
    progress = Progress(lambda *args: told.append(args), total, Steps())
    progress.show(7)
    progress.end(7)
    assert told[-1] == (7, 7)


def test_nobody_listens():
    progress = Progress(None, 5, Steps())
    progress.show(1)
    progress.end(5)
