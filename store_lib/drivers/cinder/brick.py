"""Volumes as os-brick attaches them: what serves every protocol that has no connector of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from store_lib import errors
from store_lib.drivers.cinder.base import Connector, Device, PathDevice, refuse_encrypted

__all__ = ["BrickConnector"]

LOG = logging.getLogger(__name__)

#: Tries of os-brick to find a device, with growing pauses, after each of its three logins: three minutes in all.
_SCANS = 3


class BrickConnector(Connector):
    """Block devices of this host.

    Nothing is taken for granted: a volume may hold what it likes before it is written.
    """

    def brick(self, connection: Mapping[str, Any]) -> Any:
        """Return os-brick's connector.

        :raises StoreUnavailable: it has none, so that nothing is brought here either.
        """
        self.host.prepare()
        from os_brick import exception
        from os_brick.initiator import connector

        try:
            return connector.InitiatorConnector.factory(
                self.protocol,
                self.host.root_helper,
                use_multipath=self.host.settings["cinder_use_multipath"],
                device_scan_attempts=_SCANS,
                conn=dict(connection),
            )
        except exception.InvalidConnectorProtocol as error:
            problem = f"os-brick knows no protocol {self.protocol}"
            raise errors.StoreUnavailable(problem, transient=False) from error

    def attach(self, connection: Mapping[str, Any], writable: bool) -> Device:
        refuse_encrypted(connection)
        found = dict(self.brick(connection).connect_volume(dict(connection)))
        path = found.get("path")
        if not isinstance(path, (str, bytes)):
            raise errors.StoreUnavailable(
                f"the protocol {self.protocol} gives no device, and has no connector of its own", transient=False
            )
        told = {name: value for name, value in found.items() if isinstance(value, (str, int, bool, list))}
        self.host.own(str(path), writable)
        return PathDevice(str(path), writable, told)

    def detach(self, connection: Mapping[str, Any], info: Mapping[str, Any], own: bool) -> None:
        try:
            brick = self.brick(connection)
        except errors.StoreUnavailable as error:
            LOG.info("there is nothing to detach: %s", error.message)
            return
        brick.disconnect_volume(dict(connection), dict(info), force=True, ignore_errors=True)

    def grow(self, connection: Mapping[str, Any], device: Device, size: int) -> None:
        self.brick(connection).extend_volume(dict(connection))
        super().grow(connection, device, size)
