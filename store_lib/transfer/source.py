"""Where the bytes of an image come from: file object, iterator, iterable, pipe, mapped memory.

Only the caller's thread reads a source, and what a source raises passes through unchanged.
"""

from __future__ import annotations

import abc
import contextlib
import errno
import io
import os
import select
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

__all__ = ["Source", "open_source"]

_NAP = 0.1
#: Most bytes asked of a source at once: keeps cancellation and progress lively when a part is large.
_CHUNK = 1024 * 1024
#: Seconds until a source that had nothing to give is asked again.
_WAIT = 0.01
_END = object()


class Source(abc.ABC):
    """A stream of bytes, read once."""

    @abc.abstractmethod
    def read_into(self, view: memoryview) -> int:
        """Put the next bytes into `view` and return how many; may be fewer than fit.

        0 is the end, -1 means that there is nothing yet.  Called after `hole` said that the next byte is none.
        """

    def hole(self) -> int:
        """Return how many of the next bytes are a hole, 0 when the next byte is data or nobody knows."""
        return 0

    def skip(self, length: int) -> None:
        """Step over `length` bytes of a hole."""
        raise NotImplementedError

    def finish(self) -> None:  # noqa: B027  # most sources have nothing to do
        """Leave the caller's object where a plain reader would have left it."""


class _Readable(Protocol):
    def read(self, size: int, /) -> Any: ...


def open_source(source: Any, check: Callable[[], None]) -> Source:
    """Return a `Source` over what a caller passed: bytes, an object with ``read(n)``, an iterator or an iterable.

    :param check: called while the source has nothing to give; raises to give up.
    :raises TypeError: it is none of these.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return _Buffer(memoryview(source).cast("B"))
    if callable(getattr(source, "extents", None)) and isinstance(source, io.RawIOBase):
        return _Extents(source)
    # Exactly these types: a class derived from them may count or change what passes its read().
    if type(source) in (io.FileIO, io.BufferedReader, io.BufferedRandom):
        return _of_file(source, check)
    if type(source) is io.BytesIO:
        return _Memory(source)
    if callable(getattr(source, "read", None)):
        return _Reader(source)
    if isinstance(source, Iterable):
        return _Chunks(iter(source))
    raise TypeError(f"an image comes from a binary file, bytes or an iterable of bytes, not {type(source).__name__}")


def _of_file(file: Any, check: Callable[[], None]) -> Source:
    try:
        mode = os.fstat(file.fileno()).st_mode
    except (OSError, ValueError):
        return _Reader(file)
    if stat.S_ISREG(mode) and file.readable():
        return _Regular(file)
    if isinstance(file, io.FileIO) and not stat.S_ISDIR(mode):
        return _Stream(file, check)
    return _Buffered(file, check) if isinstance(file, io.BufferedReader) else _Reader(file)


class _Buffer(Source):
    """Bytes in memory."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def read_into(self, view: memoryview) -> int:
        size = min(len(view), len(self._data), _CHUNK)
        view[:size] = self._data[:size]
        self._data = self._data[size:]
        return size


class _Memory(Source):
    """A file in memory."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file = file

    def read_into(self, view: memoryview) -> int:
        return self._file.readinto(view[:_CHUNK])


class _Regular(Source):
    """A regular file, read without a copy and without its holes."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._fd = file.fileno()
        if isinstance(file, io.BufferedRandom):
            file.flush()
        self._at: int = file.tell()
        info = os.fstat(self._fd)
        self._sparse = info.st_blocks * 512 < info.st_size
        self._data_end = 0

    def read_into(self, view: memoryview) -> int:
        most = min(len(view), _CHUNK, self._data_end - self._at if self._sparse else _CHUNK)
        size: int = os.preadv(self._fd, [view[:most]], self._at)
        self._at += size
        return size

    def hole(self) -> int:
        if not self._sparse or self._at < self._data_end:
            return 0
        # lseek moves the position that the descriptor shares with others; finish() puts it right.
        try:
            data: int = os.lseek(self._fd, self._at, os.SEEK_DATA)
            if data == self._at:
                self._data_end = os.lseek(self._fd, self._at, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:  # a file system without holes
                self._sparse = False
                return 0
            data = os.fstat(self._fd).st_size  # a hole up to the end
            self._sparse = data > self._at
        return max(0, data - self._at)

    def skip(self, length: int) -> None:
        self._at += length

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the caller may have closed it
            self._file.seek(self._at)


class _Extents(Source):
    """An image of another store: its holes are known without reading them."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._extents: Iterator[Any] | None = None
        self._known_until = 0
        self._is_hole = False

    def read_into(self, view: memoryview) -> int:
        most = min(len(view), _CHUNK)
        known = self._known_until - self._reader.tell()
        return int(self._reader.readinto(view[: min(most, known) if known > 0 else most]))

    def hole(self) -> int:
        at: int = self._reader.tell()
        if self._extents is None:
            self._extents = iter(self._reader.extents() or ())
        while at >= self._known_until:
            extent = next(self._extents, None)
            if extent is None:
                return 0
            self._known_until, self._is_hole = extent.offset + extent.length, extent.hole
        return self._known_until - at if self._is_hole else 0

    def skip(self, length: int) -> None:
        self._reader.seek(length, io.SEEK_CUR)


class _Stream(Source):
    """A pipe, socket or device, waited for in small steps so that a stalled one can be given up."""

    def __init__(self, file: io.FileIO, check: Callable[[], None]) -> None:
        self._file = file
        self._check = check
        self._poll = select.poll()
        self._poll.register(file.fileno(), select.POLLIN | select.POLLPRI)

    def read_into(self, view: memoryview) -> int:
        while True:
            while not self._poll.poll(_NAP * 1000):
                self._check()
            size = self._file.readinto(view[:_CHUNK])
            if size is not None:
                return size


class _Buffered(Source):
    """A pipe behind Python's buffer: once that is empty, it is waited for like a bare pipe."""

    def __init__(self, file: io.BufferedReader, check: Callable[[], None]) -> None:
        self._file = file
        self._stream = _Stream(file.raw, check) if isinstance(file.raw, io.FileIO) else None
        self._fresh = True

    def read_into(self, view: memoryview) -> int:
        # Nobody can tell whether the buffer holds something, so the first read may block without being waited for.
        if self._stream is None or self._fresh:
            self._fresh = False
            return self._drain(view)
        return self._stream.read_into(view)

    def _drain(self, view: memoryview) -> int:
        found = self._file.peek(1)
        size = min(len(found), len(view))
        if size < len(found):
            self._fresh = True
        view[:size] = self._file.read1(size) if size else b""
        return size


class _Reader(Source):
    """Anything with ``read(n)``; reads may be short, and longer than asked for."""

    def __init__(self, reader: _Readable) -> None:
        self._reader = reader
        self._rest = memoryview(b"")

    def read_into(self, view: memoryview) -> int:
        while not self._rest:
            data = self._reader.read(min(len(view), _CHUNK))
            if data is None:  # a non-blocking file that has nothing yet
                time.sleep(_WAIT)
                return -1
            if not data:
                return 0
            self._rest = memoryview(data).cast("B")
        return _move(self, view)


class _Chunks(Source):
    """An iterator of chunks of any size, empty ones included."""

    def __init__(self, chunks: Iterator[Any]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read_into(self, view: memoryview) -> int:
        while not self._rest:
            chunk: Any = next(self._chunks, _END)
            if chunk is _END:
                return 0
            if chunk is None:  # nothing yet, as from a non-blocking file
                time.sleep(_WAIT)
                return -1
            self._rest = memoryview(chunk).cast("B")
        return _move(self, view)


def _move(source: _Reader | _Chunks, view: memoryview) -> int:
    size = min(len(view), len(source._rest), _CHUNK)
    view[:size] = source._rest[:size]
    source._rest = source._rest[size:]
    return size
