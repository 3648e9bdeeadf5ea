"""Volumes by NVMe over Fabrics."""

from __future__ import annotations

from store_lib.drivers.cinder.block import BlockConnector

__all__ = ["NvmeofConnector"]


class NvmeofConnector(BlockConnector):
    """Connects to the volume's subsystem, and leaves it where no other volume of it is here.

    Of a subsystem with several volumes a device stays until the storage takes it away.
    """

    HINT = "nvme-cli, the kernel module of the transport, and to the addresses of the volume's subsystem"
    LETS_GO = False
