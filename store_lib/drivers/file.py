"""The file store: images as files in one or several directories.

An image is written to a file that has no name yet (or a hidden one where the file system can't do that), brought to
the disk, and linked to its final name: exclusive, atomic and durable.  Directories are resolved once and held open;
every operation goes through that handle and first makes sure that the configured path still is that directory.

Location: ``file://<directory>/<image id>``, nothing percent-quoted, as glance_store writes it; ``filesystem://`` is
read too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from store_lib import errors
from store_lib.drivers import _file_opts, _posix
from store_lib.drivers._directory import Directory, Held
from store_lib.interface import (
    MIB,
    Address,
    Capacity,
    Committed,
    Context,
    Deletion,
    Download,
    Driver,
    Extent,
    Feature,
    Leftover,
    Limits,
    Listed,
    ObjectInfo,
    Owner,
    Part,
    Probe,
    Runtime,
    Status,
    Token,
    Upload,
)
from store_lib.location import check_image_id, redact, scheme_of
from store_lib.settings import StoreSettings

__all__ = ["FileAddress", "FileDriver"]

_TEMPORARY = ".store_lib-"
_READ = 1 * MIB
#: Extents of a file are asked for in windows of this size, so that a badly fragmented image takes no memory.
_WINDOW = 1024 * MIB


@dataclasses.dataclass(frozen=True)
class FileAddress(Address):
    """A file of the store.

    :param directory: path of the configured directory.
    :param name: path of the file below it.
    """

    directory: str
    name: str

    @property
    def path(self) -> str:
        """The whole path."""
        return f"{self.directory.rstrip('/')}/{self.name}"


def _os_error(error: OSError) -> errors.StoreLibError:
    """Map by errno; whoever can tell a missing image from a missing directory does so before."""
    text = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return errors.StoreFull(f"the file system has no room: {text}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return errors.Forbidden(f"the file system refuses: {text}")
    if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.ENAMETOOLONG, errno.ENXIO):
        return errors.BadLocation(f"there is no image that way: {text}")
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN):
        return errors.Busy(f"the machine has run out of something: {text}")
    if error.errno == errno.EEXIST:
        return errors.Duplicate("an image of that id is there already")
    # A disk that failed to read or write fails again, and of a lost write the kernel tells only once.
    broken = error.errno in (errno.EIO, errno.EUCLEAN)
    return errors.StoreUnavailable(f"the file system fails: {text}", transient=not broken)


def _final(error: OSError) -> errors.StoreLibError:
    """Map an error of bringing an image to the disk: never to be tried again.

    The kernel tells a failed write once and then forgets it: a second try would call lost bytes stored.
    """
    failure = _os_error(error)
    failure.transient = False
    return failure


class FileDriver(Driver[FileAddress]):
    """Images as files."""

    OPTIONS = _file_opts.OPTIONS
    # Flushing a large file takes minutes on a slow disk, and that is no fault.
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"operation_timeout": 0}
    STANDS_FOR: ClassVar[Mapping[str, str]] = {"filesystem_store_timeout": "operation_timeout"}
    FEATURES = (
        Feature.WRITE
        | Feature.DELETE
        | Feature.RANGES
        | Feature.LIST
        | Feature.EXCLUSIVE
        | Feature.SPARSE
        | Feature.CAPACITY
        | Feature.LEFTOVERS
    )
    SCHEMES = ("file", "filesystem")
    ERRORS = ((OSError, _os_error),)

    def __init__(self, settings: StoreSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        self.mode = _file_opts.file_mode(settings)
        self.thin = bool(settings["filesystem_thin_provisioning"])
        self.directories = [Directory(each, runtime, self.mode) for each in _file_opts.directories(settings)]
        self._by_path = {each.path: each for each in self.directories}
        self._metadata = _file_opts.load_metadata(settings)

    @classmethod
    def check(cls, settings: StoreSettings) -> Iterable[errors.Mistake]:
        """Yield every mistake in the options."""
        return _file_opts.check(settings)

    @property
    def targets(self) -> Sequence[Directory]:
        """The directories that new images go to."""
        return [each for each in self.directories if each.writable]

    @property
    def limits(self) -> Limits:
        """The limits of every upload."""
        return Limits(parallel=2, sparse=4096, thin=self.thin)

    # -- locations ----------------------------------------------------------------------------------------------------

    def parse(self, uri: str) -> FileAddress:
        """Return the address of ``file://<path>``; the path must lie in a configured directory."""
        scheme = scheme_of(uri)
        path = uri[len(scheme) + 3 :]
        if scheme not in self.SCHEMES:
            raise errors.ForeignLocation(f"{redact(uri)} is no location of a file store")
        if uri[len(scheme) : len(scheme) + 3] != "://" or not path.startswith("/"):
            raise errors.BadLocation(f"{redact(uri)} is malformed: write file:///directory/id")
        for directory in sorted(self._by_path, key=len, reverse=True):
            below = directory.rstrip("/") + "/"
            if path.startswith(below) and path != below:
                return FileAddress(directory, _checked_name(path[len(below) :], uri))
        raise errors.ForeignLocation(f"{redact(uri)} lies in no directory of this store")

    def uri(self, address: FileAddress) -> str:
        """Return ``file://<path>``."""
        return f"file://{address.path}"

    def image_id(self, address: FileAddress) -> str | None:
        """Return the name of the file."""
        return address.name.rpartition("/")[2]

    def prefix(self) -> str | None:
        """Return what the locations in the best directory begin with."""
        return f"file://{self.targets[0].path}"

    def _held(self, address: FileAddress) -> Held:
        return self._by_path[address.directory].use()

    # -- reading ------------------------------------------------------------------------------------------------------

    def stat(self, address: FileAddress, ctx: Context) -> ObjectInfo:
        """Return size and time of the file."""
        held = self._held(address)
        with _missing(address):
            found = _posix.stat_name(held.fd, address.name)
        if not found.regular:
            raise errors.BadLocation("there is no image that way: not a regular file")
        return _info(found)

    def open(self, address: FileAddress, offset: int, length: int | None, ctx: Context) -> Download:
        """Open the file."""
        held = self._held(address)
        with _missing(address):
            return FileDownload(_posix.open_file(held.fd, address.name))

    def list(self, ctx: Context) -> Iterator[Listed[FileAddress]]:
        """Yield the files that lie directly in the directories and are not hidden."""
        for directory in self.targets:
            for name, found in _posix.scan(directory.use().fd):
                if not name.startswith(".") and name.isprintable():  # others have no location
                    at = FileAddress(directory.path, name)
                    yield Listed(at, _image_id(name), found.size, _time(found.modified))

    # -- writing ------------------------------------------------------------------------------------------------------

    def upload(self, image_id: str, size: int | None, ctx: Context) -> Upload[FileAddress]:
        """Choose the directory; see that the name is free and the size fits."""
        ready = self.ready_targets()
        for directory, held in ready:
            if _exists(held, image_id):
                raise errors.Duplicate(f"image {image_id} is there already, in {directory.path}")
        writable = [each for each in ready if _posix.writable(each[1].fd) and not _posix.read_only(each[1].fd)]
        if not writable:
            raise errors.Forbidden("this user cannot write to any directory of the store; see to its permissions")
        ranked = [(directory.priority, _posix.room(held.fd).free, directory, held) for directory, held in writable]
        ranked.sort(key=lambda each: each[:2], reverse=True)
        for _, free, directory, held in ranked:
            if free >= (size or 1):
                return FileUpload(self, directory, held, FileAddress(directory.path, image_id), ctx.owner)
        free = max(each[1] for each in ranked)
        raise errors.StoreFull(f"{size or 1} bytes do not fit: {free} are free; make room or use another store")

    def ready_targets(self) -> Sequence[tuple[Directory, Held]]:
        """Return the directories that work; raise the first failure when none does."""
        ready, failures = [], []
        for directory in self.targets:
            try:
                ready.append((directory, directory.use()))
            except (errors.StoreLibError, OSError) as error:
                failures.append(error)
        if not ready:
            raise failures[0]
        return ready

    def delete(self, address: FileAddress, ctx: Context) -> Deletion:
        """Remove the file; who has it open reads on."""
        held = self._held(address)
        with _missing(address):
            if not _posix.stat_name(held.fd, address.name).regular:
                raise errors.BadLocation("there is no image that way: not a regular file")
            _posix.unlink(held.fd, address.name)
        return Deletion.DELETED

    def metadata(self, address: FileAddress) -> Mapping[str, Any]:
        """Return what services are told about the location."""
        return _file_opts.metadata_of(self._metadata, address.path)

    # -- the store itself ---------------------------------------------------------------------------------------------

    def probe(self, ctx: Context) -> Probe:
        """See whether each directory is there, is the one that was opened, and can be written to.

        As long as one can, the store is usable.
        """
        found = sorted((directory.probe() for directory in self.targets), key=lambda each: _RANK[each.status])
        best, worst = found[0], found[-1]
        if _RANK[best.status] < _RANK[Status.READ_ONLY] <= _RANK[worst.status]:
            return Probe(Status.DEGRADED, worst.reason, worst.details)
        return worst

    def capacity(self, ctx: Context) -> Capacity:
        """Return the room of the file systems, each counted once."""
        rooms = {room.device: room for room in (_posix.room(each.use().fd) for each in self.targets)}
        total = sum(room.total for room in rooms.values())
        free = sum(room.free for room in rooms.values())
        return Capacity(total, free, total - free)

    def describe(self) -> Mapping[str, Any]:
        """Return what services show of a file store."""
        return {
            "datadirs": [each.path for each in self.targets],
            "chunk_size": self.settings["filesystem_store_chunk_size"],
            "thin_provisioning": self.thin,
        }

    # -- leftovers ----------------------------------------------------------------------------------------------------

    def leftovers(self, ctx: Context) -> Iterator[Leftover]:
        """Yield the hidden files of uploads, those under way included."""
        for directory in self.targets:
            held = directory.use()
            for name, found in _posix.scan(held.fd):
                owner = Owner.decode(name[len(_TEMPORARY) :]) if name.startswith(_TEMPORARY) else None
                if owner is None:
                    continue
                alive = False
                try:
                    alive = _posix.is_locked(held.fd, name)
                except FileNotFoundError:  # ended since
                    continue
                except PermissionError:  # another user's: its age tells
                    pass
                at = FileAddress(directory.path, name)
                yield Leftover("temporary file", at, owner, _time(found.modified), found.size, alive)

    def sweep(self, leftover: Leftover, ctx: Context) -> None:
        """Remove a hidden file that nobody writes any more."""
        address: FileAddress = leftover.address
        if not address.name.startswith(_TEMPORARY) or "/" in address.name:
            raise errors.BadRequest("this is no leftover of a file store")
        held = self._held(address)
        with _missing(address):
            if _posix.is_locked(held.fd, address.name):
                raise errors.InUse("somebody is writing to it")
            _posix.unlink(held.fd, address.name)

    def close(self) -> None:
        """Let go of the directories."""
        for directory in self.directories:
            directory.close()


_RANK = {Status.UP: 0, Status.UNKNOWN: 1, Status.DEGRADED: 1, Status.READ_ONLY: 2, Status.DOWN: 3}


def _checked_name(name: str, uri: str) -> str:
    for part in name.split("/"):
        if not part or part.startswith(".") or len(os.fsencode(part)) > 255:
            raise errors.BadLocation(f"{redact(uri)} is malformed: no part of it may be empty, hidden or over-long")
    return name


@contextlib.contextmanager
def _missing(address: FileAddress) -> Iterator[None]:
    """Around what touches one name, once its directory was seen to be there: missing now means the image is missing."""
    try:
        yield
    except FileNotFoundError as error:
        raise errors.NotFound(f"there is no image {address.name} in {address.directory}") from error


def _exists(held: Held, name: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        _posix.stat_name(held.fd, name)
        return True
    return False


def _image_id(name: str) -> str | None:
    with contextlib.suppress(errors.BadImageId):
        return check_image_id(name)
    return None


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _info(found: _posix.Seen) -> ObjectInfo:
    version = (found.device, found.inode, found.size, found.modified)
    return ObjectInfo(found.size, _time(found.modified), version=version)


class _OpenFile:
    """A descriptor that is closed once nobody is using it: closing it under somebody's feet would hand its number on.

    Safe for threads.
    """

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False

    @contextlib.contextmanager
    def use(self) -> Iterator[int]:
        """Lend the descriptor.

        :raises StoreClosed: it was closed.
        """
        with self._lock:
            if self._closed or self._fd is None:
                raise errors.StoreClosed("the image was closed")
            self._users += 1
        try:
            yield self._fd
        finally:
            self._let_go(1)

    def close(self) -> None:
        """Close it once the others are done; harmless when repeated."""
        self._closed = True
        self._let_go(0)

    def _let_go(self, users: int) -> None:
        with self._lock:
            self._users -= users
            if self._closed and not self._users and self._fd is not None:
                fd, self._fd = self._fd, None
                with contextlib.suppress(OSError):  # what it may still tell concerns bytes that nobody wants
                    os.close(fd)

    def __del__(self) -> None:
        self.close()


class FileDownload(Download):
    """An open file.

    :param fd: its descriptor, which now belongs to the download.
    """

    def __init__(self, fd: int) -> None:
        self._file = _OpenFile(fd)
        self.info = _info(_posix.seen(fd))
        self.limits = Limits(ranges=True)

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of the range."""
        end = offset + length
        while offset < end:
            with self._file.use() as fd:
                chunk = _posix.read(fd, min(_READ, end - offset), offset)
            if not chunk:
                raise errors.BackendError(f"the file was cut off at {offset} bytes while it was read")
            offset += len(chunk)
            yield chunk

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """Yield data and holes."""
        end = offset + length
        while offset < end:
            window = min(_WINDOW, end - offset)
            with self._file.use() as fd:
                found = _posix.extents(fd, offset, window)
            for at, size, hole in found:
                yield Extent(at, size, hole)
            offset += window

    def close(self) -> None:
        """Close the file, once no reader is inside."""
        self._file.close()


class FileUpload(Upload[FileAddress]):
    """An image on its way into a directory."""

    def __init__(
        self, driver: FileDriver, directory: Directory, held: Held, address: FileAddress, owner: Owner
    ) -> None:
        self.limits = driver.limits
        self.uuid = owner.upload
        self._driver = driver
        self._directory = directory
        self._held = held
        self._address = address
        self._owner = owner
        self._file: _OpenFile | None = None
        self._temporary: str | None = None

    def _use(self) -> contextlib.AbstractContextManager[int]:
        if self._file is None:
            raise errors.StoreClosed("the upload has ended")
        return self._file.use()

    def start(self) -> None:
        """Make the file."""
        permissions = self._driver.mode or 0o666
        fd = _posix.create_unnamed(self._held.fd, permissions)
        if fd is None:
            self._temporary = _TEMPORARY + self._owner.encode()
            fd = _posix.create_hidden(self._held.fd, self._temporary, permissions)
        self._file = _OpenFile(fd)

    def write_part(self, part: Part) -> None:
        """Write the bytes at their place."""
        with self._use() as fd:
            _posix.write(fd, part.data, part.offset)

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[FileAddress]:
        """Bring the file to the disk and give it its name."""
        with self._use() as fd:
            try:
                _posix.sync(fd, size, self._driver.mode)
            except OSError as error:
                raise _final(error) from error
            self._in_place()
            self._publish(fd)
            try:
                self._in_place()  # what was moved away meanwhile is not where its location says
            except errors.StoreLibError:
                with contextlib.suppress(OSError):
                    _posix.unlink(self._held.fd, self._address.name)
                raise
            return self._committed(_posix.seen(fd))

    def _in_place(self) -> None:
        """See that the directory which holds the file still is the configured one."""
        if self._directory.use() is not self._held:
            raise errors.StoreUnavailable(
                f"{self._address.directory} became another directory while the image was written", transient=False
            )

    def _publish(self, fd: int) -> None:
        held = [held for _, held in self._driver.ready_targets()]
        name = self._address.name
        guard = _posix.exclusive([each.fd for each in held]) if len(held) > 1 else contextlib.nullcontext()
        try:
            with guard:
                if any(_exists(each, name) for each in held if each is not self._held):
                    raise FileExistsError
                _posix.publish(self._held.fd, fd, self._temporary, name)
        except FileExistsError as error:
            if not self._is_mine(fd):  # a server that lost its answer repeats the call and finds the first one's name
                raise errors.Duplicate(f"image {name} is there already") from error
        except OSError as error:
            raise _final(error) from error

    def _is_mine(self, fd: int) -> bool:
        """Whether the final name is this very file."""
        mine = _posix.seen(fd)
        try:
            found = _posix.stat_name(self._held.fd, self._address.name)
        except FileNotFoundError:
            return False
        return (mine.device, mine.inode) == (found.device, found.inode)

    def outcome(self) -> Committed[FileAddress] | None:
        """Look whether the final name is this file."""
        if self._file is None:
            return None
        with self._use() as fd:
            return self._committed(_posix.seen(fd)) if self._is_mine(fd) else None

    def _committed(self, found: _posix.Seen) -> Committed[FileAddress]:
        return Committed(self._address, _info(found), self._driver.metadata(self._address))

    def abort(self) -> Sequence[Leftover]:
        """Remove the hidden file and close."""
        file, self._file = self._file, None
        temporary, self._temporary = self._temporary, None
        left: list[Leftover] = []
        if temporary is not None:
            try:
                _posix.unlink(self._held.fd, temporary)
            except FileNotFoundError:
                pass
            except OSError:
                left = [Leftover("temporary file", FileAddress(self._address.directory, temporary), self._owner)]
        if file is not None:
            file.close()
        return left
