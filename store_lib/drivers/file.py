"""The file store: images as files in one or several directories.

An image is written to a file that has no name yet (or a hidden one where the file system can't do that), brought to
the disk, and linked to its final name: exclusive, atomic and durable.  Directories are resolved once and held open;
every operation goes through that handle and first makes sure that the configured path still is that directory.

Location: ``file://<directory>/<image id>``, nothing percent-quoted, as glance_store writes it; ``filesystem://`` is
read too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from store_lib import errors
from store_lib.drivers import _file_copy, _file_opts, _nfs_opts
from store_lib.drivers._access import REMOTE_TIMEOUT, Access, Operations
from store_lib.drivers._directory import Directory, Held
from store_lib.drivers._file_transfer import FileDownload, FileUpload
from store_lib.drivers._file_values import TEMPORARY, FileAddress, info_of, os_error, utc
from store_lib.drivers._nfs_directory import NfsDirectory
from store_lib.interface import (
    Capacity,
    Committed,
    Context,
    Deletion,
    Download,
    Driver,
    Feature,
    Leftover,
    Limits,
    Listed,
    ObjectInfo,
    Owner,
    Probe,
    Runtime,
    Status,
    Upload,
)
from store_lib.location import check_image_id, redact, scheme_of
from store_lib.settings import StoreSettings

__all__ = ["FileAddress", "FileDriver"]


class FileDriver(Driver[FileAddress], _file_copy.FileStore):
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
        | Feature.COPY
        | Feature.MOVE
    )
    SCHEMES: ClassVar[tuple[str, ...]] = ("file", "filesystem")
    ERRORS = ((OSError, os_error),)

    def __init__(self, settings: StoreSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        self.mode = _file_opts.file_mode(settings)
        self.thin = bool(settings["filesystem_thin_provisioning"])
        self.directories = self._made_directories()
        #: Whether a server holds the files.
        self.remote = any(each.remote for each in self.directories)
        #: The directories that new images go to.
        self.targets: Sequence[Directory] = [each for each in self.directories if each.writable]
        self._access = Access(settings, runtime, self.remote)
        self.buffers = self._access.buffers
        self.call_timeout = self._access.timeout
        self._by_path = {each.path: each for each in self.directories}
        self._metadata = _file_opts.load_metadata(settings)
        # A server is asked for the room of an image at once, so that only thin provisioning leaves holes there.
        self._features = self.FEATURES if self.thin or not self.remote else self.FEATURES & ~Feature.SPARSE
        # A server tells a failed write to the descriptor that wrote, when it is flushed: one writer, one descriptor.
        sparse = 4096 if Feature.SPARSE in self._features else 0
        ways = 1 if self.remote else 2
        self._limits = Limits(parallel=ways, sparse=sparse, thin=self.thin, copy_max=_file_copy.RANGE)

    @classmethod
    def check(cls, settings: StoreSettings) -> Iterable[errors.Mistake]:
        """Yield every mistake in the options."""
        return _file_opts.check(settings)

    def _made_directories(self) -> Sequence[Directory]:
        """Return the directories of the settings, best first."""
        share = _nfs_opts.file_share(self.settings)
        timeout = self.settings["filesystem_store_timeout"] or REMOTE_TIMEOUT
        return [
            NfsDirectory(each, self.mode, share, timeout) if share and each.writable else Directory(each, self.mode)
            for each in _file_opts.directories(self.settings)
        ]

    @property
    def features(self) -> Feature:
        """All of them, but for holes where a server is asked for the room of an image at once."""
        return self._features

    def operations(self) -> Operations:
        """Return the file operations, run where the store has them run."""
        return self._access.choose()

    @property
    def limits(self) -> Limits:
        """The limits of every upload."""
        return self._limits

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
        return self.reach(address, self.operations())

    def reach(self, address: FileAddress, io: Operations) -> Held:
        """Return the directory of a file, open where `io` runs."""
        return self._by_path[address.directory].use(io)

    @property
    def in_helpers(self) -> bool:
        """Whether only helper processes touch the files."""
        return self._access.helpers

    @contextlib.contextmanager
    def _missing(self, address: FileAddress, held: Held) -> Iterator[None]:
        """Around what touches one name, once its directory was seen: missing now means that the image is missing."""
        try:
            yield
        except FileNotFoundError as error:
            self._by_path[address.directory].prove(held)
            raise errors.NotFound(f"there is no image {address.name} in {address.directory}") from error

    # -- reading ------------------------------------------------------------------------------------------------------

    def stat(self, address: FileAddress, ctx: Context) -> ObjectInfo:
        """Return size and time of the file."""
        with self._access.together():
            held = self._held(address)
            with self._missing(address, held):
                found = held.io.stat_name(held.fd, address.name)
        if not found.regular:
            raise errors.BadLocation("there is no image that way: not a regular file")
        return info_of(found)

    def open(self, address: FileAddress, offset: int, length: int | None, ctx: Context) -> Download:
        """Open the file."""
        with self._access.together():
            held = self._held(address)
            with self._missing(address, held):
                return FileDownload(held.io, held.io.open_file(held.fd, address.name))

    def list(self, ctx: Context) -> Iterator[Listed[FileAddress]]:
        """Yield the files that lie directly in the directories and are not hidden."""
        for directory in self.targets:
            held = directory.use(self.operations())
            for name, found in held.io.scan(held.fd):
                if not name.startswith(".") and name.isprintable():  # others have no location
                    at = FileAddress(directory.path, name)
                    yield Listed(at, _image_id(name), found.size, utc(found.modified))

    # -- writing ------------------------------------------------------------------------------------------------------

    def upload(self, image_id: str, size: int | None, ctx: Context) -> Upload[FileAddress]:
        """Choose the directory; see that the name is free and the size fits."""
        with self._access.together():
            io = self.operations()
            ready = self.ready_targets(io)
            for directory, held in ready:
                if held.has(image_id):
                    raise errors.Duplicate(f"image {image_id} is there already, in {directory.path}")
            directory, held = self.best(io, ready, size or 1)
        room = size or 0 if directory.remote and not self.thin else 0
        return FileUpload(self, directory, held, FileAddress(directory.path, image_id), ctx.owner, room)

    def best(self, io: Operations, ready: Sequence[tuple[Directory, Held]], size: int) -> tuple[Directory, Held]:
        """Return the directory that an image of `size` bytes goes to.

        :param ready: those that work.
        """
        if len(ready) > 1:  # with one there is nothing to choose: making the file tells
            ready = [each for each in ready if io.writable(each[1].fd) and not io.read_only(each[1].fd)]
        if not ready:
            raise errors.Forbidden("this user cannot write to any directory of the store; see to its permissions")
        ranked = [(directory.priority, io.room(held.fd).free, directory, held) for directory, held in ready]
        ranked.sort(key=lambda each: each[:2], reverse=True)
        for _, free, directory, held in ranked:
            if free >= size:
                return directory, held
        free = max(each[1] for each in ranked)
        raise errors.StoreFull(f"{size} bytes do not fit: {free} are free; make room or use another store")

    def ready_targets(self, io: Operations) -> Sequence[tuple[Directory, Held]]:
        """Return the directories that work; raise the first failure when none does."""
        ready, failures = [], []
        for directory in self.targets:
            try:
                ready.append((directory, directory.use(io)))
            except (errors.StoreLibError, OSError) as error:
                failures.append(error)
        if not ready:
            raise failures[0]
        return ready

    def delete(self, address: FileAddress, ctx: Context) -> Deletion:
        """Remove the file; who has it open reads on."""
        with self._access.together():
            held = self._held(address)
            with self._missing(address, held):
                if not held.io.stat_name(held.fd, address.name).regular:
                    raise errors.BadLocation("there is no image that way: not a regular file")
                held.io.unlink(held.fd, address.name)
        return Deletion.DELETED

    def move(self, address: FileAddress, target: Driver[Any], image_id: str, ctx: Context) -> Committed[FileAddress]:
        """Rename the file into a directory of another store, on the same file system."""
        return _file_copy.move(self, address, target, image_id)

    def metadata(self, address: FileAddress) -> Mapping[str, Any]:
        """Return what services are told about the location."""
        return _file_opts.metadata_of(self._metadata, address.path)

    # -- the store itself ---------------------------------------------------------------------------------------------

    def probe(self, ctx: Context) -> Probe:
        """See whether each directory is there, is the one that was opened, and can be written to.

        As long as one can, the store is usable.
        """
        found = sorted((each.probe(self.operations, ctx) for each in self.targets), key=lambda each: _RANK[each.status])
        best, worst = found[0], found[-1]
        if _RANK[best.status] < _RANK[Status.READ_ONLY] <= _RANK[worst.status]:
            return Probe(Status.DEGRADED, worst.reason, worst.details)
        return worst

    def capacity(self, ctx: Context) -> Capacity:
        """Return the room of the file systems, each counted once."""
        io = self.operations()
        rooms = {room.device: room for room in (io.room(each.use(io).fd) for each in self.targets)}
        total = sum(room.total for room in rooms.values())
        free = sum(room.free for room in rooms.values())
        return Capacity(total, free, total - free)

    def backend_id(self) -> str | None:
        """Return the file systems of the directories: the servers' exports, or the devices of this very machine."""
        io = self.operations()
        found = {each.backend(io) for each in self.targets}
        return " ".join(sorted(found))

    def describe(self) -> Mapping[str, Any]:
        """Return what services show of a file store."""
        return {
            "datadirs": [each.path for each in self.targets],
            "chunk_size": self.settings["filesystem_store_chunk_size"],
            "thin_provisioning": self.thin,
        }

    def initialise(self, ctx: Context) -> str:
        """Mark the shares that the directories lie on."""
        done = [each.initialise(self.operations()) for each in self.targets if isinstance(each, NfsDirectory)]
        return "; ".join(done) if done else super().initialise(ctx)

    # -- leftovers ----------------------------------------------------------------------------------------------------

    def leftovers(self, ctx: Context) -> Iterator[Leftover]:
        """Yield the hidden files of uploads, those under way included."""
        for directory in self.targets:
            held = directory.use(self.operations())
            for name, found in held.io.scan(held.fd):
                owner = Owner.decode(name[len(TEMPORARY) :]) if name.startswith(TEMPORARY) else None
                if owner is None:
                    continue
                alive = False
                try:
                    alive = held.io.is_locked(held.fd, name)
                except FileNotFoundError:  # ended since
                    continue
                except PermissionError:  # another user's: its age tells
                    pass
                at = FileAddress(directory.path, name)
                yield Leftover("temporary file", at, owner, utc(found.modified), found.size, alive)

    def sweep(self, leftover: Leftover, ctx: Context) -> None:
        """Remove a hidden file that nobody writes any more."""
        address: FileAddress = leftover.address
        if not address.name.startswith(TEMPORARY) or "/" in address.name:
            raise errors.BadRequest("this is no leftover of a file store")
        held = self._held(address)
        with self._missing(address, held):
            if held.io.is_locked(held.fd, address.name):
                raise errors.InUse("somebody is writing to it")
            held.io.unlink(held.fd, address.name)

    def close(self) -> None:
        """Let go of the directories."""
        self._access.close()


_RANK = {Status.UP: 0, Status.UNKNOWN: 1, Status.DEGRADED: 1, Status.READ_ONLY: 2, Status.DOWN: 3}


def _checked_name(name: str, uri: str) -> str:
    for part in name.split("/"):
        if not part or part.startswith(".") or len(os.fsencode(part)) > 255:
            raise errors.BadLocation(f"{redact(uri)} is malformed: no part of it may be empty, hidden or over-long")
    return name


def _image_id(name: str) -> str | None:
    with contextlib.suppress(errors.BadImageId):
        return check_image_id(name)
    return None
