"""Drivers that get ids and locations wrong."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Any

from store_lib.conformance.broken import breaks
from store_lib.drivers.memory import MemoryAddress, MemoryDriver, MemoryUpload
from store_lib.interface import Committed, Context, Part, Token, Upload
from store_lib.location import scheme_of


@breaks(1)
class FoldsCase(MemoryDriver):
    """Writes ids in lower case."""

    def uri(self, address: MemoryAddress) -> str:
        return super().uri(address).lower()


@breaks(2)
class CutsIds(MemoryDriver):
    """Takes 200 characters of an id."""

    def upload(self, image_id: str, size: int | None, ctx: Context) -> Upload[MemoryAddress]:
        return super().upload(image_id[:200], size, ctx)


@breaks(3)
class OverlooksDots(MemoryDriver):
    """Reads a hidden name as the name."""

    def parse(self, uri: str) -> MemoryAddress:
        return super().parse(uri.replace("/.", "/") if isinstance(uri, str) else uri)


@breaks(4)
class WrongPrefix(MemoryDriver):
    """Tells a prefix that its locations do not have."""

    def prefix(self) -> str | None:
        return f"{super().prefix()}images/"


@breaks(5)
class TakesEveryScheme(MemoryDriver):
    """Does not look at the scheme."""

    def parse(self, uri: str) -> MemoryAddress:
        return super().parse(f"memory{uri[len(scheme_of(uri)) :]}")


@breaks(6)
class MendsLocations(MemoryDriver):
    """Removes what cannot be printed from a location instead of refusing it."""

    def parse(self, uri: str) -> MemoryAddress:
        return super().parse("".join(char for char in uri if char.isprintable()))


@breaks(7)
class Climbs(MemoryDriver):
    """Follows dot segments."""

    def parse(self, uri: str) -> MemoryAddress:
        if isinstance(uri, str) and uri.startswith("memory:/"):
            uri = f"memory:/{posixpath.normpath(uri[len('memory:/') :])}"
        return super().parse(uri)


@breaks(8)
class SecretInMetadata(MemoryUpload):
    """Writes its password into the metadata of the location."""

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[Any]:
        found = super().commit(size, parts)
        return Committed(found.address, found.info, {"password": self._driver.settings["memory_store_password"]})


@breaks(9)
class AnotherId(MemoryDriver):
    """Tells another id than that of the image."""

    def image_id(self, address: MemoryAddress) -> str | None:
        return address.image_id.upper()
