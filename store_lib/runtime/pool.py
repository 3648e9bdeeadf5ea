"""Threads of one store: few, shared by all its transfers, never waited for at exit.

A task is short: it runs one request or one digest step and never waits for another task or for the caller's source,
so any number of transfers ends on a pool of any size.  A task that is stuck in C (a dead NFS server, a client library
without time-out) is abandoned: its thread no longer counts, and another may take its place up to a bound, after which
the pool refuses work at once instead of hanging with it.
"""

from __future__ import annotations

import collections
import logging
import sys
import threading
from collections.abc import Callable

from store_lib import errors
from store_lib.runtime.clock import Clock, Deadline
from store_lib.runtime.process import on_fork

__all__ = ["Pool", "Task", "cooperative"]

LOG = logging.getLogger(__name__)

_IDLE = 5.0


def cooperative() -> bool:
    """Whether eventlet has replaced the threads of this process, so that real ones can't be waited for."""
    eventlet = sys.modules.get("eventlet.patcher")
    return bool(eventlet and eventlet.is_monkey_patched("thread"))


class Task:
    """One piece of work in a pool.

    :param work: called without arguments; must not raise.
    """

    __slots__ = ("abandoned", "done", "started", "work")

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.started: float | None = None
        self.done = False
        self.abandoned = False


class Pool:
    """Daemon threads, made when there is work, gone when there was none for some seconds.

    :param limit: threads at most; 0 runs all work in the caller's thread.
    :param name: of the threads, for people who look at a stack dump.
    """

    def __init__(self, limit: int, name: str, clock: Clock) -> None:
        self.limit = limit
        self.name = name
        self._clock = clock
        self._closed = False
        self._reset()
        on_fork(self)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._queue: collections.deque[Task] = collections.deque()
        self._running: set[Task] = set()
        self._stuck: set[Task] = set()
        self._threads = 0
        self._idle = 0

    def after_fork(self) -> None:
        """Start anew in the child, where none of the threads exists."""
        self._reset()

    @property
    def threads(self) -> int:
        """Threads alive, the stuck ones included."""
        return self._threads + len(self._stuck)

    def stuck(self) -> list[float]:
        """Return for how many seconds each abandoned task has been running."""
        now = self._clock.monotonic()
        with self._changed:
            return sorted((now - (task.started or now) for task in self._stuck), reverse=True)

    def submit(self, work: Callable[[], None]) -> Task:
        """Have `work` run soon; in this very call when no thread can be had at all.

        :raises StoreUnavailable: too many threads are stuck in the backend.
        :raises StoreClosed: the pool was closed.
        """
        task = Task(work)
        with self._changed:
            if self._closed:
                raise errors.StoreClosed("the store was closed")
            self._refuse_if_stuck()
            if self._has_thread():
                self._queue.append(task)
                self._changed.notify()
                return task
        task.started = self._clock.monotonic()
        work()
        task.done = True
        return task

    def check(self) -> None:
        """Raise StoreUnavailable when so many threads are stuck that nothing may be submitted."""
        with self._changed:
            self._refuse_if_stuck()

    def withdraw(self, task: Task) -> bool:
        """Take `task` back if no thread has begun it; return whether that was so."""
        with self._changed:
            try:
                self._queue.remove(task)
            except ValueError:
                return False
            return True

    def abandon(self, task: Task) -> None:
        """Stop waiting for `task`: it is withdrawn, or its thread is given up until it comes back by itself."""
        with self._changed:
            if task in self._running:
                self._running.discard(task)
                self._stuck.add(task)
                task.abandoned = True
                self._threads -= 1
                LOG.warning(
                    "a thread of %s does not come back from the storage; %d so far", self.name, len(self._stuck)
                )
                if self._queue and len(self._stuck) < self.limit:
                    self._has_thread()  # what waits would wait for the one that is stuck
            elif task in self._queue:
                self._queue.remove(task)

    def close(self, timeout: float) -> list[str]:
        """Take no more work, wait at most `timeout` seconds for what was taken, return what is stuck in a line each.

        What is in the queue is still done, since somebody waits for it.
        """
        deadline = Deadline(timeout, self._clock)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while self._threads and not deadline.over:
                self._changed.wait(deadline.left())
            left = len(self._running) + len(self._stuck)
        return [f"{self.name}: {left} thread(s) did not come back from the storage"] if left else []

    def _refuse_if_stuck(self) -> None:
        if self.limit and len(self._stuck) >= self.limit:
            since = max(self._clock.monotonic() - (task.started or 0) for task in self._stuck)
            raise errors.StoreUnavailable(
                f"{len(self._stuck)} requests have not come back from the storage, the oldest for {since:.0f} s; "
                "no more are begun until they do"
            )

    def _has_thread(self) -> bool:
        """Return whether a thread will serve the queue, making one where that is allowed; the lock is held."""
        if self._idle > len(self._queue):
            return True
        if self._threads < self.limit:
            try:
                threading.Thread(target=self._serve, name=self.name, daemon=True).start()
            except RuntimeError:  # the process may have no more threads
                return self._threads > 0
            self._threads += 1
            return True
        return self._threads > 0

    def _serve(self) -> None:
        while (task := self._next()) is not None:
            try:
                task.work()
            except BaseException:  # a bug: tasks report their errors themselves
                LOG.exception("a task of %s failed", self.name)
            task.done = True
            if self._ended(task):
                return
            del task  # it refers to the bytes of a part, which an idle thread must not hold

    def _next(self) -> Task | None:
        with self._changed:
            self._idle += 1
            if not self._queue and not self._closed:
                self._changed.wait_for(lambda: self._queue or self._closed, _IDLE)
            self._idle -= 1
            if not self._queue:
                self._threads -= 1
                self._changed.notify_all()
                return None
            task = self._queue.popleft()
            task.started = self._clock.monotonic()
            self._running.add(task)
            return task

    def _ended(self, task: Task) -> bool:
        """Note the end of `task`; return whether its thread is surplus since another took its place."""
        with self._changed:
            self._running.discard(task)
            self._stuck.discard(task)
            if task.abandoned and self._queue and self._threads < self.limit:
                self._threads += 1  # nobody took its place
                return False
            return task.abandoned
