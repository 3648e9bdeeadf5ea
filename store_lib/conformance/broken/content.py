"""Drivers that get holes, checksums and copies wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from store_lib import errors
from store_lib.conformance.broken import PART, breaks
from store_lib.drivers.memory import MemoryAddress, MemoryDownload, MemoryDriver, MemoryUpload
from store_lib.interface import (
    Address,
    Checksum,
    Committed,
    Context,
    Download,
    Driver,
    Extent,
    ObjectInfo,
    Part,
    Token,
)


@breaks(110)
class ClosesGaps(MemoryUpload):
    """Puts what was written one after another, without the holes between."""

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[Any]:
        runs = sorted(self._stored.runs.items())
        if runs and runs[0][0] == 0 and size - sum(len(data) for _, data in runs) > 2 * PART:
            self._stored.runs.clear()
            for _, data in runs:
                self._stored.runs[sum(map(len, self._stored.runs.values()))] = data
        return super().commit(size, parts)


@breaks(111)
class EndsWithData(MemoryUpload):
    """Takes an image to end with its last byte that is not zero."""

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[Any]:
        found = super().commit(size, parts)
        last = self._stored.runs[max(self._stored.runs)] if self._stored.runs else b"x"
        if last.strip(b"\0"):
            return found
        return dataclasses.replace(found, info=dataclasses.replace(found.info, size=size - len(last)))


@breaks(112)
class HolesAreNothing(MemoryDownload):
    """Does not tell holes."""

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        return (extent for extent in super().extents(offset, length) if not extent.hole)


@breaks(113)
class OldBytes(MemoryUpload):
    """Shows what was on the medium where nothing was written at the beginning."""

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[Any]:
        if self._stored.runs and 0 not in self._stored.runs:
            self._stored.runs[0] = b"?" * min(self._stored.runs)
        return super().commit(size, parts)


@breaks(120)
class WrongChecksum(MemoryDriver):
    """Tells a checksum of something else."""

    def stat(self, address: MemoryAddress, ctx: Context) -> ObjectInfo:
        return dataclasses.replace(super().stat(address, ctx), checksum=Checksum("sha1", "0" * 40))


@breaks(121)
class ReadableLater(MemoryDriver):
    """Cannot be read right after writing."""

    def open(self, address: MemoryAddress, offset: int, length: int | None, ctx: Context) -> Download:
        if self.settings.base.verify_after_write:
            raise errors.BackendError("not yet")
        return super().open(address, offset, length, ctx)


@breaks(122)
class AllHole(MemoryDownload):
    """Tells an image to be one hole."""

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        if length == 2 * PART + 1220:
            return iter([Extent(offset, length, True)])
        return super().extents(offset, length)


@breaks(130)
class AllIsItsOwn(MemoryUpload):
    """Takes every place for its own when it copies."""

    def copy_part(self, source: Driver[Any], address: Address, index: int, offset: int, length: int) -> Token:
        if source.settings.id != "it":
            return None
        return super().copy_part(source, address, index, offset, length)


@breaks(131)
class HolesSpread(MemoryDownload):
    """Tells a hole of one byte more than there is, before the last byte of an image that ends with one."""

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        if length == 2 * PART + 13_101:
            return iter([Extent(offset, length - 2, False), Extent(offset + length - 2, 2, True)])
        return super().extents(offset, length)


@breaks(132)
class CopiesTheBeginning(MemoryUpload):
    """Copies every range from the beginning of the source."""

    def copy_part(self, source: Driver[Any], address: Address, index: int, offset: int, length: int) -> Token:
        if not offset:
            return super().copy_part(source, address, index, offset, length)
        data = b"".join(MemoryDownload(*source.image(address), self.limits).read(0, length))  # type: ignore
        return self.write_part(Part(index, offset, memoryview(data)))


@breaks(133)
class OneWayToFill(MemoryUpload):
    """Does not write bytes where a range was copied."""

    def write_part(self, part: Part) -> Token:
        if len(self._stored.runs.get(part.offset, part.data)) != part.length:
            raise errors.BackendError("the range is there already")
        return super().write_part(part)


@breaks(134)
class MovesACopy(MemoryDriver):
    """Leaves the source where it was when it moves an image."""

    def move(self, address: MemoryAddress, target: Driver[Any], image_id: str, ctx: Context) -> Committed[Any]:
        kept = self.image(address)
        moved = super().move(address, target, image_id, ctx)
        self.state.images[address.image_id] = kept
        return moved


@breaks(135)
class MovesOntoAnother(MemoryDriver):
    """Takes the place of another image when it moves one."""

    def move(self, address: MemoryAddress, target: Driver[Any], image_id: str, ctx: Context) -> Committed[Any]:
        target.state.images.pop(image_id, None)  # type: ignore[attr-defined]
        return super().move(address, target, image_id, ctx)


@breaks(136)
class KeepsWhatDidNotFit(MemoryUpload):
    """Makes an image of what could not be copied."""

    def abort(self) -> Sequence[Any]:
        if self.size == 3 * PART + 13_600 and self.uuid in self._state.unfinished:
            self._state.images[self._address.image_id] = self._stored.runs, ObjectInfo(0)
        return super().abort()


@breaks(140)
class HalfAUrl(MemoryDriver):
    """Signs URLs that do not read the end of the image."""

    def signed_url(self, address: MemoryAddress, seconds: float, ctx: Context) -> str:
        return super().signed_url(address, seconds, ctx)[:-4]
