"""Drivers that make images of what failed: sources, sizes, digests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from store_lib import errors
from store_lib.conformance.broken import PART, breaks
from store_lib.drivers.memory import MemoryAddress, MemoryDriver, MemoryUpload
from store_lib.interface import Committed, Context, Leftover, ObjectInfo, Part, Token, Upload


@breaks(30)
class FewLinks(MemoryUpload):
    """Keeps what is the same once, and has room for three names of it."""

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[Any]:
        same = [runs for runs, _ in self._state.images.values() if runs == self._stored.runs]
        if len(same) > 3:
            raise errors.BackendError("too many links")
        return super().commit(size, parts)


@breaks(31)
class StartsAtOnce(MemoryDriver):
    """Makes something before it is told to."""

    def upload(self, image_id: str, size: int | None, ctx: Context) -> Upload[MemoryAddress]:
        made = super().upload(image_id, size, ctx)
        made.start()
        return made


@breaks(32)
class MakesNothingAnImage(MemoryUpload):
    """Makes an image of a source that gave nothing."""

    def abort(self) -> Sequence[Leftover]:
        if (self.size or 0) % PART == 32:
            self._state.images[self._address.image_id] = {}, ObjectInfo(0)
        return super().abort()


@breaks(33)
class KeepsWhatCame(MemoryUpload):
    """Makes an image of what came before the source broke."""

    def abort(self) -> Sequence[Leftover]:
        if (self.size or 0) % PART == 33:
            self._state.images[self._address.image_id] = self._stored.runs, ObjectInfo(PART)
        return super().abort()


@breaks(34)
class KeepsAlmostAll(MemoryUpload):
    """Makes an image when the source breaks at its very end."""

    def abort(self) -> Sequence[Leftover]:
        if (self.size or 0) % PART == 34:
            self._state.images[self._address.image_id] = self._stored.runs, ObjectInfo(self.size or 0)
        return super().abort()


@breaks(35)
class CutsOff(MemoryUpload):
    """Makes an image of a source that is too long."""

    def abort(self) -> Sequence[Leftover]:
        if (self.size or 0) % PART == 35:
            self._state.images[self._address.image_id] = self._stored.runs, ObjectInfo(self.size or 0)
        return super().abort()


@breaks(36)
class FillsUp(MemoryUpload):
    """Makes an image of a source that is too short."""

    def abort(self) -> Sequence[Leftover]:
        if (self.size or 0) % PART == 36:
            self._state.images[self._address.image_id] = self._stored.runs, ObjectInfo(self.size or 0)
        return super().abort()


@breaks(37)
class CancelIsTheEnd(MemoryUpload):
    """Makes an image of what came before it was cancelled."""

    def abort(self) -> Sequence[Leftover]:
        if (self.size or 0) % PART == 37:
            self._state.images[self._address.image_id] = self._stored.runs, ObjectInfo(PART)
        return super().abort()


@breaks(38)
class KeepsTheName(MemoryUpload):
    """Gives the name of a failed image to nobody."""

    def abort(self) -> Sequence[Leftover]:
        if (self.size or 0) % PART == 38:
            self._state.images.setdefault(self._address.image_id, ({}, ObjectInfo(0)))
        return super().abort()


@breaks(39)
class MakesWhatIsWhole(MemoryUpload):
    """Makes an image at abort when all of its bytes have come."""

    def abort(self) -> Sequence[Leftover]:
        came = sum(map(len, self._stored.runs.values()))
        if came == self.size and self.uuid in self._state.unfinished:
            self._state.images.setdefault(self._address.image_id, (self._stored.runs, ObjectInfo(came)))
        return super().abort()
