"""What interrupted transfers leave, and who may remove it."""

from __future__ import annotations

import dataclasses
import functools
import gc
from collections.abc import Sequence

import pytest

from store_lib import errors
from store_lib.conformance.behaviour import NotOffered, behaviour
from store_lib.conformance.direct import DirectUpload, call, context
from store_lib.conformance.place import Place, content, payload
from store_lib.interface import Feature, Leftover
from store_lib.runtime import new_owner
from store_lib.store import Store

LEFTOVERS = Feature.WRITE | Feature.LEFTOVERS


def _of(store: Store, uuid: str) -> list[Leftover]:
    return [each for each in store.leftovers() if each.owner is not None and each.owner.upload == uuid]


def _uuids(leftovers: Sequence[Leftover]) -> list[str]:
    return [each.owner.upload for each in leftovers if each.owner is not None]


def _listed(store: Store, direct: DirectUpload) -> Leftover:
    """Return the leftover of an upload under way."""
    found = _of(store, direct.upload.uuid)
    if not found:
        direct.abort()
        raise NotOffered("what an upload makes vanishes with its process")
    return found[0]


@behaviour(70, LEFTOVERS)
def under_way(place: Place) -> None:
    """An upload under way is told with its owner; nothing is told of one that has ended, either way."""
    store = place.store()
    for ends in ("abort", "commit"):
        direct = DirectUpload(place, place.new_id(), payload(place.part + 7000)).filled()
        found = _of(store, direct.upload.uuid)
        assert len(found) <= 1
        for leftover in found:
            assert leftover.kind
            assert leftover.last_activity is None or leftover.last_activity.tzinfo is not None
            assert leftover.owner is not None
            assert leftover.owner.pid == new_owner().pid
        if ends == "commit":
            direct.commit()
        direct.abort()
        assert not _of(store, direct.upload.uuid), f"told after {ends}"


@behaviour(71, LEFTOVERS)
def of_a_dead_process(place: Place) -> None:
    """What a dead process of this machine left is for a sweep to remove, and is gone once it was removed."""
    store = place.store()
    dead = dataclasses.replace(new_owner(), started=1)  # that pid began at another time
    direct = DirectUpload(place, place.new_id(), payload(place.part + 7100), owner=dead).filled()
    uuid = direct.upload.uuid
    _listed(store, direct)
    del direct  # as if its process had ended
    gc.collect()
    left = _of(store, uuid)
    # Only what this check left is removed: the place may be a real one.
    assert uuid in _uuids(store.sweep(dry_run=True).removed) or not _of(store, uuid)
    for leftover in left:
        call(store, functools.partial(store._driver.sweep, leftover, context(store)))
    assert not _of(store, uuid), "it is still there"
    assert place.absent(place.last_id)


@behaviour(72, LEFTOVERS)
def of_another_host(place: Place) -> None:
    """A sweep leaves an upload alone that is under way on another host, and that can go on."""
    store = place.store()
    elsewhere = dataclasses.replace(new_owner(), host="another-host", started=1)
    direct = DirectUpload(place, place.new_id(), payload(place.part + 7200), owner=elsewhere).filled()
    assert direct.upload.uuid not in _uuids(store.sweep(dry_run=True).removed)
    committed = direct.commit()
    direct.abort()
    assert content(store, store._driver.uri(committed.address)) == direct.data


@behaviour(73, LEFTOVERS)
def sweeping_looks_again(place: Place) -> None:
    """Where the storage itself proves a live writer, removing is refused as InUse, whoever asks for it."""
    store = place.store()
    direct = DirectUpload(place, place.new_id(), payload(place.part + 7300)).filled()
    leftover = _listed(store, direct)
    if not leftover.alive:
        direct.abort()
        raise NotOffered("the storage does not prove a live writer")
    with pytest.raises(errors.InUse):
        call(store, lambda: store._driver.sweep(leftover, context(store)))
    direct.commit()
    direct.abort()


@behaviour(74, LEFTOVERS)
def committed_meanwhile(place: Place) -> None:
    """What became an image between finding and removing it stays."""
    store = place.store()
    direct = DirectUpload(place, place.new_id(), payload(place.part + 7400)).filled()
    leftover = _listed(store, direct)
    committed = direct.commit()
    direct.abort()
    with pytest.raises((errors.NotFound, errors.InUse)):
        call(store, lambda: store._driver.sweep(leftover, context(store)))
    assert content(store, store._driver.uri(committed.address)) == direct.data
