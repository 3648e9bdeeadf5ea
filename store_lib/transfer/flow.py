"""One transfer's bookkeeping between the caller's thread and the tasks that work for it."""

from __future__ import annotations

import collections
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

from store_lib import errors
from store_lib.runtime import GRACE, Clock, Pool, Task, generation

__all__ = ["Flow", "Line", "Slot"]

_POLL = 0.1


class Slot:
    """A buffer for one part, free again once everybody who looks at its bytes has let go.

    :param block: the whole buffer.
    """

    __slots__ = ("block", "tainted", "users")

    def __init__(self, block: memoryview) -> None:
        self.block = block
        self.users = 0
        #: A backend may still read it after a request whose outcome is unknown: never used again.
        self.tainted = False


class Flow:
    """Tasks of one transfer, their first failure, and the buffers they hold.

    The caller's thread is the only one that waits here; tasks only report.

    :param check: the caller's cancellation; raises.
    :param tick: called in the caller's thread some ten times a second while it waits, and once a part.
    :param timeout: seconds that one backend request may take before its thread is given up; None is no limit.
    :param stop: set when the transfer is over.
    """

    def __init__(
        self,
        clock: Clock,
        check: Callable[[], None],
        tick: Callable[[], None],
        timeout: float | None,
        stop: threading.Event | None = None,
    ) -> None:
        self.stop = stop or threading.Event()
        self._generation = generation()
        self._clock = clock
        self._check = check
        self._tick = tick
        self._timeout = timeout
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._tasks: dict[Task, Pool] = {}
        self._requests: dict[int, float] = {}
        self._free: list[Slot] = []
        self._slots: list[Slot] = []

    @property
    def elsewhere(self) -> bool:
        """Whether this is a forked child that unwinds: the transfer, its tasks and all it made are the parent's."""
        return generation() != self._generation

    # -- in the caller's thread ---------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise what ended the transfer: the caller's cancellation or the first failure of a task."""
        self._check()
        if self._error is not None:
            raise self._error

    def wait(self, ready: Callable[[], bool]) -> None:
        """Return once `ready()`; raises as `check`, and when a request does not come back."""
        while True:
            self.check()
            self._tick()
            if self._overdue():
                raise errors.OperationTimeout(f"the storage did not answer within {self._timeout:g} s")
            for pool in set(self._tasks.copy().values()):
                pool.check()  # no thread may be left that would do what is in its queue
            with self._changed:
                if self._error is None and ready():
                    return
                self._changed.wait_for(lambda: self._error is not None or ready(), _POLL)

    def submit(self, pool: Pool, work: Callable[[], None]) -> None:
        """Have `work` run in `pool`; an error of it ends the transfer."""
        ended: list[bool] = []
        task: Task | None = None
        todo: Callable[[], None] | None = work
        del work

        def guarded() -> None:
            nonlocal task, todo
            try:
                if not self.stop.is_set():
                    assert todo is not None
                    todo()
            except BaseException as error:
                self.fail(error)
            finally:
                todo = None  # it refers to the bytes of a part, and the task to this function
                with self._changed:
                    ended.append(True)
                    if task is not None:
                        self._tasks.pop(task, None)
                    task = None
                    self._changed.notify_all()

        submitted = pool.submit(guarded)
        with self._changed:
            if not ended:
                task = submitted
                self._tasks[submitted] = pool

    @property
    def running(self) -> int:
        """Tasks that have not ended."""
        return len(self._tasks)

    def drain(self) -> None:
        """Wait until every task has ended; raises as `wait`."""
        self.wait(lambda: not self._tasks)

    def end(self) -> None:
        """Stop: withdraw what has not begun, wait for the requests under way and give up those that do not end."""
        if self.elsewhere:
            return
        self.stop.set()
        with self._changed:
            tasks = list(self._tasks.items())
        for task, pool in tasks:
            if pool.withdraw(task):
                self._forget(task)
        with self._changed:
            while self._tasks and not self._overdue():
                self._changed.wait(_POLL)
            tasks = list(self._tasks.items())
            for slot in self._slots:
                slot.tainted = slot.tainted or bool(tasks and slot.users)
        for task, pool in tasks:
            pool.abandon(task)
            self._forget(task)

    # -- buffers ------------------------------------------------------------------------------------------------------

    def add_slots(self, blocks: list[memoryview]) -> None:
        """Use `blocks` from now on."""
        slots = [Slot(block) for block in blocks]
        with self._changed:
            self._slots += slots
            self._free += reversed(slots)

    def drop_slots(self) -> bool:
        """Forget all buffers; return whether somebody may still look at one of them."""
        if self.elsewhere:
            return True
        with self._changed:
            lost = any(slot.tainted for slot in self._slots)
            self._slots, self._free = [], []
        return lost

    def take_slot(self, replace: Callable[[int], memoryview]) -> Slot:
        """Return a free buffer, waiting for one if need be.

        :param replace: makes a buffer of a size in bytes in the place of one that is lost.
        """
        self.wait(lambda: bool(self._free) or all(slot.tainted for slot in self._slots))
        with self._changed:
            if self._free:
                return self._free.pop()
            lost = self._slots.pop()
            slot = Slot(replace(len(lost.block)))
            self._slots.append(slot)
            return slot

    def hold(self, slot: Slot, users: int) -> None:
        """Note that `users` tasks are about to look at `slot`."""
        slot.users = users

    # -- in any thread ------------------------------------------------------------------------------------------------

    def let_go(self, slot: Slot) -> None:
        """Note that one user of `slot` is done with it."""
        with self._changed:
            slot.users -= 1
            if slot.users == 0 and not slot.tainted and slot in self._slots:
                self._free.append(slot)
            self._changed.notify_all()

    def taint(self) -> None:
        """Never use any of the buffers again: a backend may still look at them."""
        with self._changed:
            for slot in self._slots:
                slot.tainted = True

    def fail(self, error: BaseException) -> None:
        """End the transfer with `error` unless it has failed already."""
        with self._changed:
            if self._error is None:
                self._error = error
            self.stop.set()
            self._changed.notify_all()

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Note the time that one request to the backend takes in this thread."""
        ident = threading.get_ident()
        self._requests[ident] = self._clock.monotonic()
        try:
            yield
        finally:
            self._requests.pop(ident, None)

    # -- within -------------------------------------------------------------------------------------------------------

    def _overdue(self) -> bool:
        """Whether a request has taken so long that its thread is to be given up."""
        if self._timeout is None:
            return False
        now = self._clock.monotonic()
        return any(now - began > self._timeout + GRACE for began in list(self._requests.values()))

    def _forget(self, task: Task) -> None:
        with self._changed:
            self._tasks.pop(task, None)


class Line:
    """Work that is done in the order in which it came, `width` pieces at once: a short task for each, no parked thread.

    :param work: called with each piece in some thread of `pool`; an error of it ends `flow`.
    """

    def __init__(self, work: Callable[[Any], None], pool: Pool, flow: Flow, width: int = 1) -> None:
        self._work = work
        self._pool = pool
        self._flow = flow
        self._width = width
        self._waiting: collections.deque[Any] = collections.deque()
        self._lock = threading.Lock()
        self._active = 0

    def put(self, piece: Any) -> None:
        """Have `piece` worked on; never waits."""
        with self._lock:
            if self._active == self._width:
                self._waiting.append(piece)
                return
            self._active += 1
        self._flow.submit(self._pool, functools.partial(self._step, piece))

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is worked on."""
        return not self._active

    def _step(self, piece: Any) -> None:
        self._work(piece)
        del piece
        with self._lock:
            if not self._waiting:
                self._active -= 1
                return
            following = self._waiting.popleft()
        self._flow.submit(self._pool, functools.partial(self._step, following))
