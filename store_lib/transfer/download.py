"""Reading an image: ranges, read ahead in order, resumed after a drop."""

from __future__ import annotations

import collections
import contextlib
import functools
import io
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from store_lib import errors
from store_lib.interface import MIB, Address, Download, Driver, Extent, Limits, ObjectInfo
from store_lib.runtime import GRACE, StoreRuntime, Task
from store_lib.transfer.plan import Plan, plan
from store_lib.transfer.retry import Retry
from store_lib.transfer.seam import Seam

__all__ = ["ImageReader", "ahead_memory", "open_image"]

LOG = logging.getLogger(__name__)

_POLL = 0.1
#: Seconds that a range waits for a thread before the reader's own fetches it, where no time-out holds.
_PATIENCE = 0.02
#: The largest chunk that drivers make, several times over.
_ALLOCATION = 4 * MIB
#: Share of the store's memory that one reader takes at most: what it fetches, its user holds once more for a moment.
_SHARE = 8


def open_image(
    driver: Driver[Any],
    runtime: StoreRuntime,
    address: Address,
    offset: int,
    length: int | None,
    context: Any,
    retried: Callable[[], None] = lambda: None,
) -> ImageReader:
    """Open an image for reading; every error that opening can have comes now.

    :param offset: first byte, from the start of the image.
    :param length: bytes, None up to the end.
    :param retried: called for each request that has to be sent again, while opening and while reading.
    :raises BadRange: the range does not lie inside the image.
    :raises StoreLibError: what the store answers.
    """
    _keep_memory()
    stop = threading.Event()
    ctx = runtime.context(context, stop=stop)
    seam = Seam(driver)
    retry = Retry(runtime.base, runtime.clock, stop, retried)

    def once() -> Download:
        with seam:
            return runtime.guarded(lambda: driver.open(address, offset, length, ctx), runtime.base.operation_timeout)

    download = retry.call(once)
    size = download.info.size
    if offset > size or (length is not None and offset + length > size):
        download.close()
        raise errors.BadRange(f"bytes {offset} to {offset + (length or 0)} do not lie inside an image of {size} bytes")
    return ImageReader(download, seam, runtime, retry, stop, offset, size if length is None else offset + length)


@functools.cache
def _keep_memory() -> None:
    """Have the C library keep the memory of chunks for the next ones, once in a process.

    It gives blocks from 128 KiB on back to the kernel, which zeroes each page that is taken again: that costs as much
    as copying the bytes.  Once it was given a larger block back, which is never touched here, it keeps up to twice as
    much (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    bytes(_ALLOCATION)


class ImageReader(io.RawIOBase):
    """A range of an image as a binary file that is also an iterator of its chunks.

    ``read(n)`` returns exactly `n` bytes unless the range ends.  Seeking and telling count from the start of the
    range.  One thread at a time reads; any thread may close.  Errors are those of store_lib; a body that breaks off
    is resumed at its offset, and one that ends early is never a normal end.
    """

    def __init__(
        self,
        download: Download,
        seam: Seam,
        runtime: StoreRuntime,
        retry: Retry,
        stop: threading.Event,
        start: int,
        end: int,
    ) -> None:
        super().__init__()
        self._download = download
        self._seam = seam
        self._runtime = runtime
        self._retry = retry
        self._stop = stop
        self._start = start
        self._end = end
        self._at = start
        self._rest = memoryview(b"")
        self._chunks: Iterator[bytes] | None = None
        self._name: tuple[str, str] | None = None
        self._failed: Callable[[errors.StoreLibError], None] = lambda error: None
        self._lent: int | None = None

    def named(
        self, store: str, location: str, failed: Callable[[errors.StoreLibError], None] = lambda error: None
    ) -> None:
        """Say what errors of reading name: the store's id and the redacted location.

        :param failed: called with each error that reaches the reader's user.
        """
        self._name = (store, location)
        self._failed = failed

    def lend(self, memory: int) -> None:
        """Read ahead in `memory` bytes, which the caller was granted, and in no others; 0: do not read ahead."""
        self._lent = memory

    def _check(self) -> None:
        if self._stop.is_set():
            raise ValueError("the image was closed")

    @property
    def info(self) -> ObjectInfo:
        """What the backend told of the image when it was opened; ``info.size`` is that of the whole image."""
        return self._download.info

    @property
    def length(self) -> int:
        """Bytes of the range."""
        return self._end - self._start

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return whether the store reads from any offset."""
        return self._download.limits.ranges

    def tell(self) -> int:
        """Return the position in bytes from the start of the range."""
        return self._at - self._start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset` bytes from the start of the range, the position or its end; return the new position."""
        base = {io.SEEK_SET: self._start, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        target = base + offset
        if target == self._at:
            return self.tell()
        if not self.seekable():
            raise io.UnsupportedOperation("this store reads images from the beginning only")
        if target < self._start:
            raise ValueError("negative position")
        self._forget()
        self._at = min(target, self._end)
        return self.tell()

    def extents(self) -> Iterable[Extent] | None:
        """Return data and holes of the range, offsets from its start, or None where the store can't tell."""
        with self._seam:
            found = self._download.extents(self._start, self.length)
        if found is None:
            return None
        return (Extent(each.offset - self._start, each.length, each.hole) for each in self._seam.iterate(found))

    def readinto(self, buffer: Any) -> int:
        """Put the next bytes into `buffer` and return how many: at least one unless the range has ended."""
        view = memoryview(buffer).cast("B")
        piece = self._take(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def read(self, size: int | None = -1) -> bytes:
        """Return the next `size` bytes, fewer only at the end of the range; all that is left without a size."""
        left = self._end - self._at
        left = left if size is None or size < 0 else min(size, left)
        pieces = []
        while left and (piece := self._take(left)):
            pieces.append(piece)
            left -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def __iter__(self) -> ImageReader:
        return self

    def __next__(self) -> bytes:
        chunk = self._take(self._end - self._at)
        if not chunk:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Release everything; harmless when repeated."""
        if self.closed:
            return
        super().close()
        self._forget()
        self._stop.set()
        with self._seam:
            self._download.close()

    def _take(self, most: int) -> bytes:
        """Return the next bytes as they come, at most `most`; none at the end."""
        if self.closed:
            raise ValueError("the image was closed")
        if not self._rest:
            if self._chunks is None:
                self._chunks = self._begin()
            try:
                self._rest = memoryview(next(self._chunks, b""))
            except BaseException as error:
                self._chunks = None  # asking again begins here again; it must not look like the end
                if isinstance(error, errors.StoreLibError) and self._name is not None and error.store is None:
                    error.store, error.location = self._name
                    error.operation = "read"
                    self._failed(error)
                raise
        piece = self._rest[:most]
        whole = self._rest.obj
        self._rest = self._rest[most:]
        self._at += len(piece)
        if self._at >= self._end:
            self._forget()  # nothing more will be asked for: who never closes holds no memory
        return whole if isinstance(whole, bytes) and len(whole) == len(piece) else piece.tobytes()

    def _begin(self) -> Iterator[bytes]:
        """Return the chunks from here on: read ahead in parallel where that helps."""
        limits, base = self._download.limits, self._runtime.base
        left = self._end - self._at
        ways = min(limits.parallel, base.parallel or limits.parallel)
        if ways > 1 and limits.ranges and left > (base.part_size or limits.part_size) and self._runtime.pool.limit:
            chunks = _ahead(self, left)
        else:
            chunks = _stream(self._download, self._seam, self._retry, self._at, self._end)
        return self._paced(chunks) if self._runtime.bandwidth.rate else chunks

    def _paced(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        try:
            for chunk in chunks:
                self._runtime.bandwidth.take(len(chunk), self._check)
                yield chunk
        finally:
            chunks.close()  # type: ignore[attr-defined]  # both kinds are generators

    def _forget(self) -> None:
        """Drop what was read beyond the position."""
        self._rest = memoryview(b"")
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            with contextlib.suppress(ValueError):  # another thread is inside; it ends with the download
                chunks.close()  # type: ignore[attr-defined]


def _stream(download: Download, seam: Seam, retry: Retry, at: int, end: int) -> Iterator[bytes]:
    """Yield the bytes from `at` to `end`, asking again at the offset where a body broke off."""
    stream: Iterator[bytes] = iter(())

    start = at

    def ask() -> tuple[Iterator[bytes], bytes]:
        if at > start and not download.limits.ranges:
            problem = f"the image broke off after {at} bytes, and this store reads from the beginning only"
            raise errors.StoreUnavailable(problem, transient=False)
        body = seam.iterate(download.read(at, end - at))
        chunk = next(body, b"")
        if not chunk:
            raise errors.StoreUnavailable(f"the image broke off after {at} bytes, {end - at} before its end")
        return body, chunk

    try:
        while at < end:
            chunk = _pull(stream)
            if not chunk:
                stream, chunk = retry.call(ask)
            if len(chunk) > end - at:
                chunk = chunk[: end - at]  # never more than was asked for: its length may have been announced
            at += len(chunk)
            yield chunk
    finally:
        close = getattr(stream, "close", None)
        if close is not None:
            close()


def _pull(stream: Iterator[bytes]) -> bytes:
    """Return the next chunk, nothing when the body ended or broke off in a passing way."""
    try:
        return next(stream, b"")
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
def _memory(reader: ImageReader, made: Plan) -> Iterator[int]:
    """Yield the bytes that ranges read ahead may take, 0 where that would mean to wait.

    Waiting for memory would never end for a caller who holds it: for an upload's source, or with many readers.
    """
    least = 2 * made.part_size
    if reader._lent is not None:
        yield min(reader._lent, made.memory) if reader._lent >= least else 0
        return
    grant = reader._runtime.budget.try_acquire(made.memory, least)
    try:
        yield grant.size if grant else 0
    finally:
        if grant:
            grant.release()


def _ahead(reader: ImageReader, left: int) -> Iterator[bytes]:
    """Yield the bytes of a reader, several ranges being fetched at once where there is memory for that."""
    made = _plan(reader._runtime, reader._download.limits, left)
    with _memory(reader, made) as memory:
        count = memory // made.part_size
        if not count:
            yield from _stream(reader._download, reader._seam, reader._retry, reader._at, reader._end)
            return
        waiting: collections.deque[_Range] = collections.deque()
        try:
            for offset in range(reader._at, reader._end, made.part_size):
                waiting.append(_Range(reader, offset, min(offset + made.part_size, reader._end)))
                if len(waiting) >= count:
                    yield from waiting.popleft().chunks()
            while waiting:
                yield from waiting.popleft().chunks()
        finally:
            for each in waiting:
                each.give_up()


class _Range:
    """A range that some thread fetches into memory."""

    def __init__(self, reader: ImageReader, start: int, end: int) -> None:
        self._reader = reader
        self._span = (start, end)
        self._got: collections.deque[bytes] = collections.deque()
        self._error: BaseException | None = None
        self._wanted = True
        self._ended = threading.Event()
        self._last = reader._runtime.clock.monotonic()
        self._task: Task | None = reader._runtime.pool.submit(self._fetch)

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes, fetched in this thread if no other has begun; raises what fetching them raised.

        Each chunk is let go of as it is given out: what was read ahead must not stay in memory after its use.
        """
        task, self._task = self._task, None  # it refers to this object, and only a garbage collection would find that
        if task is not None and not self._ended.wait(_PATIENCE) and self._reader._runtime.pool.withdraw(task):
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
            self._reader._runtime.pool.withdraw(task)

    def _fetch(self) -> None:
        reader = self._reader
        try:
            for chunk in _stream(reader._download, reader._seam, reader._retry, *self._span):
                self._got.append(chunk)
                self._last = reader._runtime.clock.monotonic()
                reader._check()
                if not self._wanted:
                    break
        except BaseException as error:
            self._error = error
        self._ended.set()

    def _wait(self, task: Task | None) -> None:
        runtime = self._reader._runtime
        timeout = runtime.base.operation_timeout
        began = runtime.clock.monotonic()
        while not self._ended.wait(_POLL):
            self._reader._check()
            quiet = runtime.clock.monotonic() - max(began, self._last)
            if timeout is not None and quiet > timeout + GRACE + runtime.base.retry_deadline:
                if task is not None:
                    runtime.pool.abandon(task)
                raise errors.OperationTimeout(f"the storage sent nothing for {quiet:.0f} s")
