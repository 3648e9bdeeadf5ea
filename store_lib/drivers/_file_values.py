"""Values of the file store: addresses, what a file tells, what its errors mean."""

from __future__ import annotations

import dataclasses
import datetime
import errno

from store_lib import errors
from store_lib.drivers import _posix
from store_lib.interface import Address, ObjectInfo

__all__ = ["TEMPORARY", "FileAddress", "final_error", "info_of", "os_error", "utc"]

#: What the names of hidden files begin with; the owner record follows.
TEMPORARY = ".store_lib-"


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


def os_error(error: OSError) -> errors.StoreLibError:
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


def final_error(error: OSError) -> errors.StoreLibError:
    """Map an error of bringing an image to the disk: never to be tried again.

    The kernel tells a failed write once and then forgets it: a second try would call lost bytes stored.
    """
    failure = os_error(error)
    failure.transient = False
    return failure


def utc(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def info_of(found: _posix.Seen) -> ObjectInfo:
    version = (found.device, found.inode, found.size, found.modified)
    return ObjectInfo(found.size, utc(found.modified), version=version)
