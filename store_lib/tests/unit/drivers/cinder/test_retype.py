"""Moving by a new type of the volume: what a real Cinder does not do on demand."""

import datetime
import itertools
from typing import Any

import pytest

from store_lib import errors
from store_lib.drivers.cinder import values
from store_lib.drivers.cinder.api import Deadline, Volume
from store_lib.drivers.cinder.retype import move, retype
from store_lib.errors import Outcome

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Now:
    """A context without limits."""

    timeout = None

    def check(self):
        """Let everything go on."""


class Cinder:
    """One volume that goes through some states, the last of which stays."""

    def __init__(self, *states, **metadata):
        self.states = list(states)
        self.metadata = {values.IMAGE: "image", **metadata}
        self.asked = []
        self.refusal = None

    def volume(self, volume_id):
        """Return the volume, unless its image was moved already."""
        assert "note" not in self.asked
        status, kind = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return Volume(volume_id, "image-image", status, 1, kind, False, dict(self.metadata), NOW)

    def retype(self, volume_id, kind):
        """Note it, or refuse it."""
        self.asked.append(kind)
        if self.refusal is not None:
            raise self.refusal

    def seal(self, volume_id):
        """Note it."""
        self.asked.append("seal")

    def note(self, volume_id, told):
        """Note it, or fail."""
        self.asked.append("note")
        if problem := self.metadata.get("fails"):
            raise errors.StoreUnavailable(problem)
        self.metadata |= told

    def problem(self, volume):
        """Return an error."""
        return errors.BackendError(f"volume {volume.id} is {volume.status}")


class Nobody:
    """Has nothing attached."""

    def bury(self, api, volume_id):
        """Find nothing."""
        return False


def cinder_with(*states: tuple[str, str], **metadata: str) -> Any:
    """Return a stand-in for `store_lib.drivers.cinder.api.Api`."""
    return Cinder(*states, **metadata)


def within(seconds: float) -> Deadline:
    """Return an end of waiting."""
    context: Any = Now()
    return Deadline(context, seconds)


NOBODY: Any = Nobody()


def test_what_is_still_under_way_at_the_end_of_patience():
    """It is told what to do; the image is where it was."""
    cinder = cinder_with(("available", "slow"), ("retyping", "slow"))
    with pytest.raises(errors.OperationTimeout, match="operation_timeout") as caught:
        retype(cinder, cinder.volume("v"), "fast", within(0.01))
    assert caught.value.outcome is Outcome.NOT_DONE


def test_what_is_under_way_already_is_waited_for():
    """It is not ordered once more."""
    cinder = cinder_with(("retyping", "slow"), ("retyping", "slow"), ("available", "fast"))
    assert retype(cinder, cinder.volume("v"), "fast", within(30)).type == "fast"
    assert not cinder.asked


def test_a_volume_that_breaks_on_the_way():
    """Its new state is told."""
    cinder = cinder_with(("available", "slow"), ("error", "slow"))
    with pytest.raises(errors.BackendError, match="error"):
        retype(cinder, cinder.volume("v"), "fast", within(30))


@pytest.mark.parametrize("status", ["in-use", "error", "maintenance", "awaiting-transfer"])
def test_a_volume_that_is_not_free(status):
    """It is copied by its bytes, or not at all."""
    cinder = cinder_with((status, "slow"))
    with pytest.raises(errors.CannotMigrate, match=status):
        move(cinder, NOBODY, cinder.volume("v"), "fast", ("a", "b"), "image", within(30))
    assert not cinder.asked


@pytest.mark.parametrize("kind", [errors.Forbidden, errors.StoreFull])
def test_a_cloud_that_lets_nobody_retype(kind):
    """The image may still be copied by its bytes."""
    cinder = cinder_with(("available", "slow"))
    cinder.refusal = kind("no")
    with pytest.raises(errors.CannotMigrate, match="no"):
        move(cinder, NOBODY, cinder.volume("v"), "fast", ("a", "b"), "image", within(30))


def test_nothing_is_asked_after_the_last_step():
    """What failed then would be taken for an image that is nowhere."""
    cinder = cinder_with(("available", "fast"))
    assert move(cinder, NOBODY, cinder.volume("v"), "fast", ("a", "b"), "image", within(30)).id == "v"
    assert cinder.asked == ["seal", "note"]


def test_the_last_step_is_not_known_to_be_done():
    """It is tried several times; then it has to be looked at."""
    cinder = cinder_with(("available", "fast"), fails="no answer")
    with pytest.raises(errors.StoreUnavailable) as caught:
        move(cinder, NOBODY, cinder.volume("v"), "fast", ("a", "b"), "image", within(30))
    assert caught.value.outcome is Outcome.UNKNOWN
    assert cinder.asked.count("note") == 4


def test_stores_that_were_left():
    """Each is named once; what does not fit are the oldest ones."""
    cinder = cinder_with(("available", "fast"))
    for source, target in (("a", "b"), ("b", "c"), ("c", "a"), ("a", "b")):
        cinder.metadata |= values.moved(cinder.volume("v"), "image", source, target)
    assert values.left_by(cinder.volume("v")) == ("c", "a")
    assert cinder.metadata[values.STORE] == "b"
    names = [f"store-with-a-long-name-{number:03d}" for number in range(20)]
    for source, target in itertools.pairwise(names):
        cinder.metadata |= values.moved(cinder.volume("v"), "image", source, target)
    left = values.left_by(cinder.volume("v"))
    assert left == tuple(names[-1 - len(left) : -1])
    assert len(cinder.metadata[values.LEFT]) <= 255
