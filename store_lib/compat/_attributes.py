"""What services read off the object of a store, by the store's type: one row for each attribute.

``GET /v2/info/stores/detail`` shows some of these; one that is missing there makes the whole answer fail.  Values come
from the settings, without I/O, and can be shown as JSON.  A new kind of store adds its rows here.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any

from store_lib import Store, errors

__all__ = ["ATTRIBUTES", "attribute"]

_MIB = 1024 * 1024
#: What Swift's options call "MB".
_SWIFT_MB = 1000 * 1024

Read = Callable[[Store], Any]


def _option(name: str, unit: int = 1) -> Read:
    """Return a function that reads an option; a number is given in bytes when its unit is not 1."""
    return lambda store: store.settings[name] * unit if unit != 1 else store.settings[name]


def _datadir(store: Store) -> str:
    try:
        found: str = store.describe()["datadirs"][0]
    except errors.StoreUnavailable:  # it is closed for a mistake
        found = store.settings["filesystem_store_datadir"] or ""
    return found


#: ``{type of store: {attribute: how it is read}}``
ATTRIBUTES: Mapping[str, Mapping[str, Read]] = {
    "file": {
        "datadir": _datadir,
        "chunk_size": _option("filesystem_store_chunk_size"),
        "thin_provisioning": _option("filesystem_thin_provisioning"),
    },
    "http": {},
    "s3": {
        "s3_store_large_object_size": _option("s3_store_large_object_size", _MIB),
        "s3_store_large_object_chunk_size": _option("s3_store_large_object_chunk_size", _MIB),
        "s3_store_thread_pools": _option("s3_store_thread_pools"),
    },
    "rbd": {
        "chunk_size": _option("rbd_store_chunk_size", _MIB),
        "pool": _option("rbd_store_pool"),
        "thin_provisioning": _option("rbd_thin_provisioning"),
    },
    "swift": {
        "container": _option("swift_store_container"),
        "large_object_size": _option("swift_store_large_object_size", _SWIFT_MB),
        "large_object_chunk_size": _option("swift_store_large_object_chunk_size", _SWIFT_MB),
    },
    "cinder": {
        "store_conf": lambda store: types.SimpleNamespace(
            cinder_volume_type=store.settings["cinder_volume_type"],
            cinder_use_multipath=store.settings["cinder_use_multipath"],
        ),
    },
}


def attribute(store: Store, name: str) -> Any:
    """Return the value of an attribute of `store`.

    :raises AttributeError: its type has none of that name.
    """
    try:
        read = ATTRIBUTES[store.type][name]
    except KeyError:
        raise AttributeError(f"a store of type {store.type!r} has no attribute {name!r}") from None
    return read(store)
