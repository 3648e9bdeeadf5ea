"""Volumes by Fibre Channel."""

from __future__ import annotations

from store_lib.drivers.cinder.block import BlockConnector

__all__ = ["FibreChannelConnector"]


class FibreChannelConnector(BlockConnector):
    """Scans the host's adapters; the fabric has no session that is to be ended."""

    HINT = "the host's Fibre Channel adapters and the zones of the fabric"
