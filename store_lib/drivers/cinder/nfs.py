"""Volumes that are files on an NFS share: mounted while some process of this host uses one of them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import shlex
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from store_lib import errors
from store_lib.drivers._mounts import mounts
from store_lib.drivers._nfs_mounter import perform, told
from store_lib.drivers.cinder.base import Connector, Device, PathDevice, refuse_encrypted
from store_lib.drivers.cinder.host import Host

__all__ = ["NfsConnector", "Share"]

#: Uses of this process, by the file that counts them: the descriptor that holds its share of it, and how many.
_USES: dict[str, tuple[int, int]] = {}
_GUARD = threading.Lock()
#: Seconds for mounting, and for unmounting.
_PATIENCE = 60.0

LOG = logging.getLogger(__name__)


def _forget() -> None:
    """Leave the uses, in a forked child, to the parent."""
    while _USES:
        os.close(_USES.popitem()[1][0])


os.register_at_fork(after_in_child=_forget)


class Share:
    """A share and where it is mounted.

    Each process that uses it holds a shared lock of a file, which the kernel takes from it when it dies: who gets the
    lock alone knows that nobody uses the mount any more.
    """

    def __init__(self, host: Host, source: str, mount_options: str) -> None:
        digest = hashlib.sha256(source.encode()).hexdigest()[:32]
        self._host = host
        self._name = f"mount-{digest}"
        self.point = os.path.join(host.mounts, "nfs", digest)
        self._source = source
        self._options = mount_options

    @property
    def _users(self) -> str:
        return os.path.join(self._host.directory("mounts"), self._name)

    @property
    def mounted(self) -> bool:
        """Whether something is mounted there."""
        point = os.path.realpath(self.point)
        return any(each.point == point for each in mounts())

    def enter(self) -> None:
        """Mount it unless it is, and count one more use by this process."""
        with self._host.locked("mount", self._name):
            users = self._users
            if not self.mounted:
                os.makedirs(self.point, exist_ok=True)
                problem = self._run("mount")
                if problem is not None:
                    raise errors.StoreUnavailable(f"the share {self._source} cannot be mounted: {problem}")
            with _GUARD:
                descriptor, count = _USES.get(users, (-1, 0))
                if not count:
                    descriptor = os.open(users, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                    fcntl.flock(descriptor, fcntl.LOCK_SH)
                _USES[users] = (descriptor, count + 1)

    def leave(self, used: bool = True) -> None:
        """Count one use less, and unmount it after the last one of all processes.

        :param used: whether this process has counted that use; a dead one's is counted no more.
        """
        with self._host.locked("mount", self._name):
            users = self._users
            with _GUARD:
                descriptor, count = _USES.pop(users, (-1, 0))
                if count - used > 0:
                    _USES[users] = (descriptor, count - used)
                    return
                if count:
                    os.close(descriptor)
            with self._alone(users) as alone:
                problem = self._run("release") if alone and self.mounted else None
            if problem is not None:  # the next that leaves it tries again
                LOG.warning("the share %s stays mounted at %s: %s", self._source, self.point, problem)

    def _run(self, action: str) -> str | None:
        """Mount or unmount it; return what went wrong."""
        self._host.prepare()
        job = {"action": action, "source": self._source, "point": self.point, "options": self._options}
        try:
            perform({**job, "root_helper": self._host.root_helper, "timeout": _PATIENCE})
        except Exception as error:  # of os-brick, privsep, the commands
            return told(error)
        return None

    @staticmethod
    @contextlib.contextmanager
    def _alone(users: str) -> Iterator[bool]:
        """Yield whether no process uses the mount."""
        descriptor = os.open(users, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
        except BlockingIOError:
            yield False
        finally:
            os.close(descriptor)


class NfsConnector(Connector):
    """Files of raw volumes; a file has holes where it was never written."""

    ZEROED = True
    GROWS = False
    SHARED = False

    def _share(self, connection: Mapping[str, Any]) -> Share:
        # Cinder tells options as mount(8) takes them: "-o vers=4.1".
        words = shlex.split(str(connection.get("options") or ""))
        return Share(self.host, str(connection["export"]), ",".join(each for each in words if each != "-o"))

    def attach(self, connection: Mapping[str, Any], writable: bool) -> Device:
        refuse_encrypted(connection)
        if connection.get("format", "raw") != "raw":
            raise errors.BackendError(
                f"the volume is a file of format {connection['format']}, in which images cannot be read: delete its "
                "snapshots, or set nfs_qcow2_volumes = False for this backend of Cinder"
            )
        name = str(connection["name"])
        if os.path.basename(name) != name or name in ("", ".", ".."):
            raise errors.BackendError("Cinder names a volume outside its share")
        share = self._share(connection)
        share.enter()
        try:
            path = os.path.join(share.point, name)
            self.host.own(path, writable)
            return PathDevice(path, writable, {"mounted": True})
        except BaseException:
            share.leave()
            raise

    def detach(self, connection: Mapping[str, Any], info: Mapping[str, Any], own: bool) -> None:
        self._share(connection).leave(used=own and bool(info.get("mounted")))
