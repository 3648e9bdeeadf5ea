"""Reading: ranges, seeking, breaking off, and images that change under a reader."""

from __future__ import annotations

import threading

import pytest

from store_lib import errors
from store_lib.conformance.behaviour import behaviour
from store_lib.conformance.direct import open_download
from store_lib.conformance.faults import lost
from store_lib.conformance.place import Place, payload
from store_lib.interface import Feature

RANGES = Feature.RANGES


@behaviour(40, RANGES)
def ranges(place: Place) -> None:
    """Any range is read exactly: first byte, last byte, across the border of two parts, nothing at all, everything."""
    part, store = place.part, place.store()
    data = payload(2 * part + 40)
    uri = place.put(data)
    for offset, length in (
        *((0, 0), (0, 1), (0, part), (0, len(data)), (1, 1), (part - 1, 2), (part, part), (part + 1, None)),
        *((len(data) - 1, 1), (len(data) - 1, None), (len(data), 0), (len(data), None), (512, None)),
    ):
        with store.open(uri, offset, length) as reader:
            expected = data[offset:] if length is None else data[offset : offset + length]
            assert reader.length == len(expected)
            assert reader.read() == expected, f"{length} bytes from {offset} on"


@behaviour(41, RANGES)
def seeking(place: Place) -> None:
    """A reader seeks forwards and backwards, from the start, the position and the end."""
    data = payload(8192)
    with place.store().open(place.put(data)) as reader:
        assert reader.seekable()
        assert reader.seek(4096) == 4096
        assert reader.read(512) == data[4096:4608]
        assert reader.seek(512) == 512
        assert reader.read(512) == data[512:1024]
        assert (reader.seek(-1024, 2), reader.read()) == (7168, data[7168:])
        assert (reader.seek(0), reader.read()) == (0, data)


@behaviour(42)
def bodies_are_exact(place: Place) -> None:
    """A driver yields exactly the bytes it was asked for, in chunks that are not empty."""
    data, store = payload(4242), place.store()
    whole = Feature.RANGES not in store.features
    download = open_download(store, place.put(data))
    try:
        assert download.info.size == len(data)
        for offset, length in ((0, len(data)),) if whole else ((0, len(data)), (512, 42), (4241, 1)):
            with store._seam:
                chunks = [*download.read(offset, length)]
            assert all(chunks), "an empty chunk"
            assert b"".join(chunks) == data[offset : offset + length]
    finally:
        download.close()


@behaviour(43)
def beyond_the_end(place: Place) -> None:
    """A range that does not lie inside the image is refused as BadRange when it is opened."""
    store, uri = place.store(), place.put(payload(430))
    with pytest.raises(errors.BadRange):
        store.open(uri, 0, 431)
    if Feature.RANGES in store.features:
        for offset, length in ((431, None), (429, 2), (430, 1), (10**9, None), (10**9, 1)):
            with pytest.raises(errors.BadRange):
                store.open(uri, offset, length)
    with pytest.raises(errors.BadRange):
        store.open(uri, -1)


@behaviour(44, RANGES)
def several_ranges_at_once(place: Place) -> None:
    """Several ranges of one opened image may be read at once."""
    data, store = payload(4 * 4096), place.store()
    download = open_download(store, place.put(data))
    try:
        bodies = [(at, download.read(at, 4096)) for at in range(0, len(data), 4096)]
        with store._seam:
            found = [(at, next(body)) for at, body in bodies]
            rest = [b"".join(body) for _, body in bodies]
    finally:
        download.close()
    for (at, first), end in zip(found, rest, strict=True):
        assert b"".join((first, end)) == data[at : at + 4096], f"the range from {at} on"


@behaviour(45, RANGES | Feature.WRITE | Feature.DELETE)
def replaced_under_a_reader(place: Place) -> None:
    """Deleting an image under a reader is refused as InUse, or that gets the old bytes or an error, never new ones."""
    store, image_id = place.store(), place.new_id()
    old, new = payload(8192), payload(8192)
    record = place.add(old, image_id=image_id)
    with store.open(record.location) as reader:
        assert reader.read(512) == old[:512]
        try:
            store.delete(record.location)
        except errors.InUse:
            assert reader.read() == old[512:]
            return
        place.add(new, image_id=image_id)
        try:
            reader.seek(4096)
            rest = reader.read()
        except errors.StoreLibError:
            rest = old[4096:]
        assert rest == old[4096:], "bytes of another image"


@behaviour(46)
def closing_a_download(place: Place) -> None:
    """A download may be closed more than once and from another thread."""
    download = open_download(place.store(), place.put(payload(460)))
    failed: list[BaseException] = []

    def close() -> None:
        try:
            download.close()
            download.close()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=close)
    thread.start()
    thread.join(60)
    assert not failed, f"closing raised {failed[0]!r}"
    assert not thread.is_alive(), "closing does not end"


@behaviour(47, RANGES)
def resumed_after_a_drop(place: Place) -> None:
    """A body that breaks off is resumed at the byte where it broke, whether it ended by an error or too early."""
    store, script = place.scripted()
    for error in (lost, None):
        data = payload(4700)
        record_uri = place.add(data, store).location.uri if Feature.WRITE in store.features else place.put(data)
        script.clear()
        script.cut(1, 1777, error)
        with store.open(record_uri) as reader:
            assert reader.read() == data
        assert [each.detail["offset"] for each in script.of("read")] == [0, 1777]


@behaviour(48)
def limits_make_sense(place: Place) -> None:
    """The limits that a store tells fit together."""
    limits = place.store().limits
    assert limits.parallel >= 1
    assert 1 <= limits.min_part <= limits.part_size
    assert limits.max_part is None or limits.part_size <= limits.max_part
    assert limits.max_parts is None or limits.max_parts >= 1
    assert limits.align >= 1
    assert limits.min_part % limits.align == 0 or limits.min_part == 1
    assert limits.whole_max >= 0
    assert limits.sparse >= 0
