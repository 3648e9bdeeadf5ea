"""The memory that the transfers of one store may take together."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable
from types import TracebackType

from store_lib import errors
from store_lib.runtime.clock import Deadline
from store_lib.runtime.process import on_fork

__all__ = ["Budget", "Grant"]

_POLL = 0.1


@dataclasses.dataclass(eq=False)
class _Request:
    want: int
    least: int
    granted: int = 0


class Grant:
    """Bytes that were granted; to be given back once, by `release` or at the end of ``with``."""

    def __init__(self, budget: Budget, size: int) -> None:
        self.size = size
        self._budget = budget
        self._open = True

    def release(self) -> None:
        """Give the bytes back; harmless when repeated; from any thread."""
        if self._open:
            self._open = False
            self._budget._give_back(self.size)

    def __enter__(self) -> Grant:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()


class Budget:
    """Grants memory whole and first come, first served: a grant is never grown, so nobody waits while holding one.

    :param limit: bytes in all.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._reset()
        on_fork(self)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._free = self.limit
        self._queue: collections.deque[_Request] = collections.deque()

    def after_fork(self) -> None:
        """Start anew: the transfers that held memory run in the parent."""
        self._reset()

    @property
    def used(self) -> int:
        """Bytes that are granted now."""
        return self.limit - self._free

    def acquire(self, want: int, least: int, deadline: Deadline, check: Callable[[], None]) -> Grant:
        """Return a grant of `want` bytes, or of less down to `least` when no more is free at this one's turn.

        :param check: called some ten times a second while waiting; raises to give up (cancellation).
        :raises Busy: nothing became free before `deadline`.
        """
        want, least = min(want, self.limit), min(least, self.limit)
        request = _Request(want, least)
        with self._changed:
            self._queue.append(request)
            self._serve()
            try:
                while not request.granted and want:
                    if deadline.over:
                        raise errors.Busy(
                            f"no memory became free in time: all {self.limit} bytes of memory_limit are in use; "
                            "raise memory_limit or queue_timeout, or send fewer images at once"
                        )
                    self._changed.wait(_POLL)
                    check()
            except BaseException:
                if request.granted:
                    self._free += request.granted
                else:
                    self._queue.remove(request)
                self._serve()
                raise
        return Grant(self, request.granted)

    def try_acquire(self, want: int, least: int) -> Grant | None:
        """Return a grant as `acquire` does, or None when that would mean to wait."""
        with self._changed:
            free = 0 if self._queue else self._free
            granted = min(want, free)
            if granted < min(least, want):
                return None
            self._free -= granted
        return Grant(self, granted)

    def _serve(self) -> None:
        """Grant to the head of the queue as long as it can be served; the lock is held."""
        while self._queue and self._free >= self._queue[0].least:
            request = self._queue.popleft()
            request.granted = min(request.want, self._free)
            self._free -= request.granted
        self._changed.notify_all()

    def _give_back(self, size: int) -> None:
        with self._changed:
            self._free = min(self.limit, self._free + size)
            if self._queue:
                self._serve()
