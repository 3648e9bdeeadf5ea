"""The bandwidth limit of one store: a token bucket."""

from __future__ import annotations

import threading
from collections.abc import Callable

from store_lib.runtime.clock import Clock
from store_lib.runtime.process import on_fork

__all__ = ["Bandwidth"]

_NAP = 0.1


class Bandwidth:
    """Slows its callers down to a rate that they share.

    :param rate: bytes a second; 0 is no limit.
    """

    def __init__(self, rate: int, clock: Clock) -> None:
        self.rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 0.0
        on_fork(self)

    def after_fork(self) -> None:
        """Start anew in the child."""
        self._lock = threading.Lock()
        self._next = 0.0

    def take(self, size: int, check: Callable[[], None]) -> None:
        """Wait until `size` bytes may pass.

        :param check: called some ten times a second meanwhile; raises to give up.
        """
        if not self.rate or not size:
            return
        with self._lock:
            now = self._clock.monotonic()
            until = max(now, self._next)
            self._next = until + size / self.rate
        while (left := until - self._clock.monotonic()) > 0:
            check()
            self._clock.sleep(min(left, _NAP))
