"""The context of one operation, as drivers see it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from store_lib import errors
from store_lib.interface import Owner
from store_lib.runtime.clock import Deadline
from store_lib.runtime.pool import Pool

__all__ = ["OperationContext"]

#: Pieces of a map that run at once at most.
_WAYS = 16

T = TypeVar("T")
R = TypeVar("R")


class OperationContext:
    """What accompanies one operation through the driver; safe for threads.

    :param caller: the service's own request context, opaque.
    :param owner: written into what the operation makes.
    :param timeout: seconds for one backend request, None for no limit.
    :param deadline: of the whole operation.
    :param stop: set once the operation should not go on.
    :param pool: threads for `map`.
    :param missing_ok: whether a delete may end without a word when there is no image.
    """

    def __init__(
        self,
        *,
        caller: Any,
        owner: Owner,
        timeout: float | None,
        deadline: Deadline,
        stop: threading.Event,
        pool: Pool,
        missing_ok: bool = False,
    ) -> None:
        self.caller = caller
        self.missing_ok = missing_ok
        self.owner = owner
        self.stop = stop
        #: Items that `map` has worked on so far: while that grows, the operation goes on.
        self.done = 0
        self._timeout = timeout
        self._deadline = deadline
        self._pool = pool

    @property
    def timeout(self) -> float | None:
        """Seconds that one backend request may take from now on; None is no limit."""
        left = self._deadline.left()
        if self._timeout is None or left is None:
            return left if self._timeout is None else self._timeout
        return min(self._timeout, left)

    def check(self) -> None:
        """Raise Cancelled or OperationTimeout when the operation should not go on."""
        if self.stop.is_set():
            raise errors.Cancelled("the operation was cancelled")
        if self._deadline.over:
            raise errors.OperationTimeout("the operation took longer than it may")

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Run `function` on every item, several at once; see `store_lib.interface.Context.map`."""
        return _Mapping(self, function, items).run(self._pool)


class _Mapping:
    """One parallel map.  The caller works with the others, so it ends even when no thread can be had."""

    def __init__(self, ctx: OperationContext, function: Callable[[Any], Any], items: Iterable[Any]) -> None:
        self._ctx = ctx
        self._function = function
        self._items: Iterator[tuple[int, Any]] = enumerate(items)
        self._changed = threading.Condition()
        self._results: dict[int, Any] = {}
        self._error: BaseException | None = None
        self._running = 0
        self._exhausted = False

    def run(self, pool: Pool) -> list[Any]:
        tasks = [pool.submit(self._in_pool(pool)) for _ in range(max(0, min(pool.limit, _WAYS) - 1))]
        while self._one():
            pass
        for task in tasks:
            pool.withdraw(task)
        with self._changed:
            self._changed.wait_for(lambda: not self._running)
        if self._error is not None:
            raise self._error
        return [result for _, result in sorted(self._results.items())]

    def _in_pool(self, pool: Pool) -> Callable[[], None]:
        def work() -> None:
            if self._one():
                with contextlib.suppress(errors.StoreLibError):  # the caller does the rest by itself
                    pool.submit(work)  # one item a task: other transfers get their turn

        return work

    def _take(self) -> tuple[int, Any] | None:
        with self._changed:
            if self._error is not None or self._exhausted:
                return None
            try:
                self._ctx.check()
                item = next(self._items)
            except StopIteration:
                self._exhausted = True
                return None
            except BaseException as error:
                self._error = error
                return None
            self._running += 1
            return item

    def _one(self) -> bool:
        """Work on one item; return whether there was one."""
        taken = self._take()
        if taken is None:
            return False
        index, item = taken
        result, failure = None, None
        try:
            result = self._function(item)
        except BaseException as error:
            failure = error
        with self._changed:
            self._running -= 1
            self._ctx.done += 1
            self._results[index] = result
            self._error = self._error or failure
            self._changed.notify_all()
        return True
