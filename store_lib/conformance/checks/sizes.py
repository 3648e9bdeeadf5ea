"""Images of every size around the borders of parts."""

from __future__ import annotations

import threading

from store_lib.conformance.behaviour import NotOffered, behaviour
from store_lib.conformance.place import Place, content, payload
from store_lib.interface import Feature

WRITE = Feature.WRITE


def _round_trip(place: Place, size: int) -> None:
    data = payload(size)
    record = place.add(data)
    assert record.size == size
    assert content(place.store(), record.location) == data


@behaviour(21, WRITE)
def one_byte_less_than_a_part(place: Place) -> None:
    """An image of one byte less than a part comes back."""
    _round_trip(place, place.part - 1)


@behaviour(22, WRITE)
def exactly_one_part(place: Place) -> None:
    """An image of exactly one part comes back."""
    _round_trip(place, place.part)


@behaviour(23, WRITE)
def one_byte_more_than_a_part(place: Place) -> None:
    """An image of one byte more than a part comes back: its last part is one byte."""
    _round_trip(place, place.part + 1)


@behaviour(24, WRITE)
def several_parts_and_some_bytes(place: Place) -> None:
    """An image of several parts and some bytes comes back (a last part is announced with its own length)."""
    _round_trip(place, place.several * place.part + 2400)


@behaviour(25, WRITE)
def several_whole_parts(place: Place) -> None:
    """An image of several whole parts comes back, without an empty part at its end."""
    _round_trip(place, place.several * place.part)


@behaviour(26, WRITE)
def unknown_size(place: Place) -> None:
    """Where the size is not told beforehand, images around every border come back."""
    for size in (26, place.part - 1, place.part, place.part + 1, place.several * place.part + 1):
        data = payload(size)
        record = place.add(iter([data]))
        assert record.size == size
        assert content(place.store(), record.location) == data, f"an image of {size} bytes"


@behaviour(27, WRITE)
def parts_in_any_order(place: Place) -> None:
    """Parts may arrive in another order than that of the image."""
    store, script = place.scripted(parallel=4)
    if place.limits.parallel < 2:
        raise NotOffered("the store takes one part after another")
    later = threading.Event()
    script.act("write_part", lambda: _wait(later), 1)
    script.act("write_part", later.set, 2, after=True, always=True)
    data = payload(place.several * place.part + 2700)
    record = place.add(data, store)
    assert content(store, record.location) == data


def _wait(event: threading.Event) -> None:
    assert event.wait(60), "no second part came"
