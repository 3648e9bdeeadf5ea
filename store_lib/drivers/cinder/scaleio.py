"""Volumes of Dell PowerFlex, which was called ScaleIO."""

from __future__ import annotations

from store_lib.drivers.cinder.block import BlockConnector

__all__ = ["ScaleioConnector"]


class ScaleioConnector(BlockConnector):
    """Finds the device that the storage's own kernel module makes once Cinder has mapped the volume."""

    HINT = "the storage's client (SDC) on this host"
    LETS_GO = False
    #: The module looks for a new size in its own time.
    GROWING = 60.0
