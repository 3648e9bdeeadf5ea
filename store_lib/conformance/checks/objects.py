"""Images come back as they went in, and are gone when deleted."""

from __future__ import annotations

import datetime
import hashlib
import json

import pytest

from store_lib import errors
from store_lib.conformance.behaviour import NotOffered, behaviour
from store_lib.conformance.place import Place, content, payload
from store_lib.interface import Deletion, Feature
from store_lib.record import ImageRecord

WRITE = Feature.WRITE
DELETE = Feature.WRITE | Feature.DELETE


@behaviour(10)
def every_byte_value(place: Place) -> None:
    """Bytes come back as they are, line ends and NULs included."""
    data = bytes(range(256)) * 2 + b"\r\n\n\r\x00\x1a\xef\xbb\xbf"
    assert content(place.store(), place.put(data)) == data


@behaviour(11, WRITE)
def empty_image(place: Place) -> None:
    """An image of 0 bytes is an image, whether its size was told or not."""
    store = place.store()
    for size in (0, None):
        record = place.add(b"", size=size)
        assert record.size == 0
        assert content(store, record.location) == b""


@behaviour(12, WRITE)
def one_byte(place: Place) -> None:
    """An image of one byte comes back."""
    record = place.add(b"x")
    assert (record.size, content(place.store(), record.location)) == (1, b"x")


@behaviour(13)
def stat_tells(place: Place) -> None:
    """Stat tells the size in bytes and, where the storage knows, when the image was written, with a time zone."""
    data = payload(1313)
    found = place.store().stat(place.put(data))
    assert found.size == len(data)
    if found.modified is not None:
        age = datetime.datetime.now(datetime.UTC) - found.modified
        assert abs(age) < datetime.timedelta(days=1), "modified is not the time of writing, UTC"


@behaviour(14, WRITE | Feature.LIST)
def list_shows(place: Place) -> None:
    """A listing shows each image once, with a location that serves and, where told, the right id and size."""
    made = [place.add(payload(1400 + number)) for number in range(3)]
    found = [*place.store().list()]
    for record in made:
        mine = [each for each in found if each.location.uri == record.location.uri]
        assert len(mine) == 1, f"the image is listed {len(mine)} times"
        assert mine[0].id in (None, record.id)
        assert mine[0].size in (None, record.size)
        assert mine[0].location.store == place.store_id


@behaviour(15, DELETE)
def delete_removes_one(place: Place) -> None:
    """Delete removes that image and no other, like one whose id begins the same."""
    store, image_id = place.store(), place.new_id()
    record = place.add(payload(1500), image_id=image_id)
    others = {end: payload(1501) for end in ("-00001", "0", ".snap")}
    kept = {end: place.add(data, image_id=image_id + end) for end, data in others.items()}
    assert store.delete(record.location) in (Deletion.DELETED, Deletion.DEFERRED)
    assert place.absent(image_id)
    for end, data in others.items():
        assert content(store, kept[end].location) == data


@behaviour(16, DELETE)
def delete_of_nothing(place: Place) -> None:
    """Delete of an image that is not there raises NotFound, but not where the caller does not mind."""
    store = place.store()
    record = place.add(payload(1600))
    store.delete(record.location)
    with pytest.raises(errors.NotFound):
        store.delete(record.location)
    assert store.delete(record.location, missing_ok=True) in (None, Deletion.DELETED)  # not every storage tells


@behaviour(17, DELETE)
def stat_of_nothing(place: Place) -> None:
    """Stat of an image that is not there raises NotFound."""
    record = place.add(payload(1700))
    place.store().delete(record.location)
    with pytest.raises(errors.NotFound):
        place.store().stat(record.location)


@behaviour(18, DELETE)
def open_of_nothing(place: Place) -> None:
    """Opening an image that is not there raises NotFound, and at once, not with the first read."""
    record = place.add(payload(1800))
    place.store().delete(record.location)
    with pytest.raises(errors.NotFound):
        place.store().open(record.location)


@behaviour(19, WRITE)
def record_tells(place: Place) -> None:
    """The record of an added image names id, store, size and digests, and survives being written as JSON."""
    image_id = place.new_id()
    data = payload(1900)
    record = place.add(data, image_id=image_id, digests=["sha256"])
    assert (record.id, record.size, record.location.store) == (image_id, 1900, place.store_id)
    assert record.written_at.tzinfo is not None
    assert record.digests == {"sha256": hashlib.sha256(data).hexdigest()}
    again = ImageRecord.from_dict(json.loads(record.to_json()))
    assert (again.id, again.location.uri, again.digests) == (record.id, record.location.uri, record.digests)
    _plain(record.location.metadata)


def _plain(value: object) -> None:
    """See that metadata is made of what services store: nested dict, list and str only."""
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value)
        for each in value.values():
            _plain(each)
    elif isinstance(value, list):
        for each in value:
            _plain(each)
    else:
        assert value is None or isinstance(value, str | int | float | bool), f"{value!r} in the metadata"


@behaviour(20, WRITE)
def same_content_twice(place: Place) -> None:
    """Two images may have the same content; deleting one leaves the other."""
    data = payload(2000)
    first, second = place.add(data), place.add(data)
    assert first.location.uri != second.location.uri
    if Feature.DELETE not in place.store().features:
        raise NotOffered("the store does not delete")
    place.store().delete(first.location)
    assert content(place.store(), second.location) == data
