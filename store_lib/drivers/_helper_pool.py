"""The helper processes of a store: how many there are, who gets which, and what is done while the file system hangs.

There are never more than their limit, those that were killed and have not ended yet included: while there is one of
these, the file system hangs, and whoever asks is told so at once.

Few of them open their first directory at a time.  A file system that hangs is found out by these few; were all of them
started one after another, the last caller would learn of it much later than the first.
"""

from __future__ import annotations

import logging
import threading
import time

from store_lib import errors
from store_lib.drivers._helper import Helper, others_hang, soonest

__all__ = ["Helpers"]

LOG = logging.getLogger(__name__)

#: How long a helper that was killed or told to end is waited for, seconds; one that hangs in the kernel takes longer.
_REAP = 0.2
#: Helpers that work on their first directory at the same time, at most.
_BEGINNING = 2
#: Seconds in which nobody tries whether the file system answers again: of those who had to wait for a thread while
#: others found out that it hangs, each would wait as long once more.
_PAUSE = 2.0


class Helpers:
    """The helper processes of one store; safe for threads.  Belongs to one process: make it anew after a fork.

    :param limit: processes at most.
    :param timeout: seconds for one call.
    :param threshold: share of `limit` in use, in percent, from which a warning is logged.
    """

    def __init__(self, limit: int, timeout: float, threshold: int) -> None:
        self._limit = limit
        self._timeout = timeout
        self._threshold = threshold
        self._lock = threading.Lock()
        self._change = threading.Condition(self._lock)
        self._waiting = 0
        self._closed = False
        self._helpers: list[Helper] = []
        self._warned = False
        #: When a call was last given up, until one is answered again.
        self._silent: float | None = None
        #: Who finds out whether the file system answers again, and until when nobody else has to.
        self._trial: tuple[Helper, float] | None = None

    def choose(self) -> Helper:
        """Return the helper with the least to do, a new one where all are busy and their limit allows.

        While others begin, and may find out that the file system hangs, a new one has to wait for them: no longer than
        for one call.  While the file system hangs, one caller at a time finds out whether it still does, not before a
        moment has passed; the others, and those that wait when it is found out, are told at once.

        :raises StoreUnavailable: the file system hangs, or the store was closed meanwhile.
        """
        deadline = soonest(time.monotonic() + self._timeout)
        with self._lock:
            waited = False
            self._waiting += 1  # before looking, so that no change after the look is missed
            try:
                while (found := self._found(waited)) is None:
                    waited = True
                    if not self._change.wait(max(0.0, deadline - time.monotonic())):
                        raise others_hang(self._timeout)
                return found
            finally:
                self._waiting -= 1

    def _found(self, waited: bool) -> Helper | None:
        if self._closed:
            raise errors.StoreUnavailable("the store was closed meanwhile", transient=False)
        self._reap()
        silent = self._silent_for()
        if silent is not None and (waited or self._stuck() or self._trying() or self._just_lost()):
            raise errors.StoreUnavailable(
                f"the file system has not answered for {silent:.0f} s; nothing is begun before", transient=False
            )
        found = min((helper for helper in self._helpers if helper.usable), key=_busy, default=None)
        if found is None or (_busy(found) and len(self._helpers) < self._limit):
            if sum(helper.beginning for helper in self._helpers) >= _BEGINNING:
                return None
            found = Helper(self._timeout, self._tell)
            self._helpers.append(found)
            self._warn()
        if silent is not None:
            self._trial = found, time.monotonic() + self._timeout
        return found

    def _tell(self) -> None:
        """Have those that wait look again."""
        if self._waiting:
            with self._lock:
                self._change.notify_all()

    def _stuck(self) -> bool:
        """Whether one that was killed has not ended: the kernel holds it in the middle of a call."""
        return any(not helper.usable for helper in self._helpers)

    def _trying(self) -> bool:
        return self._trial is not None and self._trial[0].usable and time.monotonic() < self._trial[1]

    def _just_lost(self) -> bool:
        """Whether a call was given up a moment ago."""
        return self._silent is not None and time.monotonic() - self._silent < _PAUSE

    def _silent_for(self) -> float | None:
        lost = [helper.lost_since for helper in self._helpers if helper.lost_since is not None]
        since = min([*lost, *([] if self._silent is None else [self._silent])], default=None)
        return None if since is None else time.monotonic() - since + self._timeout

    def hung_for(self) -> float | None:
        """Return for how many seconds the file system has not answered, None when it does."""
        with self._lock:
            self._reap()
            return self._silent_for()

    def close(self) -> None:
        """End all helpers; one that hangs is killed and ends when the kernel lets it."""
        with self._lock:
            helpers, self._helpers = self._helpers, []
            self._closed = True
            self._change.notify_all()
        for helper in helpers:
            helper.kill()
        for helper in helpers:
            helper.reaped(_REAP)

    def forget(self) -> None:
        """In a forked child: close the inherited ends, without a word to the processes, which are the parent's."""
        for helper in self._helpers:
            helper.forget()
        self._helpers = []

    def _reap(self) -> None:
        for helper in self._helpers:
            if helper.overdue and helper.lost_since is not None:
                self._silent = max(self._silent or 0.0, helper.lost_since)
        if self._silent is not None and any(helper.answered > self._silent for helper in self._helpers):
            self._silent = self._trial = None
        now = time.monotonic()  # one that was killed just now gets the time to end, one that hangs delays nobody
        self._helpers = [
            helper
            for helper in self._helpers
            if helper.usable or not helper.reaped(_REAP - (now - (helper.lost_since or now)))
        ]

    def _warn(self) -> None:
        busy = len(self._helpers) * 100 >= self._limit * self._threshold
        if busy and not self._warned:
            LOG.warning(
                "%d of at most %d helper processes are in use; raise filesystem_store_thread_pool_size if more "
                "transfers run at once",
                len(self._helpers),
                self._limit,
            )
        self._warned = busy


def _busy(helper: Helper) -> int:
    return helper.load + helper.files
