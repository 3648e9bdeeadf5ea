"""A driver's upload moved by hand, call by call, for what the engine never does."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from store_lib.conformance.place import Place
from store_lib.interface import Committed, Context, Download, Leftover, Owner, Part, Token
from store_lib.runtime import new_owner
from store_lib.store import Store

__all__ = ["DirectUpload", "call", "context", "open_download"]

T = TypeVar("T")


def context(store: Store, owner: Owner | None = None) -> Context:
    """Return the context of a new operation."""
    return store._runtime.context(owner=owner or new_owner())


def call(store: Store, function: Callable[[], T]) -> T:
    """Call something of the driver; its client's errors become store_lib's."""
    with store._seam:
        return function()


def open_download(store: Store, uri: str) -> Download:
    """Open an image at the driver's interface."""
    driver = store._driver
    return call(store, lambda: driver.open(driver.parse(uri), 0, None, context(store)))


class DirectUpload:
    """One upload of `data`, cut into parts as the engine would.

    :param known: whether the driver is told the size.
    """

    def __init__(
        self,
        place: Place,
        image_id: str,
        data: bytes,
        *,
        store: Store | None = None,
        owner: Owner | None = None,
        known: bool = True,
    ) -> None:
        self.store = store or place.store()
        self.data = data
        self._place = place
        driver = self.store._driver
        size = len(data) if known else None
        self.upload: Any = call(self.store, lambda: driver.upload(image_id, size, context(self.store, owner)))
        self.limits = self.upload.limits
        self.parts = self._cut(place.part)
        self._capacity = self.limits.capacity
        self._tokens: dict[int, tuple[Part, Token]] = {}

    def _cut(self, size: int) -> list[Part]:
        parts = []
        for index, offset in enumerate(range(0, len(self.data), size)):
            piece = memoryview(bytearray(self.data[offset : offset + size]))
            name = self.limits.part_digest
            digest = hashlib.new(name, piece, usedforsecurity=False).hexdigest() if name else None
            parts.append(Part(index, offset, piece, offset + size >= len(self.data), digest))
        return parts

    @property
    def whole(self) -> bool:
        """Whether the engine would send it in one request."""
        return 0 < self.limits.whole_max >= len(self.data)

    def start(self) -> DirectUpload:
        """Make the first thing on the backend."""
        call(self.store, self.upload.start)
        return self

    def write(self, part: Part) -> None:
        """Write one part; makes room for it where the driver must be asked."""
        end = part.offset + part.length
        if self._capacity is not None and end > self._capacity:
            self._capacity = call(self.store, lambda: int(self.upload.reserve(end)))
        token = call(self.store, lambda: self.upload.write_part(part))
        if token is not None and not self.limits.sparse:
            self._tokens[part.index] = (dataclasses.replace(part, data=memoryview(b"")), token)

    def filled(self) -> DirectUpload:
        """Start it and write every part."""
        self.start()
        for part in self.parts:
            self.write(part)
        return self

    def commit(self) -> Committed[Any]:
        """Make it visible; the image is removed after the check."""
        tokens = [self._tokens[index] for index in sorted(self._tokens)]
        return self._remember(call(self.store, lambda: self.upload.commit(len(self.data), tokens)))

    def write_whole(self) -> Committed[Any]:
        """Send it in one request."""
        part = dataclasses.replace(self.parts[0], last=True)
        return self._remember(call(self.store, lambda: self.upload.write_whole(part)))

    def outcome(self) -> Committed[Any] | None:
        """Ask whether it was committed."""
        found: Committed[Any] | None = call(self.store, self.upload.outcome)
        return found

    def abort(self) -> list[Leftover]:
        """Clear away."""
        return list(self.upload.abort())

    def _remember(self, committed: Committed[Any]) -> Committed[Any]:
        self._place.remember(self.store, self.store._driver.uri(committed.address))
        return committed
