"""Becoming visible: all at once, exclusively, and clearing away that touches nobody else's image."""

from __future__ import annotations

import threading

import pytest

from store_lib import errors
from store_lib.conformance.behaviour import NotOffered, behaviour
from store_lib.conformance.direct import DirectUpload
from store_lib.conformance.place import Place, content, payload
from store_lib.interface import Feature
from store_lib.location import Location

WRITE = Feature.WRITE
EXCLUSIVE = Feature.WRITE | Feature.EXCLUSIVE


@behaviour(50, WRITE)
def invisible_until_commit(place: Place) -> None:
    """Until it is committed, an image can be neither seen nor opened nor found in a listing."""
    image_id = place.new_id()
    uri = place.location_of(image_id)  # first: where that is not offered, nothing may be left
    direct = DirectUpload(place, image_id, payload(place.part + 5000)).filled()
    for see in (place.store().stat, place.store().open):
        with pytest.raises(errors.StoreLibError):
            see(uri)
    if Feature.LIST in place.store().features:
        assert image_id not in [each.id for each in place.store().list()]
    committed = direct.commit()
    direct.abort()
    assert content(place.store(), place.store()._driver.uri(committed.address)) == direct.data


@behaviour(51, EXCLUSIVE)
def taken_id(place: Place) -> None:
    """Adding under a taken id is refused as Duplicate, and the image there stays as it was.

    Where an image takes more than one request, that comes before the source is read.
    """
    data = payload(5100)
    record = place.add(data)
    read: list[bool] = []
    with pytest.raises(errors.Duplicate):
        place.add(b"x", image_id=record.id)
    size = place.store().limits.whole_max + 1
    with pytest.raises(errors.Duplicate):
        place.add((read.append(True) or b"x" for _ in range(size)), image_id=record.id, size=size)  # type: ignore[func-returns-value]
    assert not read, "the source was read"
    assert content(place.store(), record.location) == data


@behaviour(52, EXCLUSIVE)
def taken_at_commit(place: Place) -> None:
    """When another was quicker, commit raises Duplicate and leaves the other's image as it was."""
    image_id = place.new_id()
    slow = DirectUpload(place, image_id, payload(place.part + 5200)).filled()
    quick = DirectUpload(place, image_id, payload(place.part + 5201)).filled()
    committed = quick.commit()
    with pytest.raises(errors.Duplicate):
        slow.commit()
    assert content(place.store(), place.store()._driver.uri(committed.address)) == quick.data
    quick.abort()
    slow.abort()


@behaviour(53, EXCLUSIVE)
def taken_at_write_whole(place: Place) -> None:
    """When another was quicker, an image sent in one request is refused as Duplicate too."""
    image_id = place.new_id()
    slow, quick = (DirectUpload(place, image_id, payload(size)) for size in (530, 531))
    if not slow.whole:
        raise NotOffered("the store has no way of one request")
    committed = quick.write_whole()
    with pytest.raises(errors.Duplicate):
        slow.write_whole()
    assert content(place.store(), place.store()._driver.uri(committed.address)) == quick.data
    quick.abort()
    slow.abort()


@behaviour(54, EXCLUSIVE)
def racing_commits(place: Place) -> None:
    """Of several that commit under one id at the same moment, one wins and the others get Duplicate."""
    image_id = place.new_id()
    racers = [DirectUpload(place, image_id, payload(place.part + 5400)).filled() for each in range(4)]
    won: list[tuple[DirectUpload, str]] = []
    lost: list[BaseException] = []
    together = threading.Barrier(len(racers))

    def race(racer: DirectUpload) -> None:
        try:
            together.wait(60)
            won.append((racer, place.store()._driver.uri(racer.commit().address)))
        except BaseException as error:
            lost.append(error)

    threads = [threading.Thread(target=race, args=(racer,)) for racer in racers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [type(error) for error in lost] == [errors.Duplicate] * 3
    assert len(won) == 1
    assert content(place.store(), won[0][1]) == won[0][0].data
    for racer in racers:
        racer.abort()


@behaviour(55, EXCLUSIVE)
def abort_of_the_loser(place: Place) -> None:
    """Who lost the race and clears away does not touch the winner's image."""
    image_id = place.new_id()
    slow = DirectUpload(place, image_id, payload(place.part + 5500)).filled()
    quick = DirectUpload(place, image_id, payload(place.part + 5500)).filled()
    committed = quick.commit()
    with pytest.raises(errors.Duplicate):
        slow.commit()
    quick.abort()
    slow.abort()
    assert content(place.store(), place.store()._driver.uri(committed.address)) == quick.data


@behaviour(56, WRITE)
def abort_in_every_state(place: Place) -> None:
    """Abort is legal before the start, after it, after a part, and twice; it never raises, and the id is free again."""
    image_id = place.new_id()
    for steps in range(3):
        direct = DirectUpload(place, image_id, payload(place.part + 5600))
        if steps > 0:
            direct.start()
        if steps > 1:
            direct.write(direct.parts[0])
        direct.abort()
        assert direct.abort() == []
    record = place.add(payload(5601), image_id=image_id)
    assert record.size == 5601


@behaviour(57, WRITE)
def abort_after_commit(place: Place) -> None:
    """Abort after a commit only releases: the image stays."""
    direct = DirectUpload(place, place.new_id(), payload(place.part + 5700)).filled()
    location = Location(place.store()._driver.uri(direct.commit().address))
    direct.abort()
    assert content(place.store(), location) == direct.data


@behaviour(58, WRITE)
def a_part_once_more(place: Place) -> None:
    """A part may be written once more with the same bytes, the last one included."""
    direct = DirectUpload(place, place.new_id(), payload(place.part + 5800)).filled()
    direct.write(direct.parts[-1])
    committed = direct.commit()
    direct.abort()
    assert committed.info.size == len(direct.data)
    assert content(place.store(), place.store()._driver.uri(committed.address)) == direct.data


@behaviour(59, WRITE)
def no_hold_of_buffers(place: Place) -> None:
    """Once a part is written nobody holds its buffer: what is put into it then does not reach the image."""
    direct = DirectUpload(place, place.new_id(), payload(place.part + 5900)).start()
    for part in direct.parts:
        direct.write(part)
        part.data[:] = b"?" * part.length
    committed = direct.commit()
    direct.abort()
    assert content(place.store(), place.store()._driver.uri(committed.address)) == direct.data


@behaviour(60, WRITE)
def parts_are_not_changed(place: Place) -> None:
    """Writing a part does not change its bytes, which others are reading at the same time."""
    direct = DirectUpload(place, place.new_id(), payload(2 * place.part + 6000)).filled()
    assert b"".join(part.bytes() for part in direct.parts) == direct.data
    direct.abort()
