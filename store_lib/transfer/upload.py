"""Adding an image: the way of its bytes from the caller's source into a store.

`add` runs in the caller's thread: it reads the source, hands each filled buffer to the digests and to the backend, and
waits for a free one.  Digests and requests to the backend run as short tasks in the pools.  An image that fits into one
buffer takes no other thread at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from store_lib import errors
from store_lib.interface import Committed, Driver, Limits, Part, Token, Upload
from store_lib.runtime import Deadline, StoreRuntime
from store_lib.transfer.digest import Digests, Verifier
from store_lib.transfer.filler import Filled, Filler
from store_lib.transfer.flow import Flow, Line, Slot
from store_lib.transfer.plan import Plan, plan
from store_lib.transfer.progress import Progress, ProgressFunction
from store_lib.transfer.retry import Retry
from store_lib.transfer.seam import Seam
from store_lib.transfer.source import open_source
from store_lib.transfer.sparse import data_runs

__all__ = ["Added", "Request", "add"]

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Share of the store's memory that one transfer takes at most, so that others run beside it.
_SHARE = 4


@dataclasses.dataclass(frozen=True)
class Request:
    """What a caller wants added.

    :param source: file object, iterator, iterable or bytes; read by the calling thread only.
    :param size: bytes, None when not known; checked exactly.
    :param digests: hashlib's names, checked.
    :param expected: ``{name: hex}`` that the image must have, looked at before the commit.
    :param context: the service's own, opaque.
    :param verifier: sees the bytes in order; where it has a ``verify()``, that is called before the commit.
    :param progress: called with bytes done and in all, in the calling thread; an error of it ends the transfer.
    :param cancel: ends the transfer when set.
    """

    image_id: str
    source: Any
    size: int | None
    digests: tuple[str, ...]
    expected: Mapping[str, str] = dataclasses.field(default_factory=dict)
    context: Any = None
    verifier: Verifier | None = None
    progress: ProgressFunction | None = None
    cancel: threading.Event | None = None


@dataclasses.dataclass(frozen=True)
class Added:
    """What became of it.

    :param retries: how many requests had to be sent again.
    """

    committed: Committed[Any]
    size: int
    digests: Mapping[str, str]
    retries: int


def add(driver: Driver[Any], runtime: StoreRuntime, request: Request, finish: Callable[[Added], T]) -> T:
    """Put an image into a store and return what `finish` makes of it.

    On any failure nothing stays that another transfer could meet; what could not be removed is logged as a leftover.

    :param finish: looks at the committed image (reads it back, compares); when it raises, the image is removed again.
    :raises StoreLibError: every way in which a store or the declared size can fail.
    :raises Exception: what the source, the verifier or the progress function raised, unchanged.
    """
    return _Sender(driver, runtime, request).run(finish)


class _Sender:
    """One add.  Holds all state of the transfer; used by the caller's thread but for `_write`."""

    def __init__(self, driver: Driver[Any], runtime: StoreRuntime, request: Request) -> None:
        base = runtime.base
        self._driver = driver
        self._runtime = runtime
        self._request = request
        self._seam = Seam(driver)
        self._digests = Digests(request.digests, request.verifier)
        self._progress = Progress(request.progress, request.size, runtime.clock)
        self._flow = Flow(runtime.clock, self._check_cancel, self._tick, base.operation_timeout)
        self._retry = Retry(base, runtime.clock, self._flow.stop, self._count_retry, self._check_cancel)
        self._ctx = runtime.context(request.context, stop=self._flow.stop)
        self._inline = request.size is not None and request.size <= (base.part_size or Limits().part_size)
        self._lock = threading.Lock()
        self._done = self._retries = 0
        self._tokens: dict[int, tuple[Part, Token]] = {}
        self._blocks: list[memoryview] = []
        self._block_size = 0
        self._sending_commit = False
        self._committed: Committed[Any] | None = None

    def run(self, finish: Callable[[Added], T]) -> T:
        """See `add`."""
        self._flow.check()
        upload = self._retry.call(self._look)
        try:
            added = self._send(upload)
            result = finish(added)
            self._progress.end(added.size)
            self._abort(upload)
            return result
        except BaseException as error:  # an interrupt may come at any point, the last line included
            self._flow.end()
            if not self._flow.elsewhere:
                self._undo(upload, error)
                self._abort(upload)
            raise

    def _look(self) -> Upload[Any]:
        with self._seam:
            return self._call(lambda: self._driver.upload(self._request.image_id, self._request.size, self._ctx))

    # -- the way of the bytes -----------------------------------------------------------------------------------------

    def _send(self, upload: Upload[Any]) -> Added:
        source = open_source(self._request.source, self._flow.check)
        try:
            with self._planned(upload.limits) as made:
                self._inline = made.small
                filler = Filler(source, self._request.size, self._runtime.bandwidth, self._flow.check)
                self._committed = self._transfer(upload, filler, made)
        finally:
            source.finish()
        return Added(self._committed, filler.total, self._digests.result(), self._retries)

    def _transfer(self, upload: Upload[Any], filler: Filler, made: Plan) -> Committed[Any]:
        first = self._slot(made, 0)
        piece = filler.fill(first.block)
        if piece.ended:
            return self._small(upload, first, piece)
        self._inline = False
        self._digests.spread(self._runtime.digest_pool, self._flow)
        window = self._window(filler, made, first, piece)
        if window[-1][1].ended and filler.total <= upload.limits.whole_max:
            return self._whole(upload, filler.total, len(window))
        return self._parts(upload, filler, made, window)

    def _small(self, upload: Upload[Any], slot: Slot, piece: Filled) -> Committed[Any]:
        """Send an image that one buffer holds, without another thread."""
        size = len(piece.data)
        self._digests.update(piece.data)
        self._ready(size)
        if 0 < upload.limits.whole_max >= size:
            return self._commit(upload, lambda: upload.write_whole(self._part(upload.limits, 0, 0, piece)))
        self._start(upload)
        if size:
            self._room(upload, size, upload.limits.capacity, None)
            self._flow.hold(slot, 1)
            self._write(upload, 0, 0, piece, slot)
        return self._commit(upload, lambda: upload.commit(size, self._parts_written()))

    def _window(self, filler: Filler, made: Plan, slot: Slot, piece: Filled) -> list[tuple[Slot, Filled]]:
        """Fill and digest as many parts as may still go in one request, beginning with one that is filled."""
        window = [(slot, piece)]
        self._digest(slot, piece)
        while len(window) < made.window and not piece.ended:
            slot = self._slot(made, len(window))
            piece = filler.fill(slot.block)
            self._digest(slot, piece)
            window.append((slot, piece))
        return window

    def _whole(self, upload: Upload[Any], size: int, parts: int) -> Committed[Any]:
        """Send an image of several buffers, which lie side by side, in one request."""
        self._flow.drain()
        self._ready(size)
        piece = Filled(self._blocks[0][:size], (), True)
        return self._commit(upload, lambda: upload.write_whole(self._part(upload.limits, 0, 0, piece)))

    def _parts(
        self, upload: Upload[Any], filler: Filler, made: Plan, window: Sequence[tuple[Slot, Filled]]
    ) -> Committed[Any]:
        """Send the image in parts."""
        self._start(upload)
        line = Line(lambda job: self._write(upload, *job), self._runtime.pool, self._flow, made.parallel)
        capacity = upload.limits.capacity
        offset = 0
        for index, (slot, piece) in enumerate(self._pieces(filler, made, window)):
            capacity = self._room(upload, offset + len(piece.data), capacity, line)
            line.put((index, offset, piece, slot))
            offset += len(piece.data)
        self._flow.drain()
        self._ready(offset)
        return self._commit(upload, lambda: upload.commit(offset, self._parts_written()))

    def _start(self, upload: Upload[Any]) -> None:
        def once() -> None:
            try:
                with self._seam:
                    self._call(upload.start)
            except errors.StoreLibError as error:
                if error.outcome is errors.Outcome.UNKNOWN:
                    error.transient = False  # one more would leave two things on the backend
                raise

        self._retry.call(once)

    def _pieces(
        self, filler: Filler, made: Plan, window: Sequence[tuple[Slot, Filled]]
    ) -> Iterator[tuple[Slot, Filled]]:
        yield from window
        ended, index = window[-1][1].ended, len(window)
        while not ended:
            slot = self._slot(made, index)
            piece = filler.fill(slot.block[: made.part_at(index)])
            self._digest(slot, piece)
            yield slot, piece
            ended, index = piece.ended, index + 1

    def _digest(self, slot: Slot, piece: Filled) -> None:
        self._flow.hold(slot, len(self._digests) + 1)  # one more for the backend
        self._digests.put(piece.data, slot)

    def _room(self, upload: Upload[Any], end: int, capacity: int | None, line: Line | None) -> int | None:
        """Have the backend make room for `end` bytes where it must be asked; return the capacity."""
        if capacity is None or end <= capacity:
            return capacity
        if upload.limits.quiet_reserve and line is not None:
            self._flow.wait(lambda: line.idle)
        timeout = upload.limits.reserve_timeout or self._runtime.base.operation_timeout

        def reserve() -> int:
            with self._seam:
                return self._call(lambda: upload.reserve(end), timeout)

        return self._retry.call(reserve)

    # -- in the pool's threads ----------------------------------------------------------------------------------------

    def _write(self, upload: Upload[Any], index: int, offset: int, piece: Filled, slot: Slot) -> None:
        """Write one part, tried again on passing errors."""
        limits = upload.limits
        part = self._part(limits, index, offset, piece)
        if limits.sparse:
            for start, end in data_runs(piece.data, piece.holes, limits.sparse, limits.thin):
                self._write_one(upload, Part(index, offset + start, piece.data[start:end], part.last), slot)
        else:
            token = self._write_one(upload, part, slot)
            if token is not None:
                with self._lock:
                    self._tokens[index] = (dataclasses.replace(part, data=memoryview(b"")), token)
        with self._lock:
            self._done += part.length
        del part
        self._flow.let_go(slot)

    def _write_one(self, upload: Upload[Any], part: Part, slot: Slot) -> Token:
        def once() -> Token:
            try:
                with self._seam, self._flow.request():
                    return upload.write_part(part)
            except errors.StoreLibError as error:
                slot.tainted = slot.tainted or error.outcome is errors.Outcome.UNKNOWN
                raise

        return self._retry.call(once)

    # -- commit and its undoing ---------------------------------------------------------------------------------------

    def _ready(self, size: int) -> None:
        """Make sure that nothing stands against the commit: digests drained, size, verifier, digests, cancellation."""
        verify = getattr(self._request.verifier, "verify", None)
        if verify is not None:
            verify()
        digests = self._digests.result()
        for name, value in self._request.expected.items():
            if digests[name] != value.lower():
                raise errors.DigestMismatch(f"the image's {name} is {digests[name]}, not the expected {value.lower()}")
        self._flow.check()

    def _commit(self, upload: Upload[Any], send: Callable[[], Committed[Any]]) -> Committed[Any]:
        lost = False

        def once() -> Committed[Any]:
            nonlocal lost
            try:
                with self._seam:
                    return self._call(send)
            except errors.StoreLibError as error:
                if error.outcome is errors.Outcome.UNKNOWN:
                    lost = True
                    self._flow.taint()
                # After a lost answer that very commit may be why the name is taken, or why there is nothing to commit.
                if lost:
                    found = self._outcome(upload, error)
                    if found is not None:
                        return found
                raise

        self._sending_commit = True  # from here on only the outcome tells whether the image is there
        return self._retry.call(once)

    def _outcome(self, upload: Upload[Any], error: errors.StoreLibError) -> Committed[Any] | None:
        """Return what a commit did whose answer was lost, None when it did nothing."""

        def ask() -> Committed[Any] | None:
            with self._seam:
                return self._call(upload.outcome)

        try:
            return self._retry.call(ask)
        except errors.StoreLibError as unknown:
            raise errors.CommitUnknown(
                f"the image may be there or not: the commit failed ({error.message}), and so did asking for its "
                f"outcome ({unknown.message}); look at the store before adding it again"
            ) from error

    def _undo(self, upload: Upload[Any], error: BaseException) -> None:
        """Remove an image that was committed although the transfer failed: its caller will never know of it."""
        committed = self._committed
        self._ctx.stop = threading.Event()  # clearing away is not to be cancelled
        with contextlib.suppress(Exception):
            if committed is None and self._sending_commit and not isinstance(error, errors.StoreLibError):
                committed = upload.outcome()  # interrupted in the middle of the commit
            if committed is None:
                return
            with self._seam:
                self._driver.delete(committed.address, self._ctx)
            return
        LOG.error("image %s could not be removed after a failed transfer; delete it by hand", self._request.image_id)

    def _abort(self, upload: Upload[Any]) -> None:
        self._flow.stop.set()
        self._ctx.stop = threading.Event()  # clearing away is not to be cancelled
        runtime = self._runtime
        timeout = None if self._inline else runtime.base.operation_timeout
        try:
            try:
                leftovers = runtime.guarded(upload.abort, timeout, runtime.abort_pool)
            except errors.StoreClosed:  # there are no threads any more
                leftovers = upload.abort()
        except Exception as error:  # it must not raise; when it does all the same, the first error stays the one told
            LOG.error("clearing away after image %s failed: %s", self._request.image_id, str(error))
            return
        for leftover in leftovers:
            LOG.warning(
                "image %s left a %s on the storage; 'store-lib store sweep' removes it once it is old enough",
                self._request.image_id,
                leftover.kind,
            )

    # -- small matters ------------------------------------------------------------------------------------------------

    def _call(self, function: Callable[[], T], timeout: float | None = None) -> T:
        if self._inline:
            return function()
        return self._runtime.guarded(function, timeout or self._runtime.base.operation_timeout)

    def _part(self, limits: Limits, index: int, offset: int, piece: Filled) -> Part:
        digest = None
        if limits.part_digest is not None:
            digest = hashlib.new(limits.part_digest, piece.data, usedforsecurity=False).hexdigest()
        return Part(index, offset, piece.data, piece.ended, digest)

    def _parts_written(self) -> list[tuple[Part, Token]]:
        return [self._tokens[index] for index in sorted(self._tokens)]

    def _check_cancel(self) -> None:
        if self._request.cancel is not None and self._request.cancel.is_set():
            raise errors.Cancelled("the transfer was cancelled")

    def _tick(self) -> None:
        self._progress.show(self._done)

    def _count_retry(self) -> None:
        with self._lock:
            self._retries += 1

    # -- memory -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _planned(self, limits: Limits) -> Iterator[Plan]:
        """Yield the plan once its memory is granted; give the memory back."""
        base, budget = self._runtime.base, self._runtime.budget

        def made(memory: int) -> Plan:
            return plan(self._request.size, limits, memory, part_size=base.part_size, parallel=base.parallel)

        two = min(budget.limit, 2 * (base.part_size or limits.part_size))  # one is filled while one is written
        wanted = self._affordable(made, max(budget.limit // _SHARE, two), budget.limit)
        least = wanted.memory if wanted.known and wanted.window > 1 else min(wanted.memory, 2 * wanted.part_size)
        deadline = Deadline(base.queue_timeout, self._runtime.clock)
        with budget.acquire(wanted.memory, least, deadline, self._flow.check) as grant:
            try:
                yield wanted if grant.size >= wanted.memory else made(grant.size)
            finally:
                self._flow.end()
                self._release()

    @staticmethod
    def _affordable(made: Callable[[int], Plan], share: int, limit: int) -> Plan:
        try:
            return made(share)
        except errors.BadRequest:
            return made(limit)  # parts so large that only few fit into all of it

    def _slot(self, made: Plan, index: int) -> Slot:
        """Return a free buffer for part `index`."""
        size = made.part_at(index)
        if size != self._block_size:
            if self._blocks:
                self._flow.drain()
            self._release()
            self._allocate(size, made.window if index == 0 else 1, made.buffers_at(index))
        return self._flow.take_slot(self._allocate_one)

    def _allocate(self, size: int, window: int, count: int) -> None:
        first = self._allocate_one(size * window)
        views = [first[start : start + size] for start in range(0, size * window, size)]
        self._flow.add_slots(views + [self._allocate_one(size) for _ in range(count - window)])
        self._block_size = size

    def _allocate_one(self, size: int) -> memoryview:
        block = self._driver.buffers.allocate(size)
        self._blocks.append(block)
        return block

    def _release(self) -> None:
        """Give the buffers back, but for those that somebody may still look at: they go with the last reference."""
        lost = self._flow.drop_slots()
        blocks, self._blocks = self._blocks, []
        if not lost:
            for block in blocks:
                self._driver.buffers.release(block)
