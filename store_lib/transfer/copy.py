"""Copying an image from one store into another: inside the backend where that is possible, by its bytes otherwise."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from store_lib import errors
from store_lib.interface import MIB, Address, Driver, Limits, Part, Upload
from store_lib.runtime import StoreRuntime
from store_lib.transfer.download import ImageReader
from store_lib.transfer.flow import Flow, Line
from store_lib.transfer.retry import Retry
from store_lib.transfer.source import open_source
from store_lib.transfer.transfer import Added
from store_lib.transfer.upload import Request, Sender

__all__ = ["Origin", "copy", "cut"]

LOG = logging.getLogger(__name__)

T = TypeVar("T")

_NOTHING = memoryview(b"")

#: A range of an image: its index, offset and length.
Range = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Origin:
    """The image that is copied.

    :param address: in the store of `driver`.
    :param open: opens it for reading; its errors name its store.
    :param ahead: bytes that reading ahead will take.
    :param inside: whether its bytes may be moved inside the backend.
    """

    driver: Driver[Any]
    address: Address
    open: Callable[[], ImageReader]
    ahead: int
    inside: bool


def copy(
    driver: Driver[Any], runtime: StoreRuntime, request: Request, origin: Origin, finish: Callable[[Added], T]
) -> T:
    """Put the image of `origin` into a store and return what `finish` makes of it; else as `add`.

    One upload is filled by ranges that the backend copies by itself, as long as it does; when it declines, at any
    point, the bytes are read and written into the same upload.

    :param driver: of the destination, as `runtime`.
    :param request: with the size of the image, and without a source.
    :param finish: as in `add`; where the backend copied, it is told no digests.
    """
    return _Copier(driver, runtime, request, origin).run(finish)


def cut(size: int, limits: Limits, least: int, ways: int) -> Iterator[Range]:
    """Yield the ranges in which `size` bytes are copied, all but the last of one length, which the limits allow.

    :param least: bytes below which more ranges at once are no gain.
    :raises CannotMigrate: ranges as large as allowed are too many.
    """
    length = max(limits.copy_min, least, -(-size // ways))
    if limits.max_parts is not None:
        length = max(length, -(-size // limits.max_parts))
    # Whole MiB where possible: file systems share blocks only between offsets that are multiples of theirs.
    for align in (math.lcm(limits.align, MIB), limits.align):
        if align <= min(limits.copy_max, length):
            length = min(-(-length // align), limits.copy_max // align) * align
            break
    length = min(length, limits.copy_max)
    if limits.max_parts is not None and length * limits.max_parts < size:
        raise errors.CannotMigrate(f"{limits.max_parts} ranges of {length} bytes do not make an image of {size} bytes")
    for index, offset in enumerate(range(0, size, length)):
        yield index, offset, min(length, size - offset)


class _Copier(Sender):
    """One copy; see `store_lib.transfer.upload.Sender`."""

    def __init__(self, driver: Driver[Any], runtime: StoreRuntime, request: Request, origin: Origin) -> None:
        super().__init__(driver, runtime, request)
        assert request.size is not None
        self._origin = origin
        self._total = request.size

    def _send(self, upload: Upload[Any]) -> Added:
        limits = upload.limits
        in_one_request = self._inline and self._total <= limits.whole_max
        by_ranges = limits.copy_max and not in_one_request
        if self._origin.inside and self._total and (limits.copy_whole or by_ranges):
            try:
                if limits.copy_whole:
                    self._copy_whole(upload)
                else:
                    self._copy_inside(upload)
            except errors.CannotMigrate as error:
                LOG.info("image %s is copied by its bytes: %s", self._image_id, error.message)
                self._tokens.clear()
                self._done = 0
            else:
                self._flow.check()
                self._committed = self._commit_parts(upload, self._total)
                return Added(self._committed, self._total, {}, self._retries)
        buffers = self._new_buffers()
        with buffers.planned(self._total, limits, self._origin.ahead) as (made, lent), self._open() as reader:
            reader.lend(lent)
            return self._stream(upload, open_source(reader, self._flow.check), made)

    def _open(self) -> ImageReader:
        reader = self._origin.open()
        if reader.length != self._total:
            reader.close()
            raise errors.SizeMismatch(f"the source has {reader.length} bytes now, and had {self._total} before")
        return reader

    def _copy_whole(self, upload: Upload[Any]) -> None:
        """Fill `upload` by one request.

        :raises CannotMigrate: the backend declines.
        """
        self._begin(lambda: upload.copy_whole(self._origin.driver, self._origin.address))
        self._done = self._total

    def _copy_inside(self, upload: Upload[Any]) -> None:
        """Fill `upload` by ranges that the backend copies.

        :raises CannotMigrate: it declines; some ranges may have been copied.
        """
        base, runtime, limits = self._runtime.base, self._runtime, upload.limits
        ways = min(limits.parallel, base.parallel or limits.parallel)
        ranges = [*cut(self._total, limits, base.part_size or limits.part_size, ways)]
        self._start(upload)
        self._room(upload, self._total)
        # A flow of its own: the transfer goes on when this ends by a refusal.
        flow = Flow(runtime.clock, self._flow.check, self._tick, base.operation_timeout)
        retry = Retry(base, runtime.clock, flow.stop, self._count_retry, self._check_cancel)
        line = Line(lambda each: self._copy_range(upload, flow, retry, each), runtime.pool, flow, ways)
        try:
            for each in ranges:
                line.put(each)
            flow.drain()
        finally:
            flow.end()

    def _copy_range(self, upload: Upload[Any], flow: Flow, retry: Retry, each: Range) -> None:
        """Have the backend copy one range, tried again on passing errors; in some thread of the pool."""
        index, offset, length = each
        origin = self._origin

        def once() -> Any:
            with self._seam, flow.request():
                return upload.copy_part(origin.driver, origin.address, index, offset, length)

        token = retry.call(once)
        with self._lock:
            if token is not None:
                self._tokens[index] = (Part(index, offset, _NOTHING, offset + length == self._total), token)
            self._done += length
