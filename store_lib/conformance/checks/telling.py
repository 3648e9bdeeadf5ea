"""What a store tells of itself: health, properties, room."""

from __future__ import annotations

import json

import pytest

from store_lib import errors
from store_lib.conformance.behaviour import NotOffered, behaviour
from store_lib.conformance.place import Place, content, payload
from store_lib.interface import Feature, Status


@behaviour(100)
def usable(place: Place) -> None:
    """A probe of a usable store says so, within its time-out, and when that was."""
    store = place.store()
    health = store.probe()
    assert health.status in (Status.UP, Status.DEGRADED, Status.READ_ONLY), health.reason
    assert (health.status is Status.READ_ONLY) <= (Feature.WRITE not in store.features), health.reason
    assert health.latency is not None
    assert health.latency <= store.settings.base.probe_timeout + 5
    assert health.checked_at is not None
    assert store.health == health


@behaviour(101, Feature.LIST)
def probing_changes_nothing(place: Place) -> None:
    """A probe leaves nothing behind."""
    store = place.store()
    new: set[str] = set()
    for _ in range(3):  # others may use the store meanwhile
        before = {each.location.uri for each in store.list()}
        store.probe()
        new = {each.location.uri for each in store.list()} - before
        if not new:
            return
    raise AssertionError(f"each probe leaves something: {new}")


@behaviour(102)
def health_can_be_shown(place: Place) -> None:
    """Health can be written as JSON and holds no secret."""
    place.no_secret_in(json.dumps(place.store().probe().to_dict()), "the health")


@behaviour(103)
def read_only(place: Place) -> None:
    """A store that the operator made read-only refuses to be changed, as ReadOnlyStore, and reads."""
    data = payload(1030)
    uri = place.put(data)
    try:
        place.fresh()[place.store_id].stat(uri)
    except errors.NotFound:
        raise NotOffered("images end with the store object that made them") from None
    store = place.store(read_only=True)
    assert not store.features & (Feature.WRITE | Feature.DELETE)
    for change in (lambda: store.add(place.new_id(), b"x", 1), lambda: store.delete(uri)):
        with pytest.raises(errors.NotSupported):
            change()
    assert content(store, uri) == data


@behaviour(104)
def properties_can_be_shown(place: Place) -> None:
    """The properties of a store can be written as JSON, and telling them asks the storage nothing."""
    store, script = place.scripted()
    json.dumps(store.describe())
    json.dumps(store.options(), default=str)
    assert not [call for call in script.calls if call.verb != "describe"], "the storage was asked"


@behaviour(105, Feature.CAPACITY)
def room(place: Place) -> None:
    """Capacity is told in bytes, and its figures fit together."""
    told = place.store().capacity()
    for figure in (told.total, told.free, told.used):
        assert figure is None or (isinstance(figure, int) and figure >= 0)
    if told.total is not None and told.free is not None:
        assert told.free <= told.total
    if told.total is not None and told.used is not None:
        assert told.used <= told.total


@behaviour(106)
def undeclared_is_refused(place: Place) -> None:
    """What a store does not declare, or an operator switched off, is refused as NotSupported."""
    store = place.store(disabled_features="list, capacity, ranges, leftovers")
    off = Feature.LIST | Feature.CAPACITY | Feature.RANGES | Feature.LEFTOVERS
    assert not store.features & off
    data = payload(1060)
    uri = place.add(data, store).location.uri if Feature.WRITE in store.features else place.put(data)
    assert content(store, uri) == data
    for refused in (lambda: [*store.list()], store.capacity, lambda: store.open(uri, 1), lambda: [*store.leftovers()]):
        with pytest.raises(errors.NotSupported):
            refused()


@behaviour(107)
def everything_can_be_shown(place: Place) -> None:
    """Everything that is told of a store can be written as JSON, holds no secret, and asks the storage nothing."""
    store, script = place.scripted()
    told = store.info().to_dict()
    assert (told["id"], told["type"]) == (place.store_id, store.type)
    assert set(told["features"]) == {str(feature.name).lower() for feature in store.features}
    assert not [call for call in script.calls if call.verb != "describe"], "the storage was asked"
    del told["properties"], told["health"]  # other behaviours see to those
    place.no_secret_in(json.dumps(told), "what is told of the store")


@behaviour(108)
def backends_are_told_apart(place: Place) -> None:
    """Where a store tells which backend it is on, it tells the same each time, and a store elsewhere tells another."""
    store, again = place.store(), place.fresh()[place.store_id]
    assert store.backend() == again.backend()
    elsewhere = place.stores()["conformance-memory"]
    if store.type != elsewhere.type and store.backend() is not None:
        assert store.backend() != elsewhere.backend()
