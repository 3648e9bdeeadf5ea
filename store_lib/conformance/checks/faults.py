"""Requests that fail, in passing or for good, and answers that are lost."""

from __future__ import annotations

import pytest

from store_lib import errors
from store_lib.conformance.behaviour import NotOffered, behaviour
from store_lib.conformance.direct import DirectUpload
from store_lib.conformance.faults import lost
from store_lib.conformance.place import Place, content, payload
from store_lib.interface import Deletion, Feature

WRITE = Feature.WRITE
SENDS = ("commit", "write_whole")


@behaviour(61, WRITE)
def lost_answer_of_a_part(place: Place) -> None:
    """When a part fails in passing or the answer to it is lost, it is sent again, and the image comes out right."""
    store, script = place.scripted()
    script.fail("write_part", lost, 1, after=True)
    script.fail("write_part", lambda: errors.StoreUnavailable("not now"), 2)
    data = payload(place.several * place.part + 6100)
    record = place.add(data, store)
    assert content(store, record.location) == data
    sent = [call.detail["index"] for call in script.of("write_part")]
    assert len(sent) == len(set(sent)) + 2, "each of the two failures costs one more request"


@behaviour(62, WRITE)
def failed_for_good(place: Place) -> None:
    """A failure that is no passing one is not tried again, passes as it is, and leaves nothing on the storage."""
    store, script = place.scripted()
    script.fail("write_part", lambda: errors.BackendError("broken for good"), 2)
    with pytest.raises(errors.BackendError, match="broken for good") as raised:
        place.add(payload(place.several * place.part + 6200), store)
    assert raised.value.store == place.store_id
    sent = [call.detail["index"] for call in script.of("write_part")]
    assert len(sent) == len(set(sent)), "it was tried again"
    assert place.absent(place.last_id, store)
    if Feature.LEFTOVERS in store.features:
        uuids = [each.owner.upload for each in store.leftovers() if each.owner]
        assert not {call.detail["uuid"] for call in script.of("abort")} & set(uuids), "a leftover"


@behaviour(63, WRITE)
def lost_answer_of_a_commit_that_was_done(place: Place) -> None:
    """When the answer to a commit is lost that was done, the image is there and adding it succeeded."""
    store, script = place.scripted()
    for size in (630, place.several * place.part + 6300):
        script.clear()
        for verb in SENDS:
            script.fail(verb, lost, 1, after=True)
        data = payload(size)
        record = place.add(data, store)
        assert content(store, record.location) == data
        assert script.of("outcome")


@behaviour(64, WRITE)
def lost_answer_of_a_commit_that_was_not_done(place: Place) -> None:
    """When the answer to a commit is lost that was not done, it is sent again."""
    store, script = place.scripted()
    for size in (640, place.several * place.part + 6400):
        script.clear()
        for verb in SENDS:
            script.fail(verb, lost, 1)
        data = payload(size)
        record = place.add(data, store)
        assert content(store, record.location) == data


@behaviour(65, WRITE | Feature.EXCLUSIVE)
def outcome_by_identity(place: Place) -> None:
    """The outcome of a commit goes by the upload's identity: another's image under the same id is not its own."""
    image_id = place.new_id()
    slow = DirectUpload(place, image_id, payload(place.part + 6500)).filled()
    quick = DirectUpload(place, image_id, payload(place.part + 6500)).filled()
    quick.commit()
    assert slow.outcome() is None
    slow.abort()
    quick.abort()


@behaviour(66, WRITE)
def no_reuse_after_unknown(place: Place) -> None:
    """The buffer of a part whose outcome is unknown is never used again: a backend may still be reading it."""
    store, script = place.scripted(parallel=1)  # the first call is that of the first part
    data = payload((place.several + 7) * place.part)
    script.keep(0)
    script.fail("write_part", lost, 1, after=True)
    record = place.add(data, store)
    assert [kept.tobytes() == data[: place.part] for kept in script.kept] == [True, True]
    script.kept.clear()
    assert record.size == len(data)


@behaviour(67, WRITE)
def room_is_made(place: Place) -> None:
    """Room that is asked for is there: at least as much, and a part that ends there can be written."""
    direct, capacity = _beyond(place)
    direct.start()
    wanted = capacity + place.part
    assert direct.upload.reserve(wanted) >= wanted
    direct.write(direct.parts[-1])
    direct.abort()


@behaviour(68, WRITE)
def room_is_made_quietly(place: Place) -> None:
    """Making room keeps what was written; where the store asks for quiet, no part is on its way meanwhile."""
    direct, _ = _beyond(place)
    direct.abort()
    store, script = place.scripted()
    record = place.add(iter([direct.data]), store)
    assert script.of("reserve")
    if direct.limits.quiet_reserve:
        assert set(script.writing_at_reserve) == {0}, "parts were on their way while room was made"
    assert content(store, record.location) == direct.data


def _beyond(place: Place) -> tuple[DirectUpload, int]:
    """Return an upload of unknown size that does not fit without asking for room, and what fits."""
    capacity = DirectUpload(place, place.new_id(), b"x", known=False).limits.capacity
    if capacity is None:
        raise NotOffered("the store grows by itself")
    if capacity > 256 * place.part:
        raise NotOffered(f"there is room for {capacity} bytes from the beginning")
    start = -(-capacity // place.part) * place.part
    return DirectUpload(place, place.new_id(), payload(start + 2 * place.part), known=False), start


@behaviour(69, Feature.WRITE | Feature.DELETE)
def lost_answer_of_a_delete(place: Place) -> None:
    """When the answer to a delete is lost that was done, deleting succeeded."""
    store, script = place.scripted()
    record = place.add(payload(6900), store)
    script.fail("delete", lost, 1, after=True)
    assert store.delete(record.location) in (Deletion.DELETED, Deletion.DEFERRED)
    assert place.absent(record.id, store)
