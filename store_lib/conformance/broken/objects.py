"""Drivers that get images wrong, whole ones and those of certain sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from store_lib import errors
from store_lib.conformance.broken import PART, breaks
from store_lib.drivers.memory import MemoryAddress, MemoryDriver, MemoryUpload
from store_lib.interface import Committed, Context, Deletion, Download, Listed, ObjectInfo, Part, Token


@breaks(10)
class TextMode(MemoryUpload):
    """Takes images for text."""

    def write_part(self, part: Part) -> Token:
        text = part.bytes().replace(b"\r", b"\n")
        return super().write_part(dataclasses.replace(part, data=memoryview(text)))


@breaks(11)
class NothingIsNoImage(MemoryUpload):
    """Refuses an image without parts, as some object stores do."""

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[Any]:
        if not size:
            raise errors.BackendError("an image needs a part")
        return super().commit(size, parts)


@breaks(12)
class LosesOneByte(MemoryUpload):
    """Does not write an image of one byte."""

    def write_part(self, part: Part) -> Token:
        if part.last and part.offset + part.length == 1:
            return None
        return super().write_part(part)


@breaks(13)
class LocalTime(MemoryDriver):
    """Tells times without a time zone."""

    def stat(self, address: MemoryAddress, ctx: Context) -> ObjectInfo:
        found = super().stat(address, ctx)
        assert found.modified is not None
        return dataclasses.replace(found, modified=found.modified.replace(tzinfo=None))


@breaks(14)
class ListsTwice(MemoryDriver):
    """Lists every image twice, as at the border of two pages."""

    def list(self, ctx: Context) -> Iterator[Listed[MemoryAddress]]:
        for each in super().list(ctx):
            yield from (each, each)


@breaks(15)
class DeletesByPrefix(MemoryDriver):
    """Deletes everything whose id begins like that of the image."""

    def delete(self, address: MemoryAddress, ctx: Context) -> Deletion:
        for image_id in [*self.state.images]:
            if image_id.startswith(address.image_id) and image_id != address.image_id:
                super().delete(MemoryAddress(image_id), ctx)
        return super().delete(address, ctx)


@breaks(16)
class DeletesNothing(MemoryDriver):
    """Says that it deleted an image that was not there."""

    def delete(self, address: MemoryAddress, ctx: Context) -> Deletion:
        try:
            return super().delete(address, ctx)
        except errors.NotFound:
            return Deletion.DELETED


@breaks(17)
class StatFails(MemoryDriver):
    """Takes a missing image for a broken backend, at stat."""

    def stat(self, address: MemoryAddress, ctx: Context) -> ObjectInfo:
        try:
            return super().stat(address, ctx)
        except errors.NotFound as error:
            raise errors.BackendError("error 404") from error


@breaks(18)
class OpenFails(MemoryDriver):
    """Takes a missing image for a broken backend, at open."""

    def open(self, address: MemoryAddress, offset: int, length: int | None, ctx: Context) -> Download:
        try:
            return super().open(address, offset, length, ctx)
        except errors.NotFound as error:
            raise errors.BackendError("error 404") from error


@breaks(19)
class ObjectsInMetadata(MemoryUpload):
    """Puts into the metadata what is no JSON."""

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[Any]:
        found = super().commit(size, parts)
        return Committed(found.address, found.info, {"written": found.info.modified})


@breaks(20)
class OneForAll(MemoryDriver):
    """Deletes every image of the same content, as if it were kept once."""

    def delete(self, address: MemoryAddress, ctx: Context) -> Deletion:
        wanted = self.image(address)[0]
        for image_id, (runs, _) in [*self.state.images.items()]:
            if runs == wanted and image_id != address.image_id:
                super().delete(MemoryAddress(image_id), ctx)
        return super().delete(address, ctx)


@breaks(21)
class OneByteShort(MemoryUpload):
    """Loses the last byte of an image of one byte less than a part."""

    def write_part(self, part: Part) -> Token:
        short = self.size == PART - 1
        return super().write_part(dataclasses.replace(part, data=part.data[:-1]) if short else part)


@breaks(22)
class NoFullPart(MemoryUpload):
    """Does not take an image of exactly one part."""

    def write_part(self, part: Part) -> Token:
        if self.size == PART:
            raise errors.BackendError("the last part is too large")
        return super().write_part(part)


@breaks(23)
class NoByteAlone(MemoryUpload):
    """Leaves out a last part of one byte."""

    def write_part(self, part: Part) -> Token:
        if self.size == PART + 1 and part.last:
            return None
        return super().write_part(part)


@breaks(24)
class FullLastPart(MemoryUpload):
    """Announces the last part of an image of several parts as a full one."""

    def write_part(self, part: Part) -> Token:
        if part.last and part.length == 2400:
            raise errors.BackendError(f"{part.length} bytes came of {PART}")
        return super().write_part(part)


@breaks(25)
class EmptyLastPart(MemoryUpload):
    """Waits for a last part that is not full."""

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[Any]:
        if size == 3 * PART:
            raise errors.BackendError("the last part is missing")
        return super().commit(size, parts)


@breaks(26)
class NeedsTheSize(MemoryUpload):
    """Does not take a last part of one byte where the size was not known."""

    def write_part(self, part: Part) -> Token:
        if self.size is None and part.last and part.length == 1:
            raise errors.BackendError("the length is missing")
        return super().write_part(part)


@breaks(27)
class OneAfterAnother(MemoryUpload):
    """Wants the first part first."""

    def write_part(self, part: Part) -> Token:
        if part.index == 1 and not part.last and 0 not in self._stored.runs:
            raise errors.BackendError("parts must come in order")
        return super().write_part(part)
