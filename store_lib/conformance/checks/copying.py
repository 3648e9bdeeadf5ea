"""From store to store: copies inside the backend, copies by the bytes, moves."""

from __future__ import annotations

import pytest

from store_lib import errors
from store_lib.conformance.behaviour import NotOffered, behaviour
from store_lib.conformance.place import Place, content, payload
from store_lib.interface import Feature

WRITE = Feature.WRITE
DELETE = Feature.WRITE | Feature.DELETE
#: A memory store beside the one under test, which shares no backend with it (unless that is one of memory, too).
ELSEWHERE = "conformance-memory"


def _other(place: Place) -> str:
    if place.other_id is None:
        raise NotOffered("no second store of that kind is named")
    return place.other_id


@behaviour(130, WRITE)
def copied_from_elsewhere(place: Place) -> None:
    """An image of another kind of store is copied by its bytes; the source stays."""
    stores = place.stores()
    source, own = stores[ELSEWHERE], stores[place.store_id]
    data, image_id = payload(place.several * place.part + 13_000), place.new_id()
    record = place.add(data, source, image_id)
    copied = stores.copy(record.location, place.store_id, image_id=image_id)
    place.remember(own, copied.location)
    assert (copied.id, copied.size, copied.location.store) == (image_id, len(data), place.store_id)
    assert content(own, copied.location) == data
    assert content(source, record.location) == data


@behaviour(131)
def copied_to_elsewhere(place: Place) -> None:
    """An image is copied into another kind of store by its bytes, holes included; the source stays."""
    data, image_id = payload(place.part + 13_100) + bytes(place.part) + payload(1), place.new_id()
    stores = place.stores()
    own = stores[place.store_id]
    uri = place.put(data, own)
    copied = stores.copy(uri, ELSEWHERE, image_id=image_id, verify="read")
    place.remember(stores[ELSEWHERE], copied.location)
    assert copied.verified_by == "read"
    assert content(stores[ELSEWHERE], copied.location) == data
    assert content(own, uri) == data


@behaviour(132, DELETE | Feature.COPY)
def copied_inside(place: Place) -> None:
    """The backend itself copies an image, by ranges or whole; the copy stays when the source is deleted."""
    stores, script = place.scripted_stores(parallel=4)
    store = stores[place.store_id]
    data, image_id = payload(place.several * place.part + 13_200), place.new_id()
    record = place.add(data, store)
    copied = stores.copy(record.location, place.store_id, image_id=image_id)
    place.remember(store, copied.location)
    assert script.of("copy_part") or script.of("copy_whole"), "the bytes were moved"
    store.delete(record.location)
    assert content(store, copied.location) == data


@behaviour(133, WRITE | Feature.COPY)
def declined_in_the_middle(place: Place) -> None:
    """When the backend declines in the middle of a copy, the same upload is filled by the bytes."""
    stores, script = place.scripted_stores(parallel=4)
    store = stores[place.store_id]
    data, image_id = payload(place.several * place.part + 13_300), place.new_id()
    record = place.add(data, store)
    script.fail("copy_part", lambda: errors.CannotMigrate("not now"), 2)
    script.fail("copy_whole", lambda: errors.CannotMigrate("not now"), 1)
    copied = stores.copy(record.location, place.store_id, image_id=image_id)
    place.remember(store, copied.location)
    assert content(store, copied.location) == data


@behaviour(134, DELETE)
def migrated(place: Place) -> None:
    """An image that is migrated with its source deleted is in the other store and no longer in the first one."""
    other, stores = _other(place), place.stores()
    data, image_id = payload(place.several * place.part + 13_400), place.new_id()
    record = place.add(data, stores[place.store_id], image_id)
    moved = stores.copy(record.location, other, image_id=image_id, delete_source=True)
    place.remember(stores[other], moved.location)
    assert (moved.size, moved.location.store) == (len(data), other)
    assert content(stores[other], moved.location) == data
    assert place.absent(image_id, stores[place.store_id])


@behaviour(135, DELETE | Feature.EXCLUSIVE)
def migrated_onto_another(place: Place) -> None:
    """When the id is taken in the other store, migrating is refused as Duplicate, and both images stay."""
    other, stores = _other(place), place.stores()
    data, there, image_id = payload(13_500), payload(13_501), place.new_id()
    record = place.add(data, stores[place.store_id], image_id)
    taken = place.add(there, stores[other], image_id)
    with pytest.raises(errors.Duplicate):
        stores.copy(record.location, other, image_id=image_id, delete_source=True)
    assert content(stores[place.store_id], record.location) == data
    assert content(stores[other], taken.location) == there


@behaviour(136, DELETE)
def destination_fails(place: Place) -> None:
    """When the destination fails, the source stays although it was to be deleted, and nothing is left there."""
    stores, script = place.scripted_stores()
    data, image_id = payload(place.several * place.part + 13_600), place.new_id()
    record = place.add(data, stores[ELSEWHERE], image_id)
    for verb in ("write_part", "copy_part", "copy_whole"):
        script.fail(verb, lambda: errors.StoreFull("no room"))
    with pytest.raises(errors.StoreFull):
        # "read" rules out a move, which makes no upload
        stores.copy(record.location, place.store_id, image_id=image_id, delete_source=True, verify="read")
    assert content(stores[ELSEWHERE], record.location) == data
    assert place.absent(image_id, stores[place.store_id])
