"""The memory that bytes are in on their way through the engine; `store_lib.interface` gives it under the same names."""

from __future__ import annotations

import contextlib
import mmap
from typing import Protocol

from store_lib.values import KIB

__all__ = ["HEAP", "BufferSource", "HeapBuffers"]


class BufferSource(Protocol):
    """Where the engine puts bytes on their way to a backend."""

    def allocate(self, size: int) -> memoryview:
        """Return a writable block of `size` bytes that nobody else uses; what it holds means nothing."""

    def release(self, block: memoryview) -> None:
        """Take a block back that nothing refers to any more."""


class HeapBuffers:
    """Buffers in this process's own memory; pages are taken when first touched and go back to the kernel at release."""

    #: Below this many bytes the allocator's memory, which is warm, serves faster than pages of its own.
    _SMALL = 128 * KIB

    def allocate(self, size: int) -> memoryview:
        """Return `size` zeroed bytes."""
        if size < self._SMALL:
            return memoryview(bytearray(size))
        return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    def release(self, block: memoryview) -> None:
        """Give the memory back; harmless while something still refers to it (it then goes with the last reference)."""
        backing = block.obj
        with contextlib.suppress(BufferError):  # a slice is alive somewhere; the memory goes when that does
            block.release()
            getattr(backing, "close", lambda: None)()


HEAP = HeapBuffers()
