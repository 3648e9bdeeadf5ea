"""A configured directory, held open and known to be the one that was opened."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable

from store_lib import errors
from store_lib.drivers._access import Operations
from store_lib.drivers._file_opts import DirectorySetting
from store_lib.interface import Context, Probe, Status

__all__ = ["Directory", "Held"]

LOG = logging.getLogger(__name__)


class Held:
    """An open directory; closed once nobody refers to it, so that transfers under way keep theirs.

    :param io: where it is open.
    :param real: the path with all links resolved at the time it was opened.
    """

    #: Number of the mount that it was seen to lie on, where that is looked at.
    mount = 0

    #: Numbers of its device and of its inode.
    identity = (0, 0)

    def __init__(self, io: Operations, fd: int, real: str) -> None:
        self.io = io
        self.fd = fd
        self.real = real

    def __del__(self) -> None:
        self.io.close_later(self.fd)

    def has(self, name: str) -> bool:
        """Return whether something of that name lies in it."""
        try:
            self.io.stat_name(self.fd, name)
        except FileNotFoundError:
            return False
        return True


class Directory:
    """One directory of a store; safe for threads and across forks.

    It is made when it is missing at its first use in this process, and never again: a directory that disappears while
    the service runs is a fault (a mount that is gone) and no place for images.

    :param mode: permissions of the files in it; those who may read them are let in.
    """

    #: Whether it lies on a server, whose calls may hang and whose errors come when a file is flushed.
    remote = False

    def __init__(self, setting: DirectorySetting, mode: int) -> None:
        self.path = setting.path
        self.priority = setting.priority
        self.writable = setting.writable
        self._mode = mode
        self._real = self._mount = ""
        self._identity: tuple[int, int] | None = None

    def use(self, io: Operations) -> Held:
        """Return the open directory, seen to be at its configured path in this very call.

        :raises StoreUnavailable: it is gone, or something else lies in its place.
        """
        held: Held | None = io.kept.get(self)
        if held is not None:
            try:
                if io.same_directory(*held.identity, held.real):
                    return held
            except OSError as error:
                raise self._gone(error) from error
        with io.opening:
            if io.kept.get(self) is held:
                io.kept[self] = self._open(io)
            found: Held = io.kept[self]
            return found

    def _open(self, io: Operations) -> Held:
        try:
            # Resolved once: a link that is put in the directory's place later leads nowhere.
            real = self._real or self._resolve(io)
            held = Held(io, io.open_directory(real), real)
            mount = io.mount_point(real)
            seen = io.seen(held.fd)
        except OSError as error:
            raise self._gone(error) from error
        if len(mount) < len(self._mount):  # both lead to `real`: below it now lies what the mount used to cover
            raise errors.StoreUnavailable(
                f"directory {self.path} cannot be used: nothing is mounted at {self._mount} any more; mount it again"
            )
        held.identity = identity = (seen.device, seen.inode)
        if self._identity not in (None, identity):
            LOG.warning("%s is another directory now, it is used from now on", self.path)
        self._real, self._mount, self._identity = real, mount, identity
        if self.writable and self._mode:
            try:
                io.allow_search(held.fd, self._mode)
            except OSError as error:
                LOG.warning("those who may read the images cannot enter %s: %s; run chmod a+x on it", self.path, error)
        return held

    @property
    def real(self) -> str:
        """Its path with all links resolved, empty before its first use."""
        return self._real

    def _resolve(self, io: Operations) -> str:
        real: str = io.make_directories(self.path) if self.writable else io.resolve(self.path)
        return real

    def _gone(self, error: OSError) -> errors.StoreUnavailable:
        return errors.StoreUnavailable(
            f"directory {self.path} cannot be used: {error.strerror}; see that it is there and mounted",
            transient=not (isinstance(error, NotADirectoryError | PermissionError) or error.errno == errno.ESTALE),
        )

    def backend(self, io: Operations) -> str:
        """Return what names its file system."""
        return f"file:{socket.gethostname()}:{io.seen(self.use(io).fd).device}"

    def prove(self, held: Held) -> None:
        """See that the place itself answers, after a name was said to be missing; a local directory always does."""

    def probe(self, operations: Callable[[], Operations], ctx: Context) -> Probe:
        """Return how usable the directory is."""
        try:
            io = operations()
            held = self.use(io)
        except errors.StoreLibError as error:
            return Probe(Status.DOWN, error.message)
        if io.read_only(held.fd):
            return Probe(Status.READ_ONLY, f"{self.path} is on a file system that is mounted read-only")
        if self.writable and not io.writable(held.fd):
            return Probe(Status.READ_ONLY, f"{self.path} cannot be written to by this user")
        room = io.room(held.fd)
        if room.free < room.total * 0.05:
            return Probe(Status.DEGRADED, f"less than 5 % of {self.path} is free", {"free": room.free})
        return Probe(Status.UP, details={"free": room.free})
