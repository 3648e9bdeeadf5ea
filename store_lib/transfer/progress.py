"""Progress, told at most ten times a second and always from the caller's thread."""

from __future__ import annotations

from collections.abc import Callable

from store_lib.runtime import Clock

__all__ = ["Progress", "ProgressFunction"]

#: Called with the bytes done and the bytes in all (None: not known).
ProgressFunction = Callable[[int, int | None], None]

_INTERVAL = 0.1


class Progress:
    """Passes progress on, thinned out.

    :param function: the caller's; what it raises ends the transfer.
    """

    def __init__(self, function: ProgressFunction | None, total: int | None, clock: Clock) -> None:
        self._function = function
        self._total = total
        self._clock = clock
        self._last: tuple[float, int, int | None] = (-1.0, -1, None)

    def show(self, done: int) -> None:
        """Tell that `done` bytes are done, unless that was told just now."""
        if self._function is None or done == self._last[1]:
            return
        now = self._clock.monotonic()
        if now - self._last[0] >= _INTERVAL:
            self._last = (now, done, self._total)
            self._function(done, self._total)

    def end(self, done: int) -> None:
        """Tell that all `done` bytes are done."""
        if self._function is not None and self._last[1:] != (done, done):
            self._last = (self._clock.monotonic(), done, done)
            self._function(done, done)
