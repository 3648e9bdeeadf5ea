"""Health: a store that is down is closed, and opens by itself."""

import json
import threading
import time

import pytest

from store_lib import errors
from store_lib.health import Gate, Health, with_room
from store_lib.interface import Capacity, Probe, Status
from store_lib.runtime import Clock
from store_lib.tests.support import in_child


class StillClock(Clock):
    """Time passes only when the test says so."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


class Storage:
    """Answers probes."""

    def __init__(self):
        self.answers = [Probe(Status.UP)]
        self.asked = 0

    def __call__(self):
        self.asked += 1
        found = self.answers[min(self.asked, len(self.answers)) - 1]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def storage():
    return Storage()


@pytest.fixture
def clock():
    return StillClock()


@pytest.fixture
def gate(storage, clock):
    return Gate("it", storage, 30, clock)


def test_nobody_is_asked_before_the_first_use(gate, storage):
    assert gate.health == Health(Status.UNKNOWN)
    assert storage.asked == 0


def test_the_first_use_asks_once(gate, storage):
    for _ in range(3):
        gate.pass_()
    assert storage.asked == 1
    assert gate.health.status is Status.UP


def test_a_store_that_is_down_is_closed_until_its_next_probe(gate, storage, clock, logged):
    storage.answers = [errors.StoreUnavailable("no route"), Probe(Status.DOWN, "still"), Probe(Status.UP)]
    for _ in range(3):
        with pytest.raises(errors.StoreUnavailable, match="no route"):
            gate.pass_()
    assert storage.asked == 1
    clock.now += 31
    with pytest.raises(errors.StoreUnavailable, match="still"):
        gate.pass_()
    assert storage.asked == 2
    assert len(logged()) == 1, "one warning"
    clock.now += 31
    gate.pass_()
    assert storage.asked == 3
    assert any("is back" in text for text in logged(20))


def test_a_closed_store_is_told_from_one_that_cannot_delete(gate, storage):
    storage.answers = [Probe(Status.DOWN, "x")]
    with pytest.raises(errors.StoreUnavailable) as raised:
        gate.pass_()
    assert not isinstance(raised.value, errors.NotSupported | errors.NotFound)


@pytest.mark.parametrize("status", [Status.UP, Status.DEGRADED])
def test_usable_stores_are_not_asked_again(gate, storage, clock, status):
    storage.answers = [Probe(status, "nearly full")]
    gate.pass_()
    clock.now += 1000
    gate.pass_()
    assert storage.asked == 1
    assert gate.health.status is status


def test_a_read_only_storage_says_so_and_is_asked_again(gate, storage, clock):
    storage.answers = [Probe(Status.READ_ONLY, "mounted read-only"), Probe(Status.UP)]
    with pytest.raises(errors.ReadOnlyStore, match="mounted read-only"):
        gate.pass_()
    clock.now += 31
    gate.pass_()


def test_a_bug_in_a_probe_is_not_taken_for_an_answer(gate, storage):
    storage.answers = [TypeError("bug"), Probe(Status.UP)]
    with pytest.raises(TypeError):
        gate.ask()
    gate.pass_()
    assert storage.asked == 2


def test_one_probe_at_a_time(clock):
    began, go = threading.Event(), threading.Event()
    asked = []

    def probe():
        asked.append(1)
        began.set()
        assert go.wait(10)
        return Probe(Status.UP)

    gate = Gate("it", probe, 30, clock)
    thread = threading.Thread(target=gate.ask)
    thread.start()
    began.wait(10)
    meanwhile = gate.ask()
    assert "under way since" in meanwhile.reason
    waiting = threading.Thread(target=gate.pass_)
    waiting.start()
    go.set()
    thread.join()
    waiting.join(10)
    assert len(asked) == 1
    assert gate.health.status is Status.UP


def test_the_first_callers_share_one_answer(clock):
    asked = []

    def probe():
        asked.append(1)
        time.sleep(0.1)
        return Probe(Status.UP)

    gate = Gate("it", probe, 30, clock)
    threads = [threading.Thread(target=gate.pass_) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1


def test_a_child_asks_for_itself(gate, storage):
    gate.pass_()

    def child():
        before = gate.health.status.value
        gate.pass_()
        return [before, storage.asked]

    assert in_child(child) == ["unknown", 2]


def test_a_child_of_a_fork_during_a_probe_does_not_hang(clock):
    began, go = threading.Event(), threading.Event()

    def probe():
        began.set()
        go.wait(10)
        return Probe(Status.UP)

    gate = Gate("it", probe, 30, clock)
    thread = threading.Thread(target=gate.ask)
    thread.start()
    began.wait(10)

    def child():
        go.set()
        gate.pass_()
        return gate.health.status.value

    assert in_child(child) == "up"
    go.set()
    thread.join()


def test_health_is_json(gate):
    told = json.loads(json.dumps(gate.ask().to_dict()))
    assert told["status"] == "up"
    assert told["checked_at"].endswith("+00:00")
    assert Health(Status.UNKNOWN).to_dict()["checked_at"] is None


def test_retries_of_the_last_operation_make_a_store_degraded(gate, storage):
    gate.pass_()
    gate.worked(2)
    degraded = gate.health
    assert degraded.status is Status.DEGRADED
    assert "2 requests" in degraded.reason
    gate.pass_()
    gate.worked(0)
    assert gate.health.status is Status.UP
    assert storage.asked == 1


def test_what_is_down_is_not_made_better_by_retries(gate, storage):
    storage.answers = [Probe(Status.DOWN, "gone")]
    gate.ask()
    gate.worked(1)
    assert gate.health.status is Status.DOWN


def test_doubt_makes_the_next_caller_ask_first(gate, storage):
    storage.answers = [Probe(Status.UP), Probe(Status.DOWN, "gone"), Probe(Status.UP)]
    gate.pass_()
    gate.doubt()
    with pytest.raises(errors.StoreUnavailable, match="gone"):
        gate.pass_()
    assert storage.asked == 2


@pytest.mark.parametrize(
    ("room", "status", "details"),
    [
        (Capacity(1000, 49, 951), Status.DEGRADED, {"total": 1000, "free": 49}),
        (Capacity(1000, 50, 950), Status.UP, {"total": 1000, "free": 50}),
        (Capacity(None, 3, None), Status.UP, {}),
        (Capacity(1000, None, None), Status.UP, {}),
    ],
)
def test_a_store_that_is_nearly_full_is_degraded(room, status, details):
    found = with_room(Probe(Status.UP), room)
    assert (found.status, found.details) == (status, details)


def test_a_full_store_that_is_read_only_stays_read_only():
    assert with_room(Probe(Status.READ_ONLY, "mounted so"), Capacity(100, 0, 100)).status is Status.READ_ONLY
