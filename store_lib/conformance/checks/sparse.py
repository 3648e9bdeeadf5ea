"""Holes and zeroes."""

from __future__ import annotations

from store_lib.conformance.behaviour import NotOffered, behaviour
from store_lib.conformance.direct import DirectUpload, open_download
from store_lib.conformance.place import Place, content, payload
from store_lib.interface import Feature

SPARSE = Feature.WRITE | Feature.SPARSE


@behaviour(110, Feature.WRITE)
def holes_of_the_source(place: Place) -> None:
    """Holes of a source file read back as zeroes, in their place."""
    first, last = payload(65_536), payload(11_000)
    path, hole = place.folder / "sparse", 3 * place.part
    with open(path, "wb") as file:
        file.write(first)
        file.seek(len(first) + hole)
        file.write(last)
    with open(path, "rb") as file:
        record = place.add(file, size=len(first) + hole + len(last))
    assert content(place.store(), record.location) == first + bytes(hole) + last


@behaviour(111, Feature.WRITE)
def zeroes_at_the_end(place: Place) -> None:
    """Images that end in zeroes, or hold nothing else, keep their size and read back as such."""
    for data in (payload(1110) + bytes(2 * place.part), bytes(place.part + 1111)):
        record = place.add(data)
        assert record.size == len(data)
        assert content(place.store(), record.location) == data


@behaviour(112)
def extents_cover_the_range(place: Place) -> None:
    """Where data and holes are told, they cover the range in order and without gaps, and holes are zeroes."""
    data = payload(65_536) + bytes(65_536 + place.part) + payload(1120)
    store, path = place.store(), place.folder / "holes"
    with open(path, "w+b") as file:
        for start, end in ((0, 65_536), (len(data) - 1120, len(data))):
            file.seek(start)
            file.write(data[start:end])
        file.seek(0)
        uri = place.add(file, size=len(data)).location.uri if Feature.WRITE in store.features else place.put(data)
    download = open_download(store, uri)
    try:
        for offset, length in ((0, len(data)), (65_536, 70_000), (65_537, len(data) - 65_537)):
            found = download.extents(offset, length)
            if found is None:
                raise NotOffered("the store cannot tell holes from data")
            at = offset
            for extent in found:
                assert extent.offset == at
                assert extent.length > 0
                at += extent.length
                assert not extent.hole or not any(data[extent.offset : at]), "data in what is told to be a hole"
            assert at == offset + length
    finally:
        download.close()


@behaviour(113, SPARSE)
def unwritten_is_zero(place: Place) -> None:
    """What is never written reads as zeroes, also where another image was before."""
    before = place.add(payload(2 * place.part))
    if Feature.DELETE in place.store().features:
        place.store().delete(before.location)
    direct = DirectUpload(place, place.new_id(), bytes(place.part) + payload(1130)).start()
    direct.write(direct.parts[1])
    uri = place.store()._driver.uri(direct.commit().address)
    direct.abort()
    assert content(place.store(), uri) == direct.data
