"""The bytes of an image that is open: asked for again where an answer broke off, several ranges at once, in order."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import threading
from collections.abc import Iterator
from typing import Any

from store_lib import errors
from store_lib.interface import MIB, Download, Driver, Extent, Limits
from store_lib.runtime import GRACE, StoreRuntime, Task
from store_lib.transfer.plan import Plan, plan
from store_lib.transfer.retry import Retry
from store_lib.transfer.seam import Seam

__all__ = ["Body", "ahead", "ahead_memory", "helps", "stream"]

LOG = logging.getLogger(__name__)

_POLL = 0.1
_ZEROES = bytes(MIB)
#: Seconds that a range waits for a thread before the reader's own fetches it, where no time-out holds.
_PATIENCE = 0.02
#: Share of the store's memory that one reader takes at most: what it fetches, its user holds once more for a moment.
_SHARE = 8


@dataclasses.dataclass(frozen=True)
class Body:
    """An open image, and what reading it needs; safe for threads.

    :param stop: set when it is closed.
    """

    download: Download
    seam: Seam
    retry: Retry
    runtime: StoreRuntime
    stop: threading.Event

    def check(self) -> None:
        """Raise ValueError, as files do, once the image is closed."""
        if self.stop.is_set():
            raise ValueError("the image was closed")


def stream(body: Body, at: int, end: int) -> Iterator[bytes]:
    """Yield the bytes from `at` to `end`, asking again at the offset where an answer broke off."""
    answer: Iterator[bytes] = iter(())
    start = at

    def ask() -> tuple[Iterator[bytes], bytes]:
        if at > start and not body.download.limits.ranges:
            problem = f"the image broke off after {at} bytes, and this store reads from the beginning only"
            raise errors.StoreUnavailable(problem, transient=False)
        found = body.seam.iterate(body.download.read(at, end - at))
        chunk = next(found, b"")
        if not chunk:
            raise errors.StoreUnavailable(f"the image broke off after {at} bytes, {end - at} before its end")
        return found, chunk

    try:
        while at < end:
            chunk = _pull(answer)
            if not chunk:
                answer, chunk = body.retry.call(ask)
            if len(chunk) > end - at:
                chunk = chunk[: end - at]  # never more than was asked for: its length may have been announced
            at += len(chunk)
            yield chunk
    finally:
        close = getattr(answer, "close", None)
        if close is not None:
            close()


def _pull(answer: Iterator[bytes]) -> bytes:
    """Return the next chunk, nothing when the answer ended or broke off in a passing way."""
    try:
        return next(answer, b"")
    except errors.StoreLibError as error:
        if not error.transient:
            raise
        LOG.info("an image broke off and is resumed: %s", str(error))
        return b""


def ahead_memory(driver: Driver[Any], runtime: StoreRuntime, size: int) -> int:
    """Return the bytes that reading an image of `size` bytes ahead will take, guessed before it is opened."""
    limits = driver.limits
    ways = min(limits.parallel, runtime.base.parallel or limits.parallel)
    if ways < 2 or size <= (runtime.base.part_size or limits.part_size) or not runtime.pool.limit:
        return 0
    return _plan(runtime, Limits(limits.part_size, parallel=limits.parallel), size).memory


def _plan(runtime: StoreRuntime, limits: Limits, left: int) -> Plan:
    base = runtime.base
    share = max(runtime.budget.limit // _SHARE, base.part_size or limits.part_size)
    return plan(left, limits, share, part_size=base.part_size, parallel=base.parallel, depth=1)


@contextlib.contextmanager
def _memory(body: Body, made: Plan, lent: int | None) -> Iterator[int]:
    """Yield the bytes that ranges read ahead may take, 0 where that would mean to wait.

    Waiting for memory would never end for a caller who holds it: for an upload's source, or with many readers.
    """
    least = 2 * made.part_size
    if lent is not None:
        yield min(lent, made.memory) if lent >= least else 0
        return
    grant = body.runtime.budget.try_acquire(made.memory, least)
    try:
        yield grant.size if grant else 0
    finally:
        if grant:
            grant.release()


def helps(body: Body, left: int) -> bool:
    """Return whether a range of `left` bytes is read faster by several requests at once."""
    limits, base = body.download.limits, body.runtime.base
    ways = min(limits.parallel, base.parallel or limits.parallel)
    return ways > 1 and limits.ranges and left > (base.part_size or limits.part_size) and bool(body.runtime.pool.limit)


def ahead(body: Body, at: int, end: int, lent: int | None) -> Iterator[bytes]:
    """Yield the bytes from `at` to `end`, several ranges being fetched at once where there is memory for that.

    Large holes are not asked for, and take nothing of that memory.

    :param lent: bytes of memory that the caller was granted for it, in which to stay; None to ask for some here.
    """
    made = _plan(body.runtime, body.download.limits, end - at)
    with _memory(body, made, lent) as memory:
        count = memory // made.part_size
        if not count:
            yield from stream(body, at, end)
            return
        waiting: collections.deque[_Range | _Hole] = collections.deque()
        fetched = 0
        try:
            for start, stop, hole in _cut(body, at, end, made.part_size):
                waiting.append(_Hole(stop - start) if hole else _Range(body, start, stop))
                fetched += not hole
                while fetched >= count:
                    first = waiting.popleft()
                    fetched -= isinstance(first, _Range)
                    yield from first.chunks()
            while waiting:
                yield from waiting.popleft().chunks()
        finally:
            for each in waiting:
                each.give_up()


def _cut(body: Body, at: int, end: int, size: int) -> Iterator[tuple[int, int, bool]]:
    """Yield start, end and whether it is a hole: holes of at least `size` bytes, and pieces of what is between."""

    def holes() -> list[Extent]:
        with body.seam:
            found = body.download.extents(at, end - at)
        return [each for each in body.seam.iterate(found or ()) if each.hole and each.length >= size]

    for hole in [*body.retry.call(holes), Extent(end, 0, True)]:
        for start in range(at, hole.offset, size):
            yield start, min(start + size, hole.offset), False
        at = hole.offset + hole.length
        if hole.length:
            yield hole.offset, at, True


class _Hole:
    """A range of zeroes."""

    def __init__(self, length: int) -> None:
        self._left = length

    def chunks(self) -> Iterator[bytes]:
        """Yield them."""
        while self._left:
            chunk = _ZEROES[: self._left]
            self._left -= len(chunk)
            yield chunk

    def give_up(self) -> None:
        """Nothing was begun."""


class _Range:
    """A range that some thread fetches into memory."""

    def __init__(self, body: Body, start: int, end: int) -> None:
        self._body = body
        self._span = (start, end)
        self._got: collections.deque[bytes] = collections.deque()
        self._error: BaseException | None = None
        self._wanted = True
        self._ended = threading.Event()
        self._last = body.runtime.clock.monotonic()
        self._task: Task | None = body.runtime.pool.submit(self._fetch)

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes, fetched in this thread if no other has begun; raises what fetching them raised.

        Each chunk is let go of as it is given out: what was read ahead must not stay in memory after its use.
        """
        task, self._task = self._task, None  # it refers to this object, and only a garbage collection would find that
        if task is not None and not self._ended.wait(_PATIENCE) and self._body.runtime.pool.withdraw(task):
            self._fetch()
        self._wait(task)
        if self._error is not None:
            raise self._error
        while self._got:
            yield self._got.popleft()

    def give_up(self) -> None:
        """Let the range be: nobody will ask for it."""
        self._wanted = False
        task, self._task = self._task, None
        if task is not None:
            self._body.runtime.pool.withdraw(task)

    def _fetch(self) -> None:
        body = self._body
        try:
            for chunk in stream(body, *self._span):
                self._got.append(chunk)
                self._last = body.runtime.clock.monotonic()
                body.check()
                if not self._wanted:
                    break
        except BaseException as error:
            self._error = error
        self._ended.set()

    def _wait(self, task: Task | None) -> None:
        runtime = self._body.runtime
        timeout = runtime.base.operation_timeout
        began = runtime.clock.monotonic()
        while not self._ended.wait(_POLL):
            self._body.check()
            quiet = runtime.clock.monotonic() - max(began, self._last)
            if timeout is not None and quiet > timeout + GRACE + runtime.base.retry_deadline:
                if task is not None:
                    runtime.pool.abandon(task)
                raise errors.OperationTimeout(f"the storage sent nothing for {quiet:.0f} s")
