"""Volumes by NVMe over Fabrics."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from store_lib.drivers.cinder.base import Device, PathDevice
from store_lib.drivers.cinder.block import BlockConnector, eventually

__all__ = ["NvmeofConnector", "NvmeofDevice"]

LOG = logging.getLogger(__name__)

#: Seconds between two looks whether a target answers.
_LOOK = 1.0


class NvmeofDevice(PathDevice):
    """A volume whose closing is waited for no longer than it makes sense."""

    #: Seconds: closing flushes, which waits for a silent target until that is left.
    PATIENCE: ClassVar[float] = 20.0

    def close(self) -> None:
        """Close the device; what takes longer goes on by itself."""
        if self._closed:
            return
        closing = threading.Thread(target=super().close, name="cinder-close", daemon=True)
        try:
            closing.start()
        except RuntimeError:  # the interpreter ends
            super().close()
            return
        if not eventually(lambda: not closing.is_alive(), self.PATIENCE):
            LOG.warning("the volume is still being flushed after %g s", self.PATIENCE)


class NvmeofConnector(BlockConnector):
    """Connects to the volume's subsystem, and leaves it where no other volume of it is here.

    Of a subsystem with several volumes a device stays until the storage takes it away.

    os-brick connects such that the kernel never gives a target up: whatever waits for a silent one does so until this
    host leaves it.
    """

    HINT = "nvme-cli, the kernel module of the transport, and to the addresses of the volume's subsystem"
    LETS_GO = False
    DEVICE = NvmeofDevice
    #: Seconds in which a target tells the kernel by itself that a volume has grown; os-brick takes ten to see that.
    TOLD: ClassVar[float] = 1.0

    def grow(self, connection: Mapping[str, Any], device: Device, size: int) -> None:
        if not eventually(lambda: device.size() >= size, self.TOLD):
            super().grow(connection, device, size)

    def detach(self, connection: Mapping[str, Any], info: Mapping[str, Any], own: bool) -> None:
        """Take the device away, without flushing it where the target does not answer.

        :raises StoreUnavailable: something of it stays that nothing else needs.
        """
        if not self._heard(connection):
            self._leave(connection)
            if not _answers(self._known(connection)):  # os-brick would hold its lock for as long
                LOG.warning("other volumes of that target are here: its connection stays, and what waits for it")
                return
        if not info.get("path"):  # who attached it was killed before it could tell
            info = {**info, **self._found(connection)}
        with self._watched(connection):
            super().detach(connection, info, own)
        self._leave(connection)

    def _known(self, connection: Mapping[str, Any]) -> Any:
        """Return what os-brick makes of what Cinder tells, with the connections to the volume's targets."""
        self.host.prepare()
        from os_brick.initiator.connectors import nvmeof

        return nvmeof.NVMeOFConnProps(dict(connection), find_controllers=True)

    def _heard(self, connection: Mapping[str, Any], or_else: Callable[[], bool] = lambda: False) -> bool:
        """Return whether the target answers, or something else is the case, within `SETTLING`; says so if not."""
        if eventually(lambda: or_else() or _answers(self._known(connection)), self.SETTLING):
            return True
        LOG.warning("the target of the volume does not answer; this host leaves it without flushing the volume")
        return False

    def _found(self, connection: Mapping[str, Any]) -> dict[str, str]:
        """Return the path of a volume that is here; one with replicas os-brick finds by itself."""
        known = self._known(connection)
        devices = known.get_devices() if known.is_replicated is False else []
        return {"path": devices[0]} if devices else {}

    @contextlib.contextmanager
    def _watched(self, connection: Mapping[str, Any]) -> Iterator[None]:
        """Leave the target if it falls silent meanwhile: os-brick holds its lock while it waits."""
        done = threading.Event()

        def watch() -> None:
            while self._heard(connection, done.is_set):
                if done.wait(_LOOK):
                    return
            try:
                self._end(connection)
            except Exception as error:
                LOG.warning("the target of the volume could not be left: %s", type(error).__name__)

        threading.Thread(target=watch, name="cinder-watch", daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def _leave(self, connection: Mapping[str, Any]) -> None:
        """End the connections that nothing needs: os-brick keeps one whose device went first.

        :raises StoreUnavailable: that failed.
        """
        if not _connections(self._known(connection)):
            return
        from os_brick.initiator.connectors import base

        # Nobody who holds this lock is just connecting, with a volume that is still to appear.
        locked: Callable[[], None] = base.synchronized("connect_volume", external=True)(lambda: self._end(connection))
        self._bounded("detach", locked)

    def _end(self, connection: Mapping[str, Any]) -> None:
        """End the connections by which no other volume is here."""
        from os_brick.initiator.connectors.nvmeof import NVME_CTRL_SYSFS_PATH as FOLDER

        for portal in _connections(self._known(connection)):
            if not portal.can_disconnect():
                continue
            try:
                # Not by nvme-cli, which opens the device first: that waits while udev waits for a silent target.
                scsi = self.brick(connection)._linuxscsi
                scsi.echo_scsi_command(f"{FOLDER}{portal.controller}/delete_controller", "1")
            except Exception:
                if portal.state is not None:  # else somebody was faster
                    raise


def _connections(known: Any) -> list[Any]:
    """Return the addresses of the volume to which this host is connected, be it that they answer or not."""
    return [portal for target in known.targets for portal in target.portals if portal.state is not None]


def _answers(known: Any) -> bool:
    """Whether some address to which this host is connected answers, if there is one."""
    found = _connections(known)
    return not found or any(portal.is_live for portal in found)
