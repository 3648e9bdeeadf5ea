"""Drivers that get becoming visible wrong, and clearing away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from store_lib import errors
from store_lib.conformance.broken import PART, breaks
from store_lib.drivers.memory import MemoryAddress, MemoryDownload, MemoryDriver, MemoryUpload
from store_lib.interface import Committed, Context, Download, Leftover, ObjectInfo, Part, Token, Upload


@breaks(50)
class ShowsTheUnfinished(MemoryDriver):
    """Opens what is not finished."""

    def open(self, address: MemoryAddress, offset: int, length: int | None, ctx: Context) -> Download:
        for each in [*self.state.unfinished.values()]:
            writer = each.writer()
            if writer is not None and writer._address == address and address.image_id not in self.state.images:
                return MemoryDownload(each.runs, ObjectInfo(0), self.LIMITS)
        return super().open(address, offset, length, ctx)


@breaks(51)
class LooksLater(MemoryDriver):
    """Sees only at the end that the id is taken."""

    def upload(self, image_id: str, size: int | None, ctx: Context) -> Upload[MemoryAddress]:
        return MemoryUpload(self, self.state, MemoryAddress(image_id), ctx.owner, size)


@breaks(52)
class Overwrites(MemoryUpload):
    """Takes the place of another's image that has another size."""

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[Any]:
        there = self._state.images.get(self._address.image_id)
        if there is not None and size > PART and there[1].size != size:
            del self._state.images[self._address.image_id]
        return super().commit(size, parts)


@breaks(53)
class OverwritesWhole(MemoryUpload):
    """Takes the place of another's image by an image sent in one request."""

    def write_whole(self, part: Part) -> Committed[Any]:
        self._state.images.pop(self._address.image_id, None)
        return super().write_whole(part)


@breaks(54)
class LooksThenActs(MemoryUpload):
    """Looks whether the id is taken and commits some time after."""

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[Any]:
        taken = self._address.image_id in self._state.images
        writers = [each.writer() for each in [*self._state.unfinished.values()]]
        rivals = [each for each in writers if each is not None and each._address == self._address]
        if len(rivals) > 2:
            time.sleep(0.1)
        with self._state.lock:
            if not taken:
                self._state.images.pop(self._address.image_id, None)
            return super().commit(size, parts)


@breaks(55)
class AbortsByName(MemoryUpload):
    """Removes whatever has the name when it clears away."""

    def abort(self) -> Sequence[Leftover]:
        if self.uuid in self._state.unfinished:
            self._state.images.pop(self._address.image_id, None)
        return super().abort()


@breaks(56)
class AbortsOnce(MemoryUpload):
    """Can be aborted once."""

    def abort(self) -> Sequence[Leftover]:
        if getattr(self, "_aborted", False):
            raise errors.BackendError("there is no such upload")
        self._aborted = True
        return super().abort()


@breaks(57)
class AbortsTheImage(MemoryUpload):
    """Removes the image that it committed."""

    def abort(self) -> Sequence[Leftover]:
        if self.size == PART + 5700 and super().outcome() is not None:
            del self._state.images[self._address.image_id]
        return super().abort()


@breaks(58)
class LastPartOnce(MemoryUpload):
    """Takes the last part once."""

    def write_part(self, part: Part) -> Token:
        if part.last and part.index and part.offset in self._stored.runs:
            raise errors.BackendError("the upload is complete")
        return super().write_part(part)


@breaks(59)
class HoldsBuffers(MemoryUpload):
    """Keeps the buffer of the last part instead of its bytes."""

    def write_part(self, part: Part) -> Token:
        token = super().write_part(part)
        if part.last:
            self._stored.runs[part.offset] = part.data  # type: ignore[assignment]
        return token


@breaks(60)
class ChangesBuffers(MemoryUpload):
    """Changes the bytes of a part in their buffer."""

    def write_part(self, part: Part) -> Token:
        token = super().write_part(part)
        if self.size == 2 * PART + 6000:
            part.data[:1] = b"?"
        return token
