"""Stores of web servers, read-only."""

from __future__ import annotations

from store_lib.compat import driver

__all__ = ["Store"]


class Store(driver.Store):
    """A store of web servers, read-only."""
