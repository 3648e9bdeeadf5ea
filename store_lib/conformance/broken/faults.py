"""Drivers that get failures, lost answers and room wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from store_lib import errors
from store_lib.conformance.broken import PART, breaks
from store_lib.drivers.memory import MemoryAddress, MemoryDriver, MemoryUpload
from store_lib.interface import Committed, Context, Deletion, Leftover, ObjectInfo, Part, Token


@breaks(61)
class PartsOnce(MemoryUpload):
    """Takes the first part of some images once."""

    def write_part(self, part: Part) -> Token:
        if part.offset in self._stored.runs and (self.size or 0) % PART == 6100:
            raise errors.BackendError("the part is there already")
        return super().write_part(part)


@breaks(62)
class LeavesParts(MemoryUpload):
    """Does not remove what is not complete."""

    def abort(self) -> Sequence[Leftover]:
        came = sum(map(len, self._stored.runs.values()))
        return super().abort() if came == self.size else ()


@breaks(63)
class KnowsNothing(MemoryUpload):
    """Never finds that a commit was done."""

    def outcome(self) -> Committed[Any] | None:
        return None


@breaks(64)
class ClaimsAll(MemoryUpload):
    """Takes a commit for done when nobody has the name."""

    def outcome(self) -> Committed[Any] | None:
        if self._address.image_id not in self._state.images:
            return Committed(self._address, ObjectInfo(self.size or 0))
        return super().outcome()


@breaks(65)
class OutcomeByName(MemoryUpload):
    """Takes any image of that name for its own."""

    def outcome(self) -> Committed[Any] | None:
        found = self._state.images.get(self._address.image_id)
        return Committed(self._address, found[1]) if found else None


@breaks(66)
class ChangesWhatComesAgain(MemoryUpload):
    """Changes the bytes of a part that it gets a second time, in their buffer."""

    def write_part(self, part: Part) -> Token:
        again = part.offset in self._stored.runs and (self.size or 0) > 5 * PART
        token = super().write_part(part)
        if again:
            part.data[:1] = bytes([part.data[0] ^ 1])
        return token


@breaks(67)
class TooLittleRoom(MemoryUpload):
    """Makes less room than was asked for."""

    def reserve(self, at_least: int) -> int:
        super().reserve(at_least)
        return at_least - 1


@breaks(68)
class NewRoom(MemoryUpload):
    """Makes room by beginning anew."""

    def reserve(self, at_least: int) -> int:
        self._stored.runs.pop(0, None)
        return super().reserve(at_least)


@breaks(69)
class DeletesOnce(MemoryDriver):
    """Does not stand a delete that is sent again."""

    def delete(self, address: MemoryAddress, ctx: Context) -> Deletion:
        if ctx is getattr(self, "_last", None):
            raise errors.BackendError("that request was sent before")
        self._last = ctx
        return super().delete(address, ctx)
