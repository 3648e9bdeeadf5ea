"""Proof that the storage holds what was sent."""

from __future__ import annotations

import hashlib

import pytest

from store_lib import errors
from store_lib.conformance.behaviour import behaviour
from store_lib.conformance.place import Place, payload
from store_lib.interface import Feature

WRITE = Feature.WRITE


@behaviour(120)
def checksums_of_the_storage(place: Place) -> None:
    """A checksum that the storage tells of an image is that of its bytes."""
    store = place.store()
    for size in (1200, 2 * place.part + 1200):
        data = payload(size)
        checksum = store.stat(place.put(data)).checksum
        if checksum is not None:
            assert checksum.value == hashlib.new(checksum.algorithm, data, usedforsecurity=False).hexdigest()


@behaviour(121, WRITE)
def read_back_after_writing(place: Place) -> None:
    """With verify_after_write an image is read back before adding it succeeds, and the record says so."""
    store = place.store(verify_after_write=True)
    for size in (1210, 2 * place.part + 1210):
        record = place.add(payload(size), store)
        assert record.verified_by == "read"


@behaviour(122)
def digests_of_what_is_stored(place: Place) -> None:
    """Digests of a stored image are those of its bytes, and one that does not fit is told."""
    store, data = place.store(), payload(2 * place.part + 1220)
    uri = place.put(data)
    expected = hashlib.sha256(data).hexdigest()
    assert store.hash(uri, ["sha256"]) == {"sha256": expected}
    store.verify(uri, f"sha256:{expected}")
    with pytest.raises(errors.DigestMismatch):
        store.verify(uri, "sha256:" + "0" * 64)
