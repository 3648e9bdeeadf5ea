"""What the connectors need of this host: how it names itself to Cinder, locks between processes, a helper for root."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from store_lib import errors
from store_lib.drivers.cinder import options
from store_lib.settings import StoreSettings

__all__ = ["Host"]

#: os-brick has state that a process has once: the way in which it becomes root.
_BRICK = threading.Lock()
_ready = False
#: What os-brick found out about this host, by how it was asked: that takes a dozen commands.
_FOUND: dict[tuple[object, ...], Mapping[str, Any]] = {}
#: Locks of one kind.
_LOCKS = 64


class Host:
    """This host, for one store in one process.  Safe for threads."""

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self.locks = options.lock_path(settings)
        self.mounts: str = settings["cinder_mount_point_base"]
        self.patience = float(settings["cinder_attach_timeout"])

    @property
    def root_helper(self) -> str:
        """The command in front of commands that need root's rights; empty where this process has them."""
        return "" if os.geteuid() == 0 else f"sudo glance-rootwrap {shlex.quote(self.settings['rootwrap_config'])}"

    def properties(self) -> Mapping[str, Any]:
        """Return what Cinder must know of this host to export a volume to it, as os-brick finds out once a process."""
        self.prepare()
        paths = self.settings["cinder_use_multipath"], self.settings["cinder_enforce_multipath"]
        asked = (self.root_helper, *paths)
        with _BRICK:
            if asked not in _FOUND:
                from os_brick.initiator import connector

                _FOUND[asked] = connector.get_connector_properties(
                    self.root_helper, _address(), *paths, host=socket.gethostname()
                )
            return _FOUND[asked]

    def prepare(self) -> None:
        """Set os-brick up in this process, once: what the service itself has set up stays."""
        global _ready
        with _BRICK:
            if _ready:
                return
            import os_brick
            from os_brick.privileged import default as privileged
            from oslo_concurrency import lockutils  # its options hold the path of os-brick's own locks
            from oslo_config import cfg

            os_brick.setup(cfg.CONF)
            if cfg.CONF.os_brick.lock_path is None and lockutils.get_lock_path(cfg.CONF) is None:
                os.makedirs(self.locks, exist_ok=True)
                cfg.CONF.set_default("lock_path", self.locks, "os_brick")
            if privileged.channel is None:
                if os.geteuid() == 0:
                    privileged.set_client_mode(False)  # no daemon is needed to become what this process is
                else:
                    from oslo_privsep import priv_context

                    priv_context.init(root_helper=shlex.split(self.root_helper))
            _ready = True

    def own(self, path: str, writable: bool) -> None:
        """Have this process be allowed to use a device or file."""
        wanted = os.R_OK | (os.W_OK if writable else 0)
        if os.geteuid() == 0 or os.access(path, wanted) or not os.path.exists(path):
            return
        from oslo_concurrency import processutils

        processutils.execute("chown", str(os.geteuid()), path, run_as_root=True, root_helper=self.root_helper)

    @contextlib.contextmanager
    def locked(self, kind: str, name: str) -> Iterator[None]:
        """Hold a lock that other processes of this host with the same `cinder_lock_path` respect.

        Names share a number of locks, so that no more and more files are left; one process holds one of a kind.

        :raises Busy: nobody let go of it for the time that attaching may take.
        """
        from oslo_concurrency import lockutils

        self.directory()
        lock = f"{kind}-{zlib.crc32(name.encode()) % _LOCKS}"
        end = time.monotonic() + self.patience
        pause = 0.02
        while True:
            taken = False
            try:
                with lockutils.lock(
                    lock, "store_lib-", external=True, lock_path=self.locks, blocking=False, do_log=False
                ):
                    taken = True
                    yield
                    return
            except lockutils.AcquireLockFailedException as error:
                if taken:
                    raise
                if time.monotonic() > end:
                    raise errors.Busy(
                        f"another process of this host has been at work on the {kind} {name} for long"
                    ) from error
            time.sleep(pause)
            pause = min(2 * pause, 0.5)

    def directory(self, below: str = "") -> str:
        """Return the directory of locks, or one below it, made if need be.

        :raises StoreUnavailable: it cannot be made or written.
        """
        path = os.path.join(self.locks, below) if below else self.locks
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
        except OSError as error:
            raise errors.StoreUnavailable(
                f"the directory {path} cannot be made ({error.strerror}); see to cinder_lock_path", transient=False
            ) from error
        if not os.access(path, os.W_OK | os.X_OK):
            raise errors.StoreUnavailable(f"{path} cannot be written; see to cinder_lock_path", transient=False)
        return path


def _address() -> str:
    """Return an address of this host."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
