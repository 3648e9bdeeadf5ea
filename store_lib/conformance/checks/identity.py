"""Ids and locations."""

from __future__ import annotations

import string

import pytest

from store_lib import errors
from store_lib.conformance.behaviour import NotOffered, behaviour
from store_lib.conformance.place import Place, content, payload
from store_lib.interface import Feature
from store_lib.location import Location, scheme_of
from store_lib.store import Store

WRITE = Feature.WRITE


@behaviour(1, WRITE)
def ids_of_every_form(place: Place) -> None:
    """Any legal id names an image: upper and lower case are different, every legal character serves."""
    low = place.new_id()
    ids = [low, low.upper(), f"{low}-{string.ascii_letters}", f"_{low}", f"-{low}", f"{low}._-", f"{low}.0-9"]
    made = {image_id: payload(100 + number) for number, image_id in enumerate(ids)}
    records = {image_id: place.add(data, image_id=image_id) for image_id, data in made.items()}
    for image_id, data in made.items():
        assert content(place.store(), records[image_id].location) == data, image_id


@behaviour(2, WRITE)
def long_ids(place: Place) -> None:
    """Two ids of 255 characters that differ in the last one name two images."""
    start = place.new_id().ljust(254, "x")
    made = {start + last: payload(200) for last in "ab"}
    records = {image_id: place.add(data, image_id=image_id) for image_id, data in made.items()}
    for image_id, data in made.items():
        assert content(place.store(), records[image_id].location) == data


@behaviour(3, WRITE)
def bad_ids(place: Place) -> None:
    """A bad id is refused as BadImageId before any I/O, and no location with such an id reaches an image."""
    store, script = place.scripted()
    for bad in ("", ".", "..", ".hidden", "a/b", "a b", "a\n", "a\0", "ä", "a" * 256, "a?b", "a#b", "a%2e"):
        with pytest.raises(errors.BadImageId):
            store.add(bad, b"data", 4)
    assert not script.of("upload"), "the driver was asked about a bad id"
    record = place.add(payload(300))
    uri = record.location.uri
    name = record.id if record.id in uri else uri.rpartition("/")[2]  # where the backend gives names of its own
    for bad in (f".{name}", f" {name}", f"{name} "):
        _unreachable(place.store(), uri.replace(name, bad))


def _unreachable(store: Store, uri: str) -> None:
    """See that a URI leads to no image: it is refused, or nothing is there."""
    try:
        found = store.stat(uri)
    except errors.StoreLibError:
        return
    raise AssertionError(f"{uri!r} leads to an image of {found.size} bytes")


@behaviour(4)
def locations_are_read_back(place: Place) -> None:
    """The URI of a location is read back as the same address, which writes the same URI; equal addresses are equal."""
    uri = place.put(payload(400))
    driver = place.store()._driver
    address = driver.parse(uri)
    assert driver.uri(address) == uri
    assert driver.parse(uri) == address
    assert hash(driver.parse(uri)) == hash(address)
    assert place.store().owns(uri)
    assert scheme_of(uri) in place.store().schemes
    assert place.store().prefix() is None or uri.startswith(str(place.store().prefix()))


@behaviour(5)
def locations_of_elsewhere(place: Place) -> None:
    """Locations of another kind, another place or another store are refused as ForeignLocation before any I/O."""
    store, script = place.scripted()
    uri = place.put(payload(500))
    script.clear()
    scheme = scheme_of(uri)
    elsewhere = [f"conformance-{scheme}{uri[len(scheme) :]}", "file:///somewhere-else/image", *place.foreign]
    for foreign in elsewhere:
        if foreign.startswith(f"{scheme}:") and foreign not in place.foreign:
            continue  # nobody said that this is elsewhere for such a store
        with pytest.raises(errors.BadLocation):
            store.stat(foreign)
        assert not store.owns(foreign)
    with pytest.raises(errors.ForeignLocation):
        store.stat(Location(uri, "another-store"))
    assert not script.of("stat"), "the driver was asked about it"


@behaviour(6)
def hostile_locations(place: Place) -> None:
    """What cannot be a location (control characters, no scheme, far too long, no text) is refused as BadLocation."""
    store = place.store()
    uri = place.put(payload(600))
    hostile = (f"{uri}\n", f"\n{uri}", f"{uri}\0", f"{uri}\x7f", f"{uri}\udcff", f"{uri}{'x' * 10_000}", "", "/", "x")
    for bad in (*hostile, None, 7, b"memory://it/x"):
        with pytest.raises(errors.BadLocation):
            store.stat(bad)  # type: ignore[arg-type]


@behaviour(7)
def climbing_locations(place: Place) -> None:
    """No location climbs out of the place by dot segments, quoted or not."""
    uri, store = place.put(payload(700)), place.store()
    if "/" not in (store.prefix() or ""):
        raise NotOffered("locations of this store lie anywhere")
    folder, _, name = uri.rpartition("/")
    last = folder.rpartition("/")[2]
    for up in (f"../{last}", ".", "x/..", f"%2e%2e/{last}", f"..%2f{last}", f"x/../../{last}"):
        _unreachable(store, f"{folder}/{up}/{name}")


@behaviour(8, WRITE)
def locations_hold_no_secret(place: Place) -> None:
    """Neither the URI nor the metadata of a location holds a secret of the configuration."""
    record = place.add(payload(800))
    shown = f"{record.location.uri} {dict(record.location.metadata)} {place.store().prefix()} {record.to_dict()}"
    place.no_secret_in(shown, "the location")


@behaviour(9)
def locations_tell_the_id(place: Place) -> None:
    """Where a location tells the image's id, that is the id; otherwise it tells none."""
    store = place.store()
    if Feature.WRITE in store.features:
        record = place.add(payload(900))
        assert store.image_id(record.location) in (record.id, None)
        return
    uri = place.put(payload(900))
    found = store.image_id(uri)
    assert found is None or found in uri
