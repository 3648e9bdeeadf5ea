"""What the spine owns once: threads, memory, time, processes."""

from __future__ import annotations

import datetime
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from store_lib import errors
from store_lib.interface import Owner
from store_lib.runtime.bandwidth import Bandwidth
from store_lib.runtime.budget import Budget, Grant
from store_lib.runtime.clock import Clock, Deadline
from store_lib.runtime.context import OperationContext
from store_lib.runtime.pool import Pool, Task, cooperative
from store_lib.runtime.process import PerProcess, PerThread, generation, is_alive, new_owner, on_fork, same_machine
from store_lib.settings import BaseSettings

__all__ = [
    "GRACE",
    "Bandwidth",
    "Budget",
    "Clock",
    "Deadline",
    "Grant",
    "OperationContext",
    "PerProcess",
    "PerThread",
    "Pool",
    "SharedRuntime",
    "StoreRuntime",
    "Task",
    "cooperative",
    "generation",
    "is_alive",
    "new_owner",
    "on_fork",
    "same_machine",
]

T = TypeVar("T")
R = TypeVar("R")

#: Seconds that a guarded call gets beyond the time-out that the driver itself keeps, whose error tells more.
GRACE = 2.0


class SharedRuntime:
    """What all stores of one `Stores` share: the clock and the threads that compute digests.

    :param threads: for digests; the default is one a processor, up to 8.  With a single processor they are computed in
        the thread that reads: others would take turns with it, and each turn costs.
    """

    def __init__(self, clock: Clock | None = None, threads: int | None = None) -> None:
        self.clock = clock or Clock()
        count = _digest_threads() if threads is None else threads
        self.digest_pool = Pool(0 if cooperative() else count, "store_lib-digest", self.clock)

    def deadline(self, seconds: float | None) -> Deadline:
        """Return a deadline `seconds` from now."""
        return Deadline(seconds, self.clock)

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Run `function` on all items at once, each in a thread of its own; results in the order of `items`."""
        chosen = list(items)
        pool = Pool(0 if cooperative() else len(chosen), "store_lib-start", self.clock)
        try:
            return _context(pool, self.clock).map(function, chosen)
        finally:
            pool.close(0)

    def close(self, timeout: float) -> list[str]:
        """End the threads; return what is stuck."""
        return self.digest_pool.close(timeout)


def _digest_threads() -> int:
    processors = len(os.sched_getaffinity(0))  # those that this process may use
    return min(8, processors) if processors > 1 else 0


def _context(pool: Pool, clock: Clock) -> OperationContext:
    stop = threading.Event()
    return OperationContext(
        caller=None, owner=new_owner(), timeout=None, deadline=Deadline(None, clock), stop=stop, pool=pool
    )


class StoreRuntime:
    """What one store owns: its threads, its memory, its bandwidth."""

    def __init__(self, store_id: str, base: BaseSettings, shared: SharedRuntime) -> None:
        self.base = base
        self.clock = shared.clock
        self.digest_pool = shared.digest_pool
        threads = 0 if cooperative() else base.max_threads
        self.pool = Pool(threads, f"store_lib-{store_id}", self.clock)
        # A store whose threads are all at work is not down, and must be able to clear away.
        self.probe_pool = Pool(min(1, threads), f"store_lib-{store_id}-probe", self.clock)
        self.abort_pool = Pool(threads, f"store_lib-{store_id}-abort", self.clock)
        self.budget = Budget(base.memory_limit)
        self.bandwidth = Bandwidth(base.bandwidth_limit, self.clock)

    def wall(self) -> datetime.datetime:
        """Return the time of day, UTC."""
        return self.clock.wall()

    def gone(self, owner: Owner) -> bool:
        """Return True when that process certainly runs no more: it was one of this very machine, and it ended."""
        return same_machine(owner) and not is_alive(owner)

    def per_process(
        self,
        factory: Callable[[], T],
        close: Callable[[T], None] = lambda value: None,
        forget: Callable[[T], None] = lambda value: None,
    ) -> PerProcess[T]:
        """Return a holder of a value that is made at first use in each process."""
        return PerProcess(factory, close, forget)

    def context(
        self,
        caller: Any = None,
        *,
        owner: Owner | None = None,
        stop: threading.Event | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
        missing_ok: bool = False,
    ) -> OperationContext:
        """Return the context of a new operation.

        :param timeout: seconds for one request instead of the store's operation_timeout.
        :param deadline: seconds for the whole operation, None for no limit.
        :param missing_ok: whether a delete may end without a word when there is no image.
        """
        return OperationContext(
            caller=caller,
            owner=owner or new_owner(),
            timeout=self.base.operation_timeout if timeout is None else timeout,
            deadline=Deadline(deadline, self.clock),
            stop=stop or threading.Event(),
            pool=self.pool,
            missing_ok=missing_ok,
        )

    def guarded(
        self,
        function: Callable[[], T],
        timeout: float | None,
        pool: Pool | None = None,
        progress: Callable[[], int] = lambda: 0,
    ) -> T:
        """Return ``function()``, given up after `timeout` seconds and some grace: then its thread is abandoned.

        Without a time-out, and where there are no threads, it is a plain call.

        :param pool: whose thread runs it instead of one of `pool`.
        :param progress: as long as what it returns is another in each such time, the call is not given up.
        :raises OperationTimeout: outcome unknown.
        """
        pool = pool or self.pool
        if timeout is None or not pool.limit:
            return function()
        call = _Call(function)
        task = pool.submit(call)
        seen = progress()
        try:
            while not (ended := call.ended.wait(timeout + GRACE)) and seen != (now := progress()):
                seen = now
        except BaseException:  # the caller is interrupted: what was begun must not go on behind its back
            if not pool.withdraw(task):
                call.ended.wait(timeout + GRACE)
            raise
        if not ended:
            if pool.withdraw(task):
                raise errors.Busy(f"no thread became free within {timeout:g} s: all max_threads are at work")
            pool.abandon(task)
            raise errors.OperationTimeout(f"the storage did not answer within {timeout:g} s")
        result: T = call.result()
        return result

    def close(self, timeout: float) -> list[str]:
        """End the threads; return what is stuck."""
        deadline = Deadline(timeout, self.clock)
        pools = (self.pool, self.probe_pool, self.abort_pool)
        return [line for pool in pools for line in pool.close(deadline.left() or 0)]


class _Call:
    """A call whose result crosses threads."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.ended = threading.Event()
        self._function = function
        self._value: Any = None
        self._error: BaseException | None = None

    def __call__(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error
        self.ended.set()

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value
