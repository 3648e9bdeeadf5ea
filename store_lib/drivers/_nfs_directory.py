"""A directory on an NFS share that is seen to be that share before every use.

Three things must agree on what is mounted: the kernel's mount table (type NFS, ``server:export``, and the number of the
mount), the directory that is held open (the number of the mount it lies on, told by the kernel for the descriptor
itself), and the marker file on the share.  All bytes go through the open directory, so what is mounted over
it, unmounted or removed behind the back is noticed before anything is written, and at the latest before an image gets
its name.
"""

from __future__ import annotations

import errno
import json
import threading
import uuid
from collections.abc import Callable
from typing import Any

from store_lib import errors
from store_lib.drivers import _nfs_rpc
from store_lib.drivers._access import Operations
from store_lib.drivers._directory import Directory, Held
from store_lib.drivers._file_opts import DirectorySetting
from store_lib.drivers._helper import renew
from store_lib.drivers._mounts import Mount, mount_of, mounts
from store_lib.drivers._nfs_mounter import Mounter
from store_lib.drivers._nfs_opts import Share
from store_lib.interface import Context, Probe, Status

__all__ = ["MARKER", "NfsDirectory"]

#: File in the directory that proves the share, made by ``store-lib store init`` alone.
MARKER = ".store_lib"
_KINDS = ("nfs", "nfs4")
#: Longest time in seconds that a probe waits for the server itself; the rest is for the mount.
_SERVER_TIMEOUT = 2.0


class NfsDirectory(Directory):
    """One directory on a share; safe for threads and across forks.

    :param setting: its `path` is where the images lie, or the share's name where that is found in the mount table.
    :param timeout: seconds for one mount.
    """

    remote = True

    def __init__(self, setting: DirectorySetting, mode: int, share: Share, timeout: float) -> None:
        super().__init__(setting, mode)
        self.share = share
        self._mounter: Mounter | None = None
        if share.mount and share.point is not None:
            options = share.mount_options
            self._mounter = Mounter(share.source, share.point, options, share.root_helper, timeout)
        self._marker: str | None = None
        self._guard = threading.Lock()

    # -- the mount ----------------------------------------------------------------------------------------------------

    def use(self, io: Operations) -> Held:
        """Return the open directory, seen in this very call to lie on the mounted share.

        :raises StoreUnavailable: the share is not mounted, or something else is, or it does not work.
        """
        mount = self._mounted()
        held: Held | None = io.kept.get(self)
        if held is not None and held.mount != mount.id:
            with io.opening:
                if io.kept.get(self) is held:
                    del io.kept[self]  # unmounted and mounted again: what was held is not what is there
        try:
            return super().use(io)
        except errors.StoreUnavailable as error:
            if self._mounter is None or not _is_stale(error):
                raise
        with self._guard:
            if self._mounted().id == mount.id:  # nobody else has mounted it again meanwhile
                self._mounter.mount(stale=True)
        renew()
        io.kept.pop(self, None)
        return super().use(io)

    def _mounted(self) -> Mount:
        """Return the share's mount by the mount table, after mounting it where it must be and may be."""
        found = self._found()
        if found is None and self._mounter is not None:
            self._mounter.mount()
            renew()  # it has a time of its own
            found = self._found()
        if found is None:
            raise errors.StoreUnavailable(self._missing(), transient=False)
        return found

    def _found(self) -> Mount | None:
        if self.share.point is None:
            base = self.share.base.rstrip("/")
            for each in mounts():
                if self._is_share(each) and (each.point == base or each.point.startswith(base + "/")):
                    return mount_of(each.point)
            return None
        found = mount_of(self._real or self.share.point)
        return found if self._is_share(found) else None

    def _is_share(self, mount: Mount) -> bool:
        return mount.kind in _KINDS and mount.source.rstrip("/") == self.share.source.rstrip("/")

    def _missing(self) -> str:
        source, point = self.share.source, self.share.point
        if point is None:
            return f"{source} is not mounted at {self.share.base} or below; mount it"
        found = mount_of(self._real or point)
        if found.kind in _KINDS and found.point != "/":
            return f"{found.source} is mounted at {found.point}, and not {source}; mount the right share"
        return f"{source} is not mounted at {point}; mount it, nothing is written into the directory below"

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open(self, io: Operations) -> Held:
        held = self._open_share(io)
        self._check_marker(held)
        return held

    def _open_share(self, io: Operations) -> Held:
        mount = self._mounted()
        if self.share.point is None:
            self._real = mount.point
        held = super()._open(io)
        if io.mount_id(held.fd) != mount.id:
            raise errors.StoreUnavailable(
                f"something else lies over {mount.point}, where {self.share.source} is mounted; unmount it",
                transient=False,
            )
        held.mount = mount.id
        return held

    def _resolve(self, io: Operations) -> str:
        # Nothing is made: where the directory is missing, the share is not what it should be.
        real: str = io.resolve(self.share.point)
        return real

    def _check_marker(self, held: Held) -> None:
        try:
            found: str = held.io.read_text(held.fd, MARKER)
        except FileNotFoundError as error:
            raise errors.StoreUnavailable(
                f"{self.share.source} has no file {MARKER}: it is another share, or not prepared; see that it is the "
                "right one and run 'store-lib store init' once",
                transient=False,
            ) from error
        except OSError as error:
            raise self._gone(error) from error
        if self._marker not in (None, found):
            raise errors.StoreUnavailable(
                f"{self.share.source} is another share than before, its {MARKER} tells; restart the service if that "
                "is meant",
                transient=False,
            )
        self._marker = found

    def backend(self, io: Operations) -> str:
        """Return the name of the share, which holds on every host."""
        return f"nfs:{self.share.source}"

    def prove(self, held: Held) -> None:
        """See that the share answers; the kernel may say from memory that a name is missing.

        :raises StoreUnavailable: it does not.
        """
        try:
            held.io.room(held.fd)  # never answered from memory
            self._check_marker(held)
        except OSError as error:
            raise self._gone(error) from error

    def initialise(self, io: Operations) -> str:
        """Make the marker on the mounted share; return what was done."""
        self._mounted()  # which may take its own time
        with io.opening:
            io.kept.pop(self, None)
            held = self._open_share(io)
        text = json.dumps({"share": uuid.uuid4().hex, "made_by": "store_lib"}) + "\n"
        try:
            held.io.create_text(held.fd, MARKER, text)
        except FileExistsError:
            return f"{self.share.source} has its {MARKER} already"
        return f"{self.share.source} is marked as a share for images by {MARKER}"

    # -- health -------------------------------------------------------------------------------------------------------

    def probe(self, operations: Callable[[], Operations], ctx: Context) -> Probe:
        """Ask the server by a call of its own, then the mount: a server down is not a mount that is broken."""
        details: dict[str, Any] = {"share": self.share.source}
        problem = self._ask_server(ctx)
        if problem is not None:
            return Probe(Status.DOWN, f"NFS server {self.share.host} {problem}", {**details, "server": "down"})
        found = super().probe(operations, ctx)
        details |= {"server": "up", **found.details}
        if found.status is not Status.DOWN and (mount := self._found()) is not None:
            details |= {"mount_id": mount.id, "mounted_at": mount.point, "options": ",".join(mount.options)}
            details |= {"marker": (self._marker or "").strip()}
        reason = f"the server answers, but {found.reason}" if found.status is Status.DOWN else found.reason
        return Probe(found.status, reason, details)

    def _ask_server(self, ctx: Context) -> str | None:
        """Return what is wrong with the server, None when it answers or can't be asked that way."""
        written = self.share.written
        if written.get("proto", "tcp").rstrip("6") != "tcp":
            return None
        version = int((self.share.version or written.get("vers") or written.get("nfsvers") or "4")[0])
        timeout = min(_SERVER_TIMEOUT, (ctx.timeout or _SERVER_TIMEOUT) / 2)
        try:
            _nfs_rpc.null_call(self.share.address, int(written.get("port") or _nfs_rpc.PORT), version, timeout)
        except TimeoutError:
            return f"does not answer within {timeout:g} s"
        except OSError as error:
            return f"cannot be reached: {error.strerror or error}"
        except ValueError as error:
            return f"is of no use: {error}"
        return None


def _is_stale(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno == errno.ESTALE
