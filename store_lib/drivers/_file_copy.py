"""Copying and moving between file stores of one machine, without the bytes passing through this process."""

from __future__ import annotations

import abc
import errno
from collections.abc import Mapping, Sequence
from typing import Any

from store_lib import errors
from store_lib.drivers._access import Operations
from store_lib.drivers._directory import Directory, Held
from store_lib.drivers._file_values import FileAddress, info_of, os_error
from store_lib.interface import MIB, Committed

__all__ = ["RANGE", "FileStore", "move", "open_elsewhere"]

#: Bytes that are copied by one call: few enough for its time-out and for a lively progress bar.
RANGE = 64 * MIB

#: What renaming answers where copying may still work: another file system, foreign files, no second name possible.
_DECLINED = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)


class FileStore(abc.ABC):
    """What file stores know of each other."""

    mode: int
    targets: Sequence[Directory]

    @property
    @abc.abstractmethod
    def in_helpers(self) -> bool:
        """Whether only helper processes touch the files."""

    @abc.abstractmethod
    def reach(self, address: FileAddress, io: Operations) -> Held:
        """Return the directory of a file, open where `io` runs."""

    @abc.abstractmethod
    def operations(self) -> Operations:
        """Return the file operations, run where the store has them run."""

    @abc.abstractmethod
    def ready_targets(self, io: Operations) -> Sequence[tuple[Directory, Held]]:
        """Return the directories that work."""

    @abc.abstractmethod
    def best(self, io: Operations, ready: Sequence[tuple[Directory, Held]], size: int) -> tuple[Directory, Held]:
        """Return the directory that an image of `size` bytes goes to."""

    @abc.abstractmethod
    def metadata(self, address: FileAddress) -> Mapping[str, Any]:
        """Return what services are told about the location."""


def open_elsewhere(source: object, address: Any, io: Operations) -> int:
    """Return a descriptor of a file of another store, open where `io` runs.

    :raises CannotMigrate: that is no file store, or one whose files must not be touched from there.
    """
    if not isinstance(source, FileStore):
        raise errors.CannotMigrate("the source is no file store")
    if source.in_helpers and not io.killable:
        raise errors.CannotMigrate("the source may hang, and only helper processes may touch it")
    held = source.reach(address, io)
    file: int = io.open_file(held.fd, address.name)
    return file


def move(source: FileStore, address: FileAddress, target: object, image_id: str) -> Committed[FileAddress]:
    """Rename a file into a directory of `target`; exclusive, durable, and never without a name.

    :raises CannotMigrate: it lies on another file system, or may not be renamed.
    """
    io = source.operations()
    if not isinstance(target, FileStore):
        raise errors.CannotMigrate("the destination is no file store")
    if target.in_helpers and not io.killable:
        raise errors.CannotMigrate("the destination may hang, and only helper processes may touch it")
    held = source.reach(address, io)
    ready = target.ready_targets(io)
    try:
        directory, place = _destination(io, target, ready, io.stat_name(held.fd, address.name), image_id)
        alone = [each.fd for _, each in ready] if len(target.targets) > 1 else []
        io.move(held.fd, address.name, place.fd, image_id, target.mode, alone)
    except FileNotFoundError as error:
        raise errors.NotFound(f"there is no image {address.name} in {address.directory}") from error
    except FileExistsError as error:
        raise errors.Duplicate(f"image {image_id} is there already") from error
    except OSError as error:
        if error.errno in _DECLINED:
            raise errors.CannotMigrate(f"the file cannot be renamed: {error.strerror}") from error
        raise os_error(error) from error
    made = FileAddress(directory.path, image_id)
    return Committed(made, info_of(io.stat_name(place.fd, image_id)), target.metadata(made))


def _destination(
    io: Operations, target: FileStore, ready: Sequence[tuple[Directory, Held]], mine: Any, image_id: str
) -> tuple[Directory, Held]:
    """Return where the image goes: where an earlier move was cut short, else the best directory."""
    for directory, held in ready:
        if held.has(image_id):
            theirs = io.stat_name(held.fd, image_id)
            if (theirs.device, theirs.inode) != (mine.device, mine.inode):
                raise errors.Duplicate(f"image {image_id} is there already, in {directory.path}")
            return directory, held
    return target.best(io, ready, 0)
