"""Memory that this process and its helpers see, so that the bytes of images need no pipe."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from typing import Any

__all__ = ["SharedBuffers", "SharedMap", "address_of"]


class SharedMap(mmap.mmap):
    """Memory that helpers can see, too; it lives as long as somebody refers to it."""

    fd: int
    address: int

    def __new__(cls, size: int) -> SharedMap:
        fd = os.memfd_create("store_lib", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, size)
            made = super().__new__(cls, fd, size)
        except BaseException:
            os.close(fd)
            raise
        made.fd = fd
        made.address = address_of(made)
        return made

    def __del__(self) -> None:
        os.close(self.fd)


def address_of(buffer: Any) -> int:
    """Return where the bytes of a writable buffer lie in this process."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


class SharedBuffers:
    """Buffers in memory that helpers see, too."""

    def allocate(self, size: int) -> memoryview:
        """Return `size` zeroed bytes."""
        return memoryview(SharedMap(size)) if size else memoryview(b"")

    def release(self, block: memoryview) -> None:
        """Give the memory back; harmless while something still refers to it (it then goes with the last reference)."""
        backing = block.obj
        with contextlib.suppress(BufferError):
            block.release()
            if isinstance(backing, SharedMap):
                backing.close()
