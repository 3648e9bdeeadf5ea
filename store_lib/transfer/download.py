"""Reading an image: opened for a range, and read as a file."""

from __future__ import annotations

import contextlib
import functools
import io
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from store_lib import errors
from store_lib.interface import MIB, Address, Download, Driver, Extent, ObjectInfo
from store_lib.runtime import StoreRuntime
from store_lib.transfer.ahead import Body, ahead, helps, stream
from store_lib.transfer.retry import Retry
from store_lib.transfer.seam import Seam

__all__ = ["ImageReader", "open_image"]

#: The largest chunk that drivers make, several times over.
_ALLOCATION = 4 * MIB


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
    return ImageReader(Body(download, seam, retry, runtime, stop), offset, size if length is None else offset + length)


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

    def __init__(self, body: Body, start: int, end: int) -> None:
        super().__init__()
        self._body = body
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

    @property
    def info(self) -> ObjectInfo:
        """What the backend told of the image when it was opened; ``info.size`` is that of the whole image."""
        return self._body.download.info

    @property
    def length(self) -> int:
        """Bytes of the range."""
        return self._end - self._start

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return whether the store reads from any offset."""
        return self._body.download.limits.ranges

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
        with self._body.seam:
            found = self._body.download.extents(self._start, self.length)
        if found is None:
            return None
        return (Extent(each.offset - self._start, each.length, each.hole) for each in self._body.seam.iterate(found))

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
        self._body.stop.set()
        with self._body.seam:
            self._body.download.close()

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
        if helps(self._body, self._end - self._at):
            chunks = ahead(self._body, self._at, self._end, self._lent)
        else:
            chunks = stream(self._body, self._at, self._end)
        return self._paced(chunks) if self._body.runtime.bandwidth.rate else chunks

    def _paced(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        try:
            for chunk in chunks:
                self._body.runtime.bandwidth.take(len(chunk), self._body.check)
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
