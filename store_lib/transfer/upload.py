"""Adding an image: the way of its bytes from the caller's source into a store.

`add` runs in the caller's thread: it reads the source, hands each filled buffer to the digests and to the backend, and
waits for a free one.  Digests and requests to the backend run as short tasks in the pools.  An image that fits into one
buffer takes no other thread at all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from store_lib import errors
from store_lib.interface import Committed, Driver, Limits, Part, Token, Upload
from store_lib.runtime import Deadline, Grant, StoreRuntime
from store_lib.transfer.buffers import SHARE, Buffers
from store_lib.transfer.digest import Digests, Verifier
from store_lib.transfer.filler import Filled, Filler
from store_lib.transfer.flow import Line, Slot
from store_lib.transfer.plan import Plan, fits
from store_lib.transfer.progress import ProgressFunction
from store_lib.transfer.source import Source, open_source
from store_lib.transfer.sparse import data_runs
from store_lib.transfer.transfer import Added, Transfer

__all__ = ["Added", "Request", "Sender", "add"]

T = TypeVar("T")

#: Parts that are filled and not yet sent; emptied as they are, since each keeps its buffer in memory.
Window = list[tuple[Slot, Filled]]


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


def add(driver: Driver[Any], runtime: StoreRuntime, request: Request, finish: Callable[[Added], T]) -> T:
    """Put an image into a store and return what `finish` makes of it.

    On any failure nothing stays that another transfer could meet; what could not be removed is logged as a leftover.

    :param finish: looks at the committed image (reads it back, compares); when it raises, the image is removed again.
    :raises StoreLibError: every way in which a store or the declared size can fail.
    :raises Exception: what the source, the verifier or the progress function raised, unchanged.
    """
    return Sender(driver, runtime, request).run(finish)


class Sender(Transfer):
    """One add.  Holds all state of the transfer; used by the caller's thread but for `_write`."""

    def __init__(self, driver: Driver[Any], runtime: StoreRuntime, request: Request) -> None:
        super().__init__(
            driver,
            runtime,
            request.image_id,
            request.size,
            context=request.context,
            inline=request.size is not None and request.size <= (runtime.base.part_size or Limits().part_size),
            progress=request.progress,
            cancel=request.cancel,
        )
        self._request = request
        self._digests = Digests(request.digests, request.verifier)
        self._found: Mapping[str, str] = {}
        self._buffers: Buffers

    def _new_buffers(self) -> Buffers:
        self._buffers = Buffers(self._driver, self._runtime, self._flow)
        return self._buffers

    # -- the way of the bytes -----------------------------------------------------------------------------------------

    def _send(self, upload: Upload[Any]) -> Added:
        source = open_source(self._request.source, self._check)
        try:
            if self._one_part(upload.limits):
                return self._send_one(upload, source)
            with self._new_buffers().planned(self._size, upload.limits) as (made, _):
                return self._stream(upload, source, made)
        finally:
            source.finish()

    def _stream(self, upload: Upload[Any], source: Source, made: Plan) -> Added:
        """Send all bytes of `source` and commit."""
        self._inline = made.small
        filler = Filler(source, self._size, self._runtime.bandwidth, self._flow.check)
        self._committed = self._transfer(upload, filler, made)
        return Added(self._committed, filler.total, self._found, self._retries)

    def _transfer(self, upload: Upload[Any], filler: Filler, made: Plan) -> Committed[Any]:
        first = self._buffers.slot(made, 0)
        piece = filler.fill(first.block)
        if piece.ended:
            return self._small(upload, piece)
        self._inline = False
        self._digests.spread(self._runtime.digest_pool, self._flow)
        window = self._window(filler, made, first, piece)
        del first, piece
        if window[-1][1].ended and filler.total <= upload.limits.whole_max and not self._started:
            return self._whole(upload, filler.total)
        return self._parts(upload, filler, made, window)

    def _one_part(self, limits: Limits) -> bool:
        """Whether one buffer holds the whole image for sure."""
        runtime = self._runtime
        share = runtime.budget.limit // SHARE
        return self._inline and self._size is not None and fits(self._size, limits, share, runtime.base.part_size)

    def _send_one(self, upload: Upload[Any], source: Source) -> Added:
        """Send an image that one buffer holds for sure: nothing is planned, and nothing runs beside."""
        assert self._size is not None
        size = max(1, self._size)
        with self._granted(size):
            buffers = self._driver.buffers
            block = buffers.allocate(size)
            try:
                # A view of its own: a driver that holds on to it for longer than it may keeps these very bytes.
                self._committed = self._filled(upload, source, block[:])
            finally:
                if not self._tainted:
                    buffers.release(block)
        return Added(self._committed, self._size, self._found, self._retries)

    def _granted(self, size: int) -> Grant:
        budget, base = self._runtime.budget, self._runtime.base
        granted = budget.try_acquire(size, size)
        if granted is None:
            deadline = Deadline(base.queue_timeout, self._runtime.clock)
            granted = budget.acquire(size, size, deadline, self._check_cancel)
        return granted

    def _filled(self, upload: Upload[Any], source: Source, block: memoryview) -> Committed[Any]:
        filler = Filler(source, self._size, self._runtime.bandwidth, self._check_cancel)
        return self._small(upload, filler.fill(block))

    def _small(self, upload: Upload[Any], piece: Filled) -> Committed[Any]:
        """Send an image that one buffer holds, without another thread."""
        size = len(piece.data)
        self._digests.update(piece.data)
        self._ready()
        if 0 < upload.limits.whole_max >= size and not self._started:
            return self._all_at_once(upload, piece)
        self._start(upload)
        if size:
            self._room(upload, size)
            self._write(upload, 0, 0, piece)
        return self._commit_parts(upload, size)

    def _window(self, filler: Filler, made: Plan, slot: Slot, piece: Filled) -> Window:
        """Fill and digest as many parts as may still go in one request, beginning with one that is filled."""
        window = [(slot, piece)]
        self._digest(slot, piece)
        while len(window) < made.window and not window[-1][1].ended:
            window.append(self._next(filler, made, len(window)))
        return window

    def _next(self, filler: Filler, made: Plan, index: int) -> tuple[Slot, Filled]:
        """Fill and digest part `index`."""
        slot = self._buffers.slot(made, index)
        piece = filler.fill(slot.block[: made.part_at(index)])
        self._digest(slot, piece)
        return slot, piece

    def _whole(self, upload: Upload[Any], size: int) -> Committed[Any]:
        """Send an image of several buffers, which lie side by side, in one request."""
        self._flow.drain()
        self._ready()
        return self._all_at_once(upload, Filled(self._buffers.whole(size), (), True))

    def _all_at_once(self, upload: Upload[Any], piece: Filled) -> Committed[Any]:
        part = self._part(upload.limits, 0, 0, piece)
        return self._commit(upload, lambda: upload.write_whole(part))

    def _parts(self, upload: Upload[Any], filler: Filler, made: Plan, window: Window) -> Committed[Any]:
        """Send the image in parts."""
        self._start(upload)
        line = Line(lambda job: self._work(upload, *job), self._runtime.pool, self._flow, made.parallel)
        index = offset = 0
        for slot, piece in self._pieces(filler, made, window):  # enumerate() would hold on to the last ones
            self._room(upload, offset + len(piece.data), lambda: line.idle)
            line.put((index, offset, piece, slot))
            offset += len(piece.data)
            index += 1  # noqa: SIM113
            del slot, piece
        self._flow.drain()
        self._ready()
        return self._commit_parts(upload, offset)

    def _pieces(self, filler: Filler, made: Plan, window: Window) -> Iterator[tuple[Slot, Filled]]:
        ended, index = window[-1][1].ended, len(window)
        while window:
            yield window.pop(0)
        while not ended:
            slot, piece = self._next(filler, made, index)
            ended, index = piece.ended, index + 1
            yield slot, piece
            del slot, piece

    def _digest(self, slot: Slot, piece: Filled) -> None:
        self._flow.hold(slot, len(self._digests) + 1)  # one more for the backend
        self._digests.put(piece.data, slot)

    # -- in the pool's threads ----------------------------------------------------------------------------------------

    def _work(self, upload: Upload[Any], index: int, offset: int, piece: Filled, slot: Slot) -> None:
        self._write(upload, index, offset, piece, slot)
        del piece
        self._flow.let_go(slot)

    # -- in either ----------------------------------------------------------------------------------------------------

    def _write(self, upload: Upload[Any], index: int, offset: int, piece: Filled, slot: Slot | None = None) -> None:
        """Write one part, tried again on passing errors.

        :param slot: that holds its bytes; None in the caller's thread, when nothing runs beside.
        """
        limits = upload.limits
        part = self._part(limits, index, offset, piece)
        for each in _runs(limits, part, piece):
            token = self._write_one(upload, each, slot)
            if token is not None and not limits.sparse:
                with self._lock:
                    self._tokens[index] = (dataclasses.replace(part, data=memoryview(b"")), token)
        with self._lock:
            self._done += part.length

    def _write_one(self, upload: Upload[Any], part: Part, slot: Slot | None) -> Token:
        def once() -> Token:
            try:
                if slot is None:
                    with self._seam:
                        return upload.write_part(part)
                with self._seam, self._flow.request():
                    return upload.write_part(part)
            except errors.StoreLibError as error:
                if error.outcome is errors.Outcome.UNKNOWN:
                    self._spoil(slot)
                raise

        return self._tried(once)

    def _spoil(self, slot: Slot | None) -> None:
        """Note that the backend may still look at what a request held."""
        if slot is None:
            self._taint()
        else:
            slot.tainted = True

    # -- small matters ------------------------------------------------------------------------------------------------

    def _ready(self) -> None:
        """Make sure that nothing stands against the commit: digests drained, size, verifier, digests, cancellation."""
        verify = getattr(self._request.verifier, "verify", None)
        if verify is not None:
            verify()
        digests = self._found = self._digests.result()
        for name, value in self._request.expected.items():
            if digests[name] != value.lower():
                raise errors.DigestMismatch(f"the image's {name} is {digests[name]}, not the expected {value.lower()}")
        self._check()

    def _check(self) -> None:
        """Raise what ended the transfer."""
        if self._made_flow is None:
            self._check_cancel()
        else:
            self._flow.check()

    def _part(self, limits: Limits, index: int, offset: int, piece: Filled) -> Part:
        name = limits.part_digest
        # Digests of the image are known already only to a part that is all of it.
        digest = self._found.get(name) if name else None
        if name and digest is None:
            digest = hashlib.new(name, piece.data, usedforsecurity=False).hexdigest()
        return Part(index, offset, piece.data, piece.ended, digest)


def _runs(limits: Limits, part: Part, piece: Filled) -> Iterable[Part]:
    """Return what of `part` is to be written: all of it, or what is no hole."""
    if not limits.sparse or not (limits.thin or piece.holes):
        return (part,)
    return (
        Part(part.index, part.offset + start, part.data[start:end], part.last)
        for start, end in data_runs(part.data, piece.holes, limits.sparse, limits.thin)
    )
