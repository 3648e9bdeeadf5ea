"""Volumes by iSCSI, over one path or several."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Mapping
from typing import Any

from store_lib import errors
from store_lib.drivers.cinder.block import BlockConnector

__all__ = ["IscsiConnector"]

LOG = logging.getLogger(__name__)

#: Where the kernel tells of sessions.
SESSIONS = "/sys/class/iscsi_session"


class IscsiConnector(BlockConnector):
    """Logs in to the volume's targets, and out of those that have no other volume here."""

    HINT = "iscsid, and to the addresses of the volume's targets"

    def detach(self, connection: Mapping[str, Any], info: Mapping[str, Any], own: bool) -> None:
        super().detach(connection, info, own)
        if not idle_sessions(connection):
            return
        # os-brick knows, under its lock, whether another process is just logging in there.
        try:
            self._bounded("detach", lambda: self._disconnect(connection, info))
        except errors.StoreUnavailable as error:
            LOG.debug("logging out failed again: %s", error.message)
        if left := idle_sessions(connection):
            LOG.warning("there are sessions without a volume: %s", ", ".join(left))


def idle_sessions(connection: Mapping[str, Any]) -> list[str]:
    """Return the sessions with a volume's targets by which no device is here."""
    names = {connection.get("target_iqn"), *(connection.get("target_iqns") or ())}
    found = []
    for session in glob.glob(f"{SESSIONS}/session*"):
        try:
            with open(f"{session}/targetname", encoding="utf-8") as file:
                name = file.read().strip()
        except OSError:
            continue
        if name in names and not glob.glob(f"{session}/device/target*/*:*:*:*/block/*"):
            found.append(os.path.basename(session))
    return found
