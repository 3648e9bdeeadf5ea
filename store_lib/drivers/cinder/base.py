"""What differs between the protocols by which a volume reaches this host.

A protocol has a class derived from `Connector`, found by its name, which is Cinder's ``driver_volume_type``, in the
entry-point namespace ``store_lib.cinder.connectors``.  A protocol without one is left to os-brick
(`store_lib.drivers.cinder.brick`).
"""

from __future__ import annotations

import abc
import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import stevedore

from store_lib import errors
from store_lib.drivers.cinder.host import Host
from store_lib.interface import MIB, Extent

__all__ = ["NAMESPACE", "Connector", "Device", "PathDevice", "connector_of", "protocol_of"]

NAMESPACE = "store_lib.cinder.connectors"
#: What Cinder's pools call a protocol that volumes are exported by under another name, in small letters.
_NAMES = {"ceph": "rbd", "fc": "fibre_channel", "nvme-of": "nvmeof", "nvme-tcp": "nvmeof", "nvme-roce": "nvmeof"}
#: Bytes of one chunk that is read.
_CHUNK = 4 * MIB

LOG = logging.getLogger(__name__)


class Device(abc.ABC):
    """A volume that is attached to this host.  Reading and writing may be done by several threads at once."""

    #: What os-brick has to know to detach it again; JSON-able, no secret.
    info: Mapping[str, Any]

    @abc.abstractmethod
    def size(self) -> int:
        """Return its size in bytes, as this host sees it now."""

    @abc.abstractmethod
    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of a range in chunks; ends early only by raising."""

    @abc.abstractmethod
    def write(self, data: memoryview, offset: int) -> None:
        """Write all of `data`; once it returns, nobody holds it."""

    @abc.abstractmethod
    def flush(self) -> None:
        """Return once all that was written is safe."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of it, before it is detached; harmless when repeated and while other threads read or write."""

    def extents(self, offset: int, length: int) -> list[Extent] | None:
        """Return data and holes of a range, as `Download.extents`."""
        return None


class Connector(abc.ABC):
    """Attaches volumes by one protocol.

    :param host: what it may use of this host.
    :param protocol: Cinder's name of the protocol.
    """

    #: A new volume, and what it grows by, reads as zeroes until it is written.
    ZEROED: ClassVar[bool] = False
    #: A volume can be extended while it is attached.
    GROWS: ClassVar[bool] = True
    #: All attachments of a volume on a host share one device: it goes with the last of them.
    SHARED: ClassVar[bool] = True

    def __init__(self, host: Host, protocol: str) -> None:
        self.host = host
        self.protocol = protocol

    @abc.abstractmethod
    def attach(self, connection: Mapping[str, Any], writable: bool) -> Device:
        """Bring a volume here and open it.

        :param connection: what Cinder tells of it; holds secrets.
        """

    @abc.abstractmethod
    def detach(self, connection: Mapping[str, Any], info: Mapping[str, Any], own: bool) -> None:
        """Take away what `attach` brought here, half-way or whole, in this process or in one that is dead.

        Cinder is told only after that: a device that goes with Cinder's export must not be waited for.  Harmless where
        nothing is here any more, as after a new start of the host.

        :param info: of the device; empty where it came to none.
        :param own: whether this process attached it.
        :raises Exception: something is still here; the volume stays attached in Cinder, and this is called again later.
        """

    def grow(self, connection: Mapping[str, Any], device: Device, size: int) -> None:
        """Have this host see that Cinder extended an attached volume to `size` bytes.

        :raises StoreUnavailable: it sees less.
        """
        if device.size() < size:
            problem = f"the volume was extended to {size} bytes, and this host sees {device.size()}"
            raise errors.StoreUnavailable(problem, transient=False)


class PathDevice(Device):
    """A volume that is a file or a block device here."""

    def __init__(self, path: str, writable: bool, info: Mapping[str, Any]) -> None:
        self.info = info
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False
        self._descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        """Yield the descriptor, which is not closed meanwhile: its number could be another file's by then."""
        with self._lock:
            if self._closed:
                raise errors.StoreUnavailable("the volume was detached meanwhile", transient=False)
            self._users += 1
        try:
            yield self._descriptor
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._closed and self._users == 0
        if last:
            os.close(self._descriptor)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self.close()

    def size(self) -> int:
        with self._open() as descriptor:
            return os.lseek(descriptor, 0, os.SEEK_END)

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        end = offset + length
        while offset < end:
            with self._open() as descriptor:
                chunk = os.pread(descriptor, min(_CHUNK, end - offset), offset)
            if not chunk:
                raise errors.BackendError(f"the volume ends at {offset}, {end - offset} bytes too early")
            offset += len(chunk)
            yield chunk

    def write(self, data: memoryview, offset: int) -> None:
        with self._open() as descriptor:
            while data:
                done = os.pwrite(descriptor, data, offset)
                data, offset = data[done:], offset + done

    def flush(self) -> None:
        with self._open() as descriptor:
            os.fsync(descriptor)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._users += 1
        self._leave()


def connector_of(host: Host, protocol: str) -> Connector:
    """Return the connector of a protocol.

    :raises StoreUnavailable: it is there and cannot be loaded.
    """
    looking: Any = stevedore.ExtensionManager.make_test_instance([], namespace=NAMESPACE)
    entries = {each.name: each for each in looking.list_entry_points()}
    if protocol not in entries:
        from store_lib.drivers.cinder.brick import BrickConnector

        return BrickConnector(host, protocol)
    try:
        kind: type[Connector] = entries[protocol].load()
    except ImportError as error:
        problem = f"the connector of the protocol {protocol} cannot be loaded: {error}"
        raise errors.StoreUnavailable(problem, transient=False) from error
    return kind(host, protocol)


def protocol_of(pools: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the protocol of the volumes in some pools, as they are exported; None when that is not one alone."""
    told = {str(pool.get("storage_protocol") or "").lower() for pool in pools}
    if len(told) != 1:
        return None
    name = told.pop()
    return _NAMES.get(name, name) or None


def refuse_encrypted(connection: Mapping[str, Any]) -> None:
    """Refuse a volume that this host would see encrypted.

    :raises BackendError: it is.
    """
    if connection.get("encrypted"):
        raise errors.BackendError(
            "the volume is encrypted, and images in such volumes cannot be read; use a volume type without encryption"
        )
