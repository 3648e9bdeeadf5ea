"""Drivers that get errors wrong, or show secrets."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from store_lib import errors
from store_lib.conformance.broken import breaks
from store_lib.drivers.memory import MemoryAddress, MemoryDriver, State
from store_lib.interface import Context, Deletion, Download, ObjectInfo


@breaks(80)
class NamesItself(MemoryDriver):
    """Names another store in its errors."""

    def stat(self, address: MemoryAddress, ctx: Context) -> ObjectInfo:
        try:
            return super().stat(address, ctx)
        except errors.NotFound as error:
            error.store = "memory"
            raise


@breaks(81)
class SecretInErrors(MemoryDriver):
    """Tells its password in an error."""

    def open(self, address: MemoryAddress, offset: int, length: int | None, ctx: Context) -> Download:
        try:
            return super().open(address, offset, length, ctx)
        except errors.NotFound as error:
            raise errors.NotFound(f"not found with {self.settings['memory_store_password']}") from error


@breaks(82)
class SecretInLogs(MemoryDriver):
    """Logs its password."""

    def delete(self, address: MemoryAddress, ctx: Context) -> Deletion:
        log = logging.getLogger("store_lib.drivers.memory")
        log.debug("deleting with %s", self.settings["memory_store_password"])
        return super().delete(address, ctx)


@breaks(83)
class SecretInProperties(MemoryDriver):
    """Tells its password as a property."""

    def describe(self) -> Mapping[str, Any]:
        return {**super().describe(), "password": self.settings["memory_store_password"]}


@breaks(84)
class ErrorOfItsOwn(MemoryDriver):
    """Raises an error that is not of the tree."""

    def delete(self, address: MemoryAddress, ctx: Context) -> Deletion:
        class Gone(errors.NotFound):
            pass

        try:
            return super().delete(address, ctx)
        except errors.NotFound as error:
            raise Gone("gone") from error


@breaks(85)
class PassingAbsence(MemoryDriver):
    """Takes a missing image for one that may come."""

    def open(self, address: MemoryAddress, offset: int, length: int | None, ctx: Context) -> Download:
        try:
            return super().open(address, offset, length, ctx)
        except errors.NotFound as error:
            error.transient = True
            raise


@breaks(86)
class NothingIsThere(MemoryDriver):
    """Finds no image where it does not even find the place."""

    def stat(self, address: MemoryAddress, ctx: Context) -> ObjectInfo:
        try:
            return super().stat(address, ctx)
        except errors.StoreUnavailable as error:
            raise errors.NotFound("there is no such image") from error


@breaks(87)
class NoWordForFull(MemoryDriver):
    """Takes a full storage for a broken one."""

    def check_room(self, state: State, size: int) -> None:
        try:
            super().check_room(state, size)
        except errors.StoreFull as error:
            raise errors.BackendError("error 507") from error
