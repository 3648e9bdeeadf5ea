"""Drivers that get reading wrong."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator

from store_lib import errors
from store_lib.conformance.broken import breaks
from store_lib.drivers.memory import MemoryAddress, MemoryDownload, MemoryDriver
from store_lib.interface import Context, Download, Limits


@breaks(40)
class RelativeRanges(MemoryDriver):
    """Takes offsets for relative to where the image was opened."""

    def open(self, address: MemoryAddress, offset: int, length: int | None, ctx: Context) -> Download:
        made = super().open(address, offset, length, ctx)
        real = made.read
        made.read = lambda at, many: real(at - offset, many)  # type: ignore[method-assign,assignment]
        return made


@breaks(41)
class OnlyForwards(MemoryDownload):
    """Does not go back."""

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        if offset < getattr(self, "_at", 0):
            raise errors.BackendError("reading backwards")
        self._at = offset
        return super().read(offset, length)


@breaks(42)
class EmptyChunks(MemoryDownload):
    """Ends a body by an empty chunk."""

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        yield from super().read(offset, length)
        yield b""


@breaks(43)
class RangeNotSatisfiable(MemoryDriver):
    """Takes a range beyond the end for a broken backend."""

    def open(self, address: MemoryAddress, offset: int, length: int | None, ctx: Context) -> Download:
        made = super().open(address, offset, length, ctx)
        if offset > made.info.size:
            raise errors.BackendError("error 416")
        return made


@breaks(44)
class OnePosition(MemoryDownload):
    """Has one position for all readers."""

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        self._position = offset

        def body() -> Iterator[bytes]:
            yield from MemoryDownload.read(self, self._position, length)

        return body()


@breaks(45)
class LooksAnew(MemoryDriver):
    """Looks the image up by its id for each range."""

    def open(self, address: MemoryAddress, offset: int, length: int | None, ctx: Context) -> Download:
        made = super().open(address, offset, length, ctx)

        def read(offset: int, length: int) -> Iterator[bytes]:
            return MemoryDownload(*self.image(address), self.LIMITS).read(offset, length)

        made.read = read  # type: ignore[method-assign]
        return made


@breaks(46)
class ClosesOnce(MemoryDownload):
    """Can be closed once."""

    def close(self) -> None:
        if self._closed:
            raise errors.BackendError("it is closed")
        super().close()


@breaks(47)
class NoResume(MemoryDownload):
    """Does not begin anywhere inside a block."""

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        return super().read(0 if offset % 1000 == 777 else offset, length)


@breaks(48)
class OddLimits(MemoryDriver):
    """Tells limits that cannot be."""

    @property
    def limits(self) -> Limits:
        return dataclasses.replace(self.LIMITS, sparse=-1)


@breaks(91)
class FewReaders(MemoryDriver):
    """Has eight connections for reading."""

    def open(self, address: MemoryAddress, offset: int, length: int | None, ctx: Context) -> Download:
        made = super().open(address, offset, length, ctx)
        assert isinstance(made, MemoryDownload)
        opened = [each for each in getattr(self, "_opened", []) if each() is not None and not each()._closed]
        if len(opened) >= 8:
            raise errors.BackendError("too many connections")
        self._opened = [*opened, weakref.ref(made)]
        return made
