"""Sources: of every kind, failing, too long, too short, given up."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from store_lib import errors
from store_lib.conformance.behaviour import behaviour
from store_lib.conformance.direct import DirectUpload
from store_lib.conformance.place import Place, content, payload
from store_lib.interface import Feature

WRITE = Feature.WRITE


class SourceError(Exception):
    """What a source raises here: not of store_lib's tree."""


@behaviour(30, WRITE)
def kinds_of_sources(place: Place) -> None:
    """File, file from its position on, pipe-like short reads, iterator, iterable, bytes: all give the same image."""
    data = payload(2 * place.part + 3000)
    path = place.folder / "source"
    path.write_bytes(b"skipped" + data)
    with open(path, "rb") as file:
        file.seek(7)
        sources: list[Any] = [file, io.BytesIO(data), _Short(data), data, memoryview(bytearray(data))]
        sources += [iter([b"", data[:1], data[1:]]), [data[:1000], b"", data[1000:]]]
        for source in sources:
            record = place.add(source, size=len(data))
            assert content(place.store(), record.location) == data, f"from {source.__class__.__name__}"


class _Short:
    """Reads fewer bytes than asked for."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        """Return at most some bytes."""
        return self._file.read(min(size, 30_011))


@behaviour(31, WRITE | Feature.LEFTOVERS)
def nothing_before_start(place: Place) -> None:
    """Asking for an upload looks and makes nothing: before its start the storage holds nothing of it."""
    store = place.store()
    direct = DirectUpload(place, place.new_id(), payload(3100))
    assert direct.upload.uuid not in [each.owner.upload for each in store.leftovers() if each.owner]
    direct.abort()


@behaviour(32, WRITE)
def source_fails_at_once(place: Place) -> None:
    """A source that fails with its first byte: its own error passes unchanged, and nothing of the image is there."""
    _fails(place, place.several * place.part + 32, 0)


@behaviour(33, WRITE)
def source_fails_on_the_way(place: Place) -> None:
    """A source that fails in the middle: its own error passes unchanged, and nothing of the image is there."""
    size = place.several * place.part + 33
    _fails(place, size, size - place.part)


@behaviour(34, WRITE)
def source_fails_at_its_end(place: Place) -> None:
    """A source that fails after its last byte: its own error passes unchanged, and nothing of the image is there."""
    size = place.several * place.part + 34
    _fails(place, size, size)


def _fails(place: Place, size: int, after: int) -> None:
    raised = SourceError("the source broke")

    def act() -> None:
        raise raised

    with pytest.raises(SourceError) as caught:
        _refused(place, size, _source(payload(size)[:after], act))
    assert caught.value is raised
    assert place.absent(place.last_id)


@behaviour(35, WRITE)
def source_too_long(place: Place) -> None:
    """A source longer than its declared size is refused as SizeMismatch, and nothing of the image is there."""
    for size in (350, place.several * place.part + 35):
        with pytest.raises(errors.SizeMismatch):
            _refused(place, size, _source(payload(size + 1)))
        assert place.absent(place.last_id)


@behaviour(36, WRITE)
def source_too_short(place: Place) -> None:
    """A source shorter than its declared size is refused as SizeMismatch, and nothing of the image is there."""
    for size in (360, place.several * place.part + 36):
        with pytest.raises(errors.SizeMismatch):
            _refused(place, size, _source(payload(size - 1)))
        assert place.absent(place.last_id)


@behaviour(37, WRITE)
def cancelled(place: Place) -> None:
    """A transfer that is cancelled ends with Cancelled, and nothing of the image is there."""
    size, cancel = place.several * place.part + 37, threading.Event()
    chunks = _source(payload(size)[: size - 10], cancel.set)
    with pytest.raises(errors.Cancelled):
        _refused(place, size, (chunk for part in (chunks, iter([b"0123456789"])) for chunk in part), cancel)
    assert place.absent(place.last_id)


@behaviour(38, WRITE)
def the_same_again(place: Place) -> None:
    """After a transfer that failed, the same image can be added."""
    size = place.several * place.part + 38
    image_id, data = place.new_id(), payload(size)
    with pytest.raises(errors.SizeMismatch):
        place.add(_source(data[:-1]), image_id=image_id, size=size)
    record = place.add(_source(data), image_id=image_id, size=size)
    assert content(place.store(), record.location) == data


@behaviour(39, WRITE)
def wrong_digest(place: Place) -> None:
    """An image that has not the expected digest is refused as DigestMismatch, and nothing of it is there."""
    size = place.several * place.part + 39
    with pytest.raises(errors.DigestMismatch):
        place.add(payload(size), expected={"sha256": "0" * 64})
    assert place.absent(place.last_id)


def _refused(place: Place, size: int, source: Any, cancel: threading.Event | None = None) -> None:
    """Add an image of a declared size that must not come about."""
    record = place.add(source, size=size, cancel=cancel)
    raise AssertionError(f"an image of {record.size} bytes was made")


def _source(data: bytes, act: Callable[[], None] = lambda: None) -> Iterator[bytes]:
    """Yield `data` in pieces, then do something."""
    for start in range(0, len(data), 50_000):
        yield data[start : start + 50_000]
    act()
