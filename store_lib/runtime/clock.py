"""Time, in one place so that tests can bend it, and deadlines."""

from __future__ import annotations

import datetime
import threading
import time

__all__ = ["Clock", "Deadline"]


class Clock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        return time.monotonic()

    def wall(self) -> datetime.datetime:
        """Return the time of day, UTC."""
        return datetime.datetime.now(datetime.UTC)

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> None:
        """Wait `seconds`, or until `wake` is set."""
        if wake is None:
            time.sleep(seconds)
        else:
            wake.wait(seconds)


class Deadline:
    """A moment after which waiting makes no sense.

    :param seconds: from now; None never ends.
    """

    def __init__(self, seconds: float | None, clock: Clock) -> None:
        self._clock = clock
        self._end = None if seconds is None else clock.monotonic() + seconds

    def left(self) -> float | None:
        """Return the seconds left, at least 0; None without an end."""
        return None if self._end is None else max(0.0, self._end - self._clock.monotonic())

    @property
    def over(self) -> bool:
        """Whether the moment has passed."""
        return self._end is not None and self._clock.monotonic() >= self._end
