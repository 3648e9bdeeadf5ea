"""Stores on Swift."""

from __future__ import annotations

from store_lib.compat import driver

__all__ = ["BaseStore", "Store"]


class BaseStore(driver.Store):
    """A store on Swift."""


class Store(BaseStore):
    """A store on Swift."""
