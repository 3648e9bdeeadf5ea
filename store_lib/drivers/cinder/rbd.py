"""Volumes in Ceph: images that librbd opens, without a device of this host."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from store_lib import errors
from store_lib.drivers._rbd_cluster import bounds
from store_lib.drivers._rbd_handle import Handle, never_free
from store_lib.drivers._rbd_image import Requests, write
from store_lib.drivers._rbd_opts import MEND
from store_lib.drivers._rbd_values import REQUEST, is_ceph
from store_lib.drivers.cinder.base import Connector, Device, refuse_encrypted

__all__ = ["RbdConnector"]

#: Requests of one part or range that are on their way at once.
_IN_FLIGHT = 4
#: Seconds for one request to an OSD.
_REQUEST = 60.0
_KEY = re.compile(r"^\s*key\s*=\s*(\S+)", re.MULTILINE)
#: What ends the images and connections of this process.
_OPEN: set[contextlib.ExitStack] = set()


def _forget() -> None:
    """Leave what is open, in a forked child, to the parent."""
    for each in _OPEN:
        never_free(each)
    _OPEN.clear()


os.register_at_fork(after_in_child=_forget)


class RbdDevice(Device):
    """An open image.

    :param close: ends image and connection.
    """

    def __init__(self, rbd: Any, image: Any, close: Any) -> None:
        self.info = {}
        self._rbd = rbd
        self._handle: Handle[Any] = Handle(image, close)

    def size(self) -> int:
        with self._handle.use() as image:
            return int(image.size())

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        with Requests(_IN_FLIGHT) as requests:
            for at in range(offset, offset + length, REQUEST):
                if requests.full:
                    yield requests.take(self._rbd)
                size = min(REQUEST, offset + length - at)
                with self._handle.use() as image:
                    requests.add(lambda done, at=at, size=size: image.aio_read(at, size, done))  # type: ignore[misc]
            while requests:
                yield requests.take(self._rbd)

    def write(self, data: memoryview, offset: int) -> None:
        pieces = ((offset + at, data[at : at + REQUEST].tobytes()) for at in range(0, len(data), REQUEST))
        write(self._rbd, self._handle, pieces, _IN_FLIGHT)

    def flush(self) -> None:
        with self._handle.use() as image:
            image.flush()

    def close(self) -> None:
        self._handle.close()


class RbdConnector(Connector):
    """By librbd, with the key of the Ceph user that Cinder names.

    os-brick's own handle does the same without a limit of time: an outage of the cluster would hang it.
    """

    ZEROED = True
    SHARED = False

    def attach(self, connection: Mapping[str, Any], writable: bool) -> Device:
        refuse_encrypted(connection)
        try:
            import rados
            import rbd
        except ImportError as error:
            raise errors.StoreUnavailable(f"Ceph's Python bindings are not installed; {MEND}") from error
        pool, _, name = str(connection["name"]).rpartition("/")
        file = f"/etc/ceph/{connection.get('cluster_name', 'ceph')}.conf"  # for what Cinder does not tell
        cluster = rados.Rados(
            conffile=file if os.access(file, os.R_OK) else None,
            rados_id=connection["auth_username"],
            conf=self._conf(connection),
        )
        with contextlib.ExitStack() as undo:
            undo.callback(cluster.shutdown)
            with _telling(connection):
                cluster.connect()
            # Opening a pool that the client does not know waits without limit once the monitors are gone.
            if pool not in cluster.list_pools():
                raise errors.StoreUnavailable(f"the cluster has no pool {pool}, or hides it from this user")
            ioctx = cluster.open_ioctx(pool)
            undo.callback(ioctx.close)
            ioctx.set_osdmap_full_try()  # in a full pool writes fail at once instead of waiting for room
            image = rbd.Image(ioctx, name, read_only=not writable)
            undo.callback(image.close)
            closing = undo.pop_all()
        _OPEN.add(closing)

        def close(image: Any) -> None:
            _OPEN.discard(closing)
            closing.close()

        return RbdDevice(rbd, image, close)

    def _conf(self, connection: Mapping[str, Any]) -> dict[str, str]:
        hosts = [f"[{host}]" if ":" in host and not host.startswith("[") else host for host in connection["hosts"]]
        monitors = [f"{host}:{port}" for host, port in zip(hosts, connection["ports"], strict=False)]
        conf = {"mon_host": ",".join(monitors), **bounds(self.host.settings.base.connect_timeout, _REQUEST)}
        return conf | self._key(connection)

    def _key(self, connection: Mapping[str, Any]) -> dict[str, str]:
        """Return the options that name the key."""
        if not connection.get("auth_enabled", True):
            return {}
        handed = _KEY.search(str(connection.get("keyring") or ""))
        if handed:
            return {"key": handed[1]}
        path = self.host.settings["cinder_rbd_keyring"]
        if not path:
            path = f"/etc/ceph/{connection.get('cluster_name', 'ceph')}.client.{connection['auth_username']}.keyring"
        if not os.access(path, os.R_OK):
            raise errors.Forbidden(
                f"the file {path} cannot be read, with the key of the Ceph user {connection['auth_username']} that "
                "Cinder's volumes belong to; put it there, or name another file by cinder_rbd_keyring"
            )
        return {"keyring": path}

    def detach(self, connection: Mapping[str, Any], info: Mapping[str, Any], own: bool) -> None:
        """Nothing is left once the image was closed; the cluster forgets a dead process by itself."""


@contextlib.contextmanager
def _telling(connection: Mapping[str, Any]) -> Iterator[None]:
    """Around connecting: say what the bare errors of librados mean there."""
    user = connection["auth_username"]
    try:
        yield
    except Exception as error:
        if not is_ceph(error):
            raise
        name = type(error).__name__
        if name in ("PermissionDeniedError", "PermissionError"):
            raise errors.Forbidden(f"Ceph refuses the user client.{user}; see to cinder_rbd_keyring") from error
        raise errors.StoreUnavailable(f"Ceph cannot be reached as client.{user} ({name})") from error
