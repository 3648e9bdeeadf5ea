"""Filling buffers from a source, with the size checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from store_lib import errors
from store_lib.runtime import Bandwidth
from store_lib.transfer.source import Source

__all__ = ["Filled", "Filler"]

_ZEROES = memoryview(bytes(1024 * 1024))


@dataclasses.dataclass(frozen=True)
class Filled:
    """A buffer with bytes in it.

    :param data: the part of the buffer that holds bytes of the image.
    :param holes: ``(start, end)`` inside `data` of ranges that are holes of the source; they hold zeroes.
    :param ended: whether the image ends here.
    """

    data: memoryview
    holes: tuple[tuple[int, int], ...]
    ended: bool

    def runs(self) -> Iterator[tuple[int, int, bool]]:
        """Yield ``(start, end, hole)`` of the runs of data and holes, in order."""
        at = 0
        for start, end in self.holes:
            if start > at:
                yield at, start, False
            yield start, end, True
            at = end
        if at < len(self.data):
            yield at, len(self.data), False


class Filler:
    """Reads a source in the caller's thread.

    It reads one byte beyond each buffer, or beyond the last one where the size is known, so that the last part is known
    as such and a source that is too long is found out before anything is committed.

    :param size: bytes that must come, None when not known.
    :param check: called after each piece; raises to end the transfer.
    """

    def __init__(self, source: Source, size: int | None, bandwidth: Bandwidth, check: Callable[[], None]) -> None:
        self._source = source
        self._size = size
        self._bandwidth = bandwidth
        self._check = check
        self._ahead = memoryview(bytearray(1))
        self._has_ahead = False
        self.total = 0

    def fill(self, view: memoryview) -> Filled:
        """Fill `view` as far as the source goes.

        :raises SizeMismatch: the source is longer or shorter than its declared size.
        """
        holes: list[tuple[int, int]] = []
        at = 0
        if self._has_ahead:
            view[0:1] = self._ahead
            self._has_ahead = False
            at = 1
        while at < len(view):
            hole = min(self._source.hole(), len(view) - at)
            if hole:
                _zero(view[at : at + hole])
                self._source.skip(hole)
                holes.append((at, at + hole))
                got = hole
                self._count(hole)
            else:
                got = self._read(view[at:])
                if not got:
                    return self._ended(view[:at], holes)
            at += got
        return self._look_ahead(view, holes)

    def _read(self, view: memoryview) -> int:
        while (got := self._source.read_into(view)) < 0:
            self._check()
        self._count(got)
        return got

    def _count(self, got: int) -> None:
        self.total += got
        if self._size is not None and self.total > self._size:
            raise errors.SizeMismatch(f"the source is longer than the declared {self._size} bytes")
        self._bandwidth.take(got, self._check)
        self._check()

    def _look_ahead(self, view: memoryview, holes: list[tuple[int, int]]) -> Filled:
        # Where more must come nothing is asked: the next piece then begins where the memory and the file do, by pages.
        if (self._size is None or self.total == self._size) and not self._source.hole():
            if not self._read(self._ahead):
                return self._ended(view, holes)
            self._has_ahead = True
        return Filled(view, tuple(holes), False)

    def _ended(self, data: memoryview, holes: list[tuple[int, int]]) -> Filled:
        if self._size is not None and self.total < self._size:
            raise errors.SizeMismatch(f"the source ended after {self.total} of the declared {self._size} bytes")
        return Filled(data, tuple(holes), True)


def _zero(view: memoryview) -> None:
    for start in range(0, len(view), len(_ZEROES)):
        piece = view[start : start + len(_ZEROES)]
        piece[:] = _ZEROES[: len(piece)]
