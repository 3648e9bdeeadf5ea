"""Memory that this process and its helpers see, so that the bytes of images need no pipe."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
from typing import Any

from store_lib.interface import MIB, PerProcessValue, Runtime

__all__ = ["KEPT", "SharedBuffers", "SharedMap", "address_of"]

#: Bytes that a store keeps between transfers: those of one, by the usual sizes.
KEPT = 16 * MIB
#: Bytes from which a block is worth keeping.
_WORTH = MIB


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
    """Buffers in memory that helpers see, too; safe for threads and across forks.

    Large ones that a transfer is done with are kept for the next one, up to `KEPT` bytes, until the store is closed.
    This process and its helpers have them in their page tables by then: taking new pages costs an add a sixth of its
    processor time where nothing but the kernel looks at them, a third where digests do.

    :param runtime: gives a forked child none of what its parent keeps, which both would write to.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._kept: PerProcessValue[list[SharedMap]] = runtime.per_process(list, list.clear, list.clear)
        self._closed = False

    def allocate(self, size: int) -> memoryview:
        """Return `size` bytes, with zeroes or what an image before left in them."""
        if not size:
            return memoryview(b"")
        if size >= _WORTH:
            kept = self._kept.get()
            for block in kept.copy():
                if len(block) == size and _taken(kept, block):
                    return memoryview(block)
            _shrink(kept, KEPT - size)  # others than these are wanted now
        return memoryview(SharedMap(size))

    def release(self, block: memoryview) -> None:
        """Keep the memory or give it back; harmless while something still refers to it (it goes with the last one)."""
        backing = block.obj
        with contextlib.suppress(BufferError):
            block.release()
            if not isinstance(backing, SharedMap):
                return
            alone = sys.getrefcount(backing) == 2  # this function's, and the one of asking
            if self._closed or len(backing) < _WORTH or not alone:
                backing.close()
                return
            kept = self._kept.get()
            kept.append(backing)
            _shrink(kept, KEPT)

    def close(self) -> None:
        """Give back what is kept, and keep nothing from now on."""
        self._closed = True
        self._kept.close()


def _taken(kept: list[SharedMap], block: SharedMap) -> bool:
    """Take `block` out; return whether no other thread was quicker."""
    try:
        kept.remove(block)
    except ValueError:
        return False
    return True


def _shrink(kept: list[SharedMap], size: int) -> None:
    """Give back blocks, those kept longest first, until no more than `size` bytes are kept."""
    for block in kept.copy():
        if sum(map(len, kept)) <= max(0, size):
            return
        if _taken(kept, block):
            block.close()
