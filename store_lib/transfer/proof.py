"""Proof that a storage holds what was sent."""

from __future__ import annotations

from typing import Any

from store_lib import errors
from store_lib.interface import Driver
from store_lib.runtime import StoreRuntime
from store_lib.transfer.download import open_image
from store_lib.transfer.hashing import hash_image
from store_lib.transfer.transfer import Added

__all__ = ["prove"]


def prove(driver: Driver[Any], runtime: StoreRuntime, added: Added, context: Any) -> str:
    """Return what proves that the storage holds the bytes: ``size``, ``backend`` (its checksum) or ``read``.

    :raises IntegrityError: it holds something else.
    """
    info = added.committed.info
    if info.size != added.size:
        raise errors.SizeMismatch(f"the storage holds {info.size} bytes of {added.size}")
    if runtime.base.verify_after_write:
        name = next(iter(added.digests))
        with open_image(driver, runtime, added.committed.address, 0, None, context) as reader:
            found = hash_image(reader, [name], runtime)[name]
        if found != added.digests[name]:
            raise errors.DigestMismatch(f"the image was read back with {name} {found}, not {added.digests[name]}")
        return "read"
    if info.checksum is not None and info.checksum.algorithm in added.digests:
        if info.checksum.value.lower() != added.digests[info.checksum.algorithm]:
            raise errors.DigestMismatch(f"the storage has another {info.checksum.algorithm} than what was sent")
        return "backend"
    return "size"
