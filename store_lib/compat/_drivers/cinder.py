"""Stores on Cinder volumes."""

from __future__ import annotations

from typing import Any

from store_lib import errors
from store_lib.compat import driver

__all__ = ["Store"]


class Store(driver.Store):
    """A store on Cinder volumes."""

    def is_image_associated_with_store(self, context: Any, volume_id: str) -> bool:
        """Return whether a volume belongs to this store; asked for locations that name no store."""
        with self.in_use("get_size") as core:
            try:
                core.stat(f"cinder://{volume_id}", context=context)
            except (errors.NotFound, errors.BadLocation):
                return False
        return True
