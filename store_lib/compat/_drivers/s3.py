"""Stores on S3."""

from __future__ import annotations

from store_lib.compat import driver

__all__ = ["Store"]


class Store(driver.Store):
    """A store on S3."""
