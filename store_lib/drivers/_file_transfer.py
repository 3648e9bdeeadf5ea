"""One file of the file store being read or written."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from store_lib import errors
from store_lib.drivers import _posix
from store_lib.drivers._access import Operations
from store_lib.drivers._directory import Directory, Held
from store_lib.drivers._file_copy import open_elsewhere
from store_lib.drivers._file_values import TEMPORARY, FileAddress, final_error, info_of
from store_lib.drivers._flushing import Flushing
from store_lib.interface import (
    MIB,
    Address,
    Committed,
    Download,
    Driver,
    Extent,
    Leftover,
    Limits,
    Owner,
    Part,
    Token,
    Upload,
)

__all__ = ["FileDownload", "FileUpload"]

_READ = 1 * MIB
#: Extents of a file are asked for in windows of this size, so that a badly fragmented image takes no memory.
_WINDOW = 1024 * MIB


class _Driver(Protocol):
    """What an upload asks of its driver."""

    mode: int
    targets: Sequence[Directory]
    #: Seconds for one call where calls are given up, else 0.
    call_timeout: float

    @property
    def limits(self) -> Limits: ...

    def operations(self) -> Operations: ...

    def ready_targets(self, io: Operations) -> Sequence[tuple[Directory, Held]]: ...

    def metadata(self, address: FileAddress) -> Mapping[str, Any]: ...


class _OpenFile:
    """A descriptor that is closed once nobody is using it: closing it under somebody's feet would hand its number on.

    Safe for threads.

    :param io: where it is open.
    """

    def __init__(self, io: Operations, fd: int) -> None:
        self.io = io
        io.files += 1
        self._fd: int | None = fd
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False

    def __enter__(self) -> int:
        """Lend the descriptor.

        :raises StoreClosed: it was closed.
        """
        with self._lock:
            if self._closed or self._fd is None:
                raise errors.StoreClosed("the image was closed")
            self._users += 1
            return self._fd

    def __exit__(self, *error: object) -> None:
        self._let_go(1)

    def close(self) -> None:
        """Close it once the others are done; harmless when repeated."""
        self._closed = True
        self._let_go(0)

    def _let_go(self, users: int) -> None:
        if (fd := self._taken(users)) is not None:
            with contextlib.suppress(errors.StoreLibError):  # the helper ended, and the file with it
                self.io.close(fd)

    def _taken(self, users: int) -> int | None:
        """Note that `users` are done; return the descriptor if it is to be closed now."""
        with self._lock:
            self._users -= users
            if self._closed and not self._users and self._fd is not None:
                fd, self._fd = self._fd, None
                self.io.files -= 1
                return fd
        return None

    def __del__(self) -> None:
        self._closed = True
        if (fd := self._taken(0)) is not None:
            self.io.close_later(fd)


class FileDownload(Download):
    """An open file.

    :param io: where it is open.
    :param fd: its descriptor, which now belongs to the download.
    """

    def __init__(self, io: Operations, fd: int) -> None:
        self._io = io
        self._file = _OpenFile(io, fd)
        self.info = info_of(io.seen(fd))
        self.limits = Limits(ranges=True)

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of the range."""
        end = offset + length
        while offset < end:
            with self._file as fd:
                chunk: bytes = self._io.read(fd, min(_READ, end - offset), offset)
            if not chunk:
                raise errors.BackendError(f"the file was cut off at {offset} bytes while it was read")
            offset += len(chunk)
            yield chunk

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """Yield data and holes."""
        end = offset + length
        while offset < end:
            window = min(_WINDOW, end - offset)
            with self._file as fd:
                found = self._io.extents(fd, offset, window)
            for at, size, hole in found:
                yield Extent(at, size, hole)
            offset += window

    def close(self) -> None:
        """Close the file, once no reader is inside."""
        self._file.close()


class FileUpload(Upload[FileAddress]):
    """An image on its way into a directory.

    :param room: bytes to take at the start, so that a full file system says so then; 0 to let the file grow.
    """

    def __init__(
        self, driver: _Driver, directory: Directory, held: Held, address: FileAddress, owner: Owner, room: int = 0
    ) -> None:
        self._room = room
        self.limits = driver.limits
        self.uuid = owner.upload
        self._driver = driver
        self._directory = directory
        self._held = held
        self._io = held.io
        self._address = address
        self._owner = owner
        self._file: _OpenFile | None = None
        self._temporary: str | None = None
        #: What it is, once it is whole and its name is asked for.
        self._mine: _posix.Seen | None = None
        self._copied: _OpenFile | None = None
        self._opening = threading.Lock()
        self._flushing = Flushing(held.io, driver.call_timeout) if driver.call_timeout else None

    def _use(self) -> _OpenFile:
        if self._file is None:
            raise errors.StoreClosed("the upload has ended")
        return self._file

    def start(self) -> None:
        """Make the file."""
        permissions = self._driver.mode or 0o666
        fd = self._io.create_unnamed(self._held.fd, permissions)
        if fd is None:
            self._temporary = TEMPORARY + self._owner.encode()
            fd = self._io.create_hidden(self._held.fd, self._temporary, permissions)
        self._file = _OpenFile(self._io, fd)
        if self._room:
            self._io.allocate(fd, self._room)

    def write_part(self, part: Part) -> None:
        """Write the bytes at their place."""
        with self._use() as fd:
            self._io.write(fd, part.data, part.offset)
            self._wrote(fd, part.offset, len(part.data))

    def copy_part(self, source: Driver[Any], address: Address, index: int, offset: int, length: int) -> None:
        """Have the kernel copy the bytes from another file of this machine, as shared blocks where it can."""
        with self._opening:
            if self._copied is None:
                self._copied = _OpenFile(self._io, open_elsewhere(source, address, self._io))
        with self._use() as fd, self._copied as other:
            if not self._io.copy_range(other, fd, offset, length):
                raise errors.CannotMigrate("the kernel copies nothing between these file systems")
            self._wrote(fd, offset, length)

    def _wrote(self, fd: int, offset: int, size: int) -> None:
        """See that what is left to one flush stays small, where calls are given up."""
        if self._flushing is None:
            return
        try:
            self._flushing.wrote(fd, offset, size)
        except OSError as error:
            raise final_error(error) from error

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[FileAddress]:
        """Bring the file to the disk and give it its name."""
        with self._use() as fd:
            try:
                mine: _posix.Seen = self._io.sync(fd, size, self._driver.mode)
                self._in_place()
            except OSError as error:
                raise final_error(error) from error
            except errors.StoreLibError as error:
                error.outcome = errors.Outcome.NOT_DONE  # whatever became of that: the name was not asked for yet
                raise
            self._mine = mine
            self._publish(fd)
            try:
                self._in_place()  # what was moved away meanwhile is not where its location says
            except errors.StoreLibError:
                with contextlib.suppress(OSError):
                    self._io.unlink(self._held.fd, self._address.name)
                raise
            return self._committed(mine)

    def _in_place(self) -> None:
        """See that the directory which holds the file still is the configured one."""
        if self._directory.use(self._io) is not self._held:
            raise errors.StoreUnavailable(
                f"{self._address.directory} became another directory while the image was written", transient=False
            )

    def _publish(self, fd: int) -> None:
        name = self._address.name
        try:
            if len(self._driver.targets) > 1:
                others = [held.fd for _, held in self._driver.ready_targets(self._io)]
                self._io.publish_alone(others, self._held.fd, fd, self._temporary, name)
            else:
                self._io.publish(self._held.fd, fd, self._temporary, name)
        except FileExistsError as error:
            # A server that lost its answer repeats the call, and finds the name that the first one made.
            if not self._is_mine(self._held):
                raise errors.Duplicate(f"image {name} is there already") from error
        except OSError as error:
            raise final_error(error) from error

    def _is_mine(self, held: Held) -> bool:
        """Whether the final name is this very file."""
        if self._mine is None:
            return False
        try:
            found = held.io.stat_name(held.fd, self._address.name)
        except FileNotFoundError:
            return False
        return (self._mine.device, self._mine.inode) == (found.device, found.inode)

    def outcome(self) -> Committed[FileAddress] | None:
        """Look whether the final name is this file, by another helper where this one's was lost."""
        if self._mine is None:
            return None
        try:
            done = self._is_mine(self._held)
        except errors.StoreUnavailable:
            done = self._is_mine(self._directory.use(self._driver.operations()))
        return self._committed(self._mine) if done else None

    def _committed(self, found: _posix.Seen) -> Committed[FileAddress]:
        return Committed(self._address, info_of(found), self._driver.metadata(self._address))

    def abort(self) -> Sequence[Leftover]:
        """Remove the hidden file and close."""
        # Nothing is forgotten before it is done: who is interrupted in here comes again.
        if self._copied is not None:
            self._copied.close()
        if self._file is not None:
            self._file.close()  # first: network file systems keep a removed file that is open under yet another name
        temporary = self._temporary
        if temporary is not None and not self._removed(temporary):
            return [Leftover("temporary file", FileAddress(self._address.directory, temporary), self._owner)]
        self._file = self._copied = self._temporary = None
        return []

    def _removed(self, temporary: str) -> bool:
        """Remove the hidden file, by another helper if need be; return whether it is gone."""
        try:
            try:
                self._io.unlink(self._held.fd, temporary)
            except errors.StoreUnavailable:
                held = self._directory.use(self._driver.operations())
                held.io.unlink(held.fd, temporary)
        except FileNotFoundError:
            return True
        except (OSError, errors.StoreLibError):
            return False
        return True
