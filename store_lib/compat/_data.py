"""What `get` returns: the bytes of an image, as WSGI servers, caches and other stores take them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

from store_lib import ImageReader, Store
from store_lib.compat._errors import translated
from store_lib.interface import Extent

__all__ = ["ImageData"]


class ImageData(io.RawIOBase):
    """The bytes of an image: an iterator of non-empty chunks and a binary file at once.

    It lets go of the storage at its end, at `close`, and when nobody refers to it any more.  One thread at a time.

    :param reader: of store_lib.
    :param release: called once when the storage is let go.
    """

    def __init__(self, reader: ImageReader, store: Store, release: Callable[[], None]) -> None:
        super().__init__()
        self._reader = reader
        self._store = store
        self._release: Callable[[], None] | None = release

    def __iter__(self) -> ImageData:
        return self

    def __next__(self) -> bytes:
        if self._release is None:
            raise StopIteration
        with translated("get", self._store):
            chunk = next(self._reader, b"")
        if not chunk:
            self._let_go()
            raise StopIteration
        return chunk

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._release is not None and self._reader.seekable()

    def readinto(self, buffer: Any) -> int:
        """Put the next bytes into `buffer` and return how many; 0 at the end."""
        if self._release is None:
            return 0
        with translated("get", self._store):
            return self._reader.readinto(buffer)

    def tell(self) -> int:
        return self._reader.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._reader.seek(offset, whence)

    def extents(self) -> Iterable[Extent] | None:
        """Return data and holes where the store knows them, so that a copy keeps the holes."""
        if self._release is None:
            return None
        with translated("get", self._store):
            return self._reader.extents()

    def close(self) -> None:
        """Let go of the storage; harmless when repeated."""
        self._let_go()
        super().close()

    def _let_go(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            try:
                self._reader.close()
            finally:
                release()
