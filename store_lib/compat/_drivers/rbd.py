"""Stores on Ceph RBD."""

from __future__ import annotations

from store_lib import Status
from store_lib.compat import driver

__all__ = ["Store"]


class Store(driver.Store):
    """A store on Ceph RBD."""

    @property
    def url_prefix(self) -> str | None:
        """What every location written here begins with, the cluster's id in it.

        The cluster is asked for that once in a process, in bounded time; what it does not tell is left out.
        """
        if not self.backend_group:
            return None
        if self.core.prefix() is None and self.core.health.status is Status.UNKNOWN:
            with self.in_use("get") as core:
                core.probe()
        return self.core.prefix() or "rbd://"
