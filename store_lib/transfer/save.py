"""Writing what is read into the caller's file, holes left out where that is possible."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import BinaryIO

__all__ = ["Write", "writing"]

#: Takes a piece of an image, its offset from the first piece, and whether it is a hole.
Write = Callable[[memoryview, int, bool], None]


@contextlib.contextmanager
def writing(target: BinaryIO) -> Iterator[Write]:
    """Yield what writes pieces, given in order, into `target` from its position on."""
    if not _sparse(target):
        yield lambda data, offset, hole: _write_all(target, data)
        return
    start = target.tell()
    end = start

    def write(data: memoryview, offset: int, hole: bool) -> None:
        nonlocal end
        end = start + offset + len(data)
        if not hole:
            target.seek(start + offset)
            _write_all(target, data)

    yield write
    target.flush()
    if os.fstat(target.fileno()).st_size < end:
        os.ftruncate(target.fileno(), end)  # a hole at the end
    target.seek(end)


def _sparse(target: BinaryIO) -> bool:
    """Whether what is skipped in `target` reads as zeroes: a regular file that ends where the writing begins."""
    try:
        told = os.fstat(target.fileno())
        return stat.S_ISREG(told.st_mode) and target.seekable() and target.tell() == told.st_size
    except (OSError, ValueError, AttributeError):
        return False


def _write_all(target: BinaryIO, data: memoryview) -> None:
    while data:
        written = target.write(data)
        data = data[len(data) if written is None else written :]
