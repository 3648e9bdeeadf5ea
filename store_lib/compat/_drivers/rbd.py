"""Stores on Ceph RBD."""

from __future__ import annotations

from store_lib.compat import driver

__all__ = ["Store"]


class Store(driver.Store):
    """A store on Ceph RBD."""
