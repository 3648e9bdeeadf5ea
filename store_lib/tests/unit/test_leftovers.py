"""Who may sweep what, and what a sweep does."""

import dataclasses
import datetime
from typing import Any

import pytest

from store_lib import errors
from store_lib.interface import Leftover
from store_lib.leftovers import may_go
from store_lib.runtime import new_owner
from store_lib.tests import fakes
from store_lib.tests.support import content, in_child

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
MINE = new_owner()
DAY = 24 * 3600


def left(owner, hours, alive=False, abandoned=False):
    active = None if hours is None else NOW - datetime.timedelta(hours=hours)
    return Leftover("thing", None, owner, active, 0, alive, abandoned)


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


def test_what_was_given_up_goes_at_once_unless_it_is_held_again():
    for owner in (MINE, None):
        assert may_go(left(owner, None, abandoned=True), NOW, DAY)
        assert not may_go(left(owner, 1000, alive=True, abandoned=True), NOW, DAY)


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_pid_of_elsewhere_says_nothing(where):
    owner = dataclasses.replace(dead(), **ELSEWHERE[where])
    assert not may_go(left(owner, 23), NOW, DAY)
    assert may_go(left(owner, 25), NOW, DAY)


def test_without_an_owner_only_age_counts_and_without_age_nothing_goes():
    assert not may_go(left(None, 23), NOW, DAY)
    assert may_go(left(None, 25), NOW, DAY)
    assert not may_go(left(None, None), NOW, 0)


# -- sweep ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def littered(make_store):
    """Return a store with three unfinished uploads: of a live writer, of a dead one, and of another host, old."""
    driver = fakes.fake()
    store = make_store(driver)
    store.add("image", b"abc")
    uploads = []
    for number in range(3):
        ctx = store._runtime.context()
        if number == 2:
            ctx.owner = dataclasses.replace(ctx.owner, boot="0" * 32)
        upload = store._driver.upload(f"lost-{number}", None, ctx)
        upload.start()
        uploads.append(upload)
    state = store._driver._state.get()
    old = store._runtime.wall() - datetime.timedelta(hours=25)
    for upload in uploads[1:]:
        state.unfinished[upload.uuid].active = old
    live = uploads[0]
    uploads.clear()
    del upload
    yield store
    live.abort()


def test_only_what_nobody_writes_is_swept(littered):
    assert sorted(each.alive for each in littered.leftovers()) == [False, False, True]
    dry = littered.sweep(dry_run=True)
    assert (len(dry.removed), len(dry.kept), len(dry.failed)) == (2, 1, 0)
    assert len(list(littered.leftovers())) == 3
    done = littered.sweep()
    assert (len(done.removed), len(done.kept), len(done.failed)) == (2, 1, 0)
    (left,) = littered.leftovers()
    assert left.alive
    assert content(littered, "memory://it/image") == b"abc"


def test_age_is_the_callers_or_the_stores(littered):
    assert littered.sweep(older_than=26 * 3600).removed == []
    assert len(littered.sweep(older_than=24 * 3600).removed) == 2


def test_what_is_needed_after_all_is_kept_and_failures_are_told(littered):
    script = littered._driver.script
    script.fail("sweep", errors.InUse("needed"), 1)
    script.fail("sweep", errors.Forbidden("no"), 2)
    done = littered.sweep()
    assert (len(done.removed), len(done.kept), len(done.failed)) == (0, 2, 1)
    leftover, error = done.failed[0]
    assert isinstance(error, errors.Forbidden)
    assert (error.store, error.operation) == ("it", "sweep")
    assert leftover in list(littered.leftovers())
