"""Who may sweep what."""

import dataclasses
import datetime
from typing import Any

import pytest

from store_lib.interface import Leftover
from store_lib.leftovers import may_go
from store_lib.runtime import new_owner
from store_lib.tests.support import in_child

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
MINE = new_owner()
DAY = 24 * 3600


def left(owner, hours, alive=False):
    active = None if hours is None else NOW - datetime.timedelta(hours=hours)
    return Leftover("thing", None, owner, active, 0, alive)


def dead():
    """Return the owner of a process of this machine that has ended."""
    return dataclasses.replace(MINE, pid=in_child(lambda: __import__("os").getpid()))


ELSEWHERE: dict[str, Any] = {
    "another host": {"host": "elsewhere", "boot": "0" * 32},
    "another boot": {"boot": "0" * 32},
    "another container": {"pid_namespace": 1},
    "no boot id": {"boot": ""},
}


@pytest.mark.parametrize("hours", [0, 1000])
def test_what_a_live_writer_holds_stays_however_old(hours):
    assert not may_go(left(MINE, hours, alive=True), NOW, DAY)
    assert not may_go(left(dead(), hours, alive=True), NOW, DAY)


def test_what_a_dead_process_of_this_machine_left_goes_at_once():
    assert may_go(left(dead(), 0), NOW, DAY)
    assert may_go(left(dead(), None), NOW, DAY)


def test_a_pid_that_is_used_again_is_another_process():
    assert may_go(left(dataclasses.replace(MINE, started=MINE.started - 1), 0), NOW, DAY)


def test_what_a_process_that_runs_holds_goes_only_with_age():
    assert not may_go(left(MINE, 23), NOW, DAY)
    assert may_go(left(MINE, 25), NOW, DAY)


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_pid_of_elsewhere_says_nothing(where):
    owner = dataclasses.replace(dead(), **ELSEWHERE[where])
    assert not may_go(left(owner, 23), NOW, DAY)
    assert may_go(left(owner, 25), NOW, DAY)


def test_without_an_owner_only_age_counts_and_without_age_nothing_goes():
    assert not may_go(left(None, 23), NOW, DAY)
    assert may_go(left(None, 25), NOW, DAY)
    assert not may_go(left(None, None), NOW, 0)
