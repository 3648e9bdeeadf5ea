"""Bringing a file to its server while it is being written."""

from __future__ import annotations

import threading
import time

from store_lib.drivers._access import Operations
from store_lib.interface import MIB

__all__ = ["Flushing"]

#: Bytes that are left to the flush at the end: an image of that size or less is flushed once.
_LEAST = 64 * MIB
#: Most bytes that are left to one flush, however fast the server is.
_MOST = 1024 * MIB
#: Fewer bytes at a time are not worth a call that has them sent.
_WORTH = MIB
#: How many times a flush that takes as long as the one before fits into the time of a call.
_MARGIN = 8


class Flushing:
    """Has a file sent to its server while it grows, so that every flush fits into the time of one call.

    The kernel keeps in memory what is written, by gigabytes where it has them, and a flush of that at the end would
    take minutes with a slow server: too long for a call that is given up when the server hangs.  So the kernel is told
    to send what is written as it comes, and made to wait for all of it from time to time: after as many bytes as the
    server was seen to take in an eighth of that time.

    Safe for threads.

    :param io: where the file is open.
    :param timeout: seconds for one call.
    """

    def __init__(self, io: Operations, timeout: float) -> None:
        self._io = io
        self._aim = timeout / _MARGIN
        self._limit = _LEAST
        self._total = self._waiting = 0
        self._since = time.monotonic()
        self._lock = threading.Lock()

    def wrote(self, file: int, offset: int, size: int) -> None:
        """Note that `size` bytes of `file` were written at `offset`, and flush it if it is time to.

        :raises OSError: something was lost of what was written, now or before; the kernel tells that once.
        """
        with self._lock:
            self._total += size
            self._waiting += size
            if self._waiting > self._limit:
                self._flush(file)
            elif self._total > _LEAST and size >= _WORTH:
                self._io.send_on(file, offset, size)

    def _flush(self, file: int) -> None:
        self._io.flush(file)
        now = time.monotonic()
        rate = self._waiting / max(now - self._since, 0.001)
        self._limit = min(max(_LEAST, int(rate * self._aim)), _MOST)
        self._since, self._waiting = now, 0
