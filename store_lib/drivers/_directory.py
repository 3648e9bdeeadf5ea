"""A configured directory, held open and known to be the one that was opened."""

from __future__ import annotations

import logging
import os

from store_lib import errors
from store_lib.drivers import _posix
from store_lib.drivers._file_opts import DirectorySetting
from store_lib.interface import Probe, Runtime, Status

__all__ = ["Directory", "Held"]

LOG = logging.getLogger(__name__)


class Held:
    """An open directory; closed once nobody refers to it, so that transfers under way keep theirs.

    :param real: the path with all links resolved at the time it was opened.
    """

    def __init__(self, fd: int, real: str) -> None:
        self.fd = fd
        self.real = real

    def __del__(self) -> None:
        os.close(self.fd)


class Directory:
    """One directory of a store; safe for threads and across forks.

    It is made when it is missing at its first use in this process, and never again: a directory that disappears while
    the service runs is a fault (a mount that is gone) and no place for images.

    :param mode: permissions of the files in it; those who may read them are let in.
    """

    def __init__(self, setting: DirectorySetting, runtime: Runtime, mode: int) -> None:
        self.path = setting.path
        self.priority = setting.priority
        self.writable = setting.writable
        self._mode = mode
        self._real = self._mount = ""
        self._held = runtime.per_process(self._open, lambda held: None)

    def use(self) -> Held:
        """Return the open directory, seen to be at its configured path in this very call.

        :raises StoreUnavailable: it is gone, or something else lies in its place.
        """
        held = self._held.get()
        try:
            if _posix.same_directory(held.fd, held.real):
                return held
        except OSError as error:
            raise self._gone(error) from error
        self._held.discard(held)
        held = self._held.get()
        LOG.warning("%s is another directory now, it is used from now on", self.path)
        return held

    def _open(self) -> Held:
        try:
            # Resolved once: a link that is put in the directory's place later leads nowhere.
            real = self._real or self._resolve()
            held = Held(_posix.open_directory(real), real)
            mount = _posix.mount_point(real)
        except OSError as error:
            raise self._gone(error) from error
        if len(mount) < len(self._mount):  # both lead to `real`: below it now lies what the mount used to cover
            raise errors.StoreUnavailable(
                f"directory {self.path} cannot be used: nothing is mounted at {self._mount} any more; mount it again"
            )
        self._real, self._mount = real, mount
        if self.writable and self._mode:
            try:
                _posix.allow_search(held.fd, self._mode)
            except OSError as error:
                LOG.warning("those who may read the images cannot enter %s: %s; run chmod a+x on it", self.path, error)
        return held

    def _resolve(self) -> str:
        return _posix.make_directories(self.path) if self.writable else os.path.realpath(self.path)

    def _gone(self, error: OSError) -> errors.StoreUnavailable:
        return errors.StoreUnavailable(
            f"directory {self.path} cannot be used: {error.strerror}; see that it is there and mounted",
            transient=not isinstance(error, NotADirectoryError | PermissionError),
        )

    def probe(self) -> Probe:
        """Return how usable the directory is."""
        try:
            held = self.use()
        except errors.StoreLibError as error:
            return Probe(Status.DOWN, error.message)
        if _posix.read_only(held.fd):
            return Probe(Status.READ_ONLY, f"{self.path} is on a file system that is mounted read-only")
        if self.writable and not _posix.writable(held.fd):
            return Probe(Status.READ_ONLY, f"{self.path} cannot be written to by this user")
        room = _posix.room(held.fd)
        if room.free < room.total * 0.05:
            return Probe(Status.DEGRADED, f"less than 5 % of {self.path} is free", {"free": room.free})
        return Probe(Status.UP, details={"free": room.free})

    def close(self) -> None:
        """Let go of the directory; the next use opens it again."""
        self._held.close()
