"""Small helpers that services and drivers written for the peer import."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["chunkiter", "chunkreadable", "get_hasher", "is_uuid_like"]


def is_uuid_like(value: object) -> bool:
    """Return whether `value` is a UUID in one of its usual spellings."""
    try:
        return str(uuid.UUID(str(value))).replace("-", "") == _bare(str(value))
    except ValueError:
        return False


def _bare(text: str) -> str:
    return text.lower().removeprefix("urn:").removeprefix("uuid:").strip("{}").replace("-", "")


def chunkreadable(source: Any, chunk_size: int = 65536) -> Iterable[bytes]:
    """Return the chunks of something with ``read(n)``; an iterable comes back as it is."""
    return chunkiter(source, chunk_size) if hasattr(source, "read") else source


def chunkiter(source: Any, chunk_size: int = 65536) -> Iterator[bytes]:
    """Yield what ``read(chunk_size)`` returns until that is nothing."""
    while chunk := source.read(chunk_size):
        yield chunk


def get_hasher(hash_algo: str, usedforsecurity: bool = True) -> Any:
    """Return a new hash object."""
    return hashlib.new(str(hash_algo), usedforsecurity=usedforsecurity)
