"""store_lib: the storage layer under an image service.

``Stores`` is the way in; everything a user needs is named here.  What authors of drivers need is in
`store_lib.interface`.  Importing this package imports no client library of any storage, and what a name brings with it
is imported when the name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store_lib.errors import (
        BackendError,
        BadImageId,
        BadLocation,
        BadRange,
        BadRequest,
        Busy,
        Cancelled,
        CannotMigrate,
        CommitUnknown,
        ConfigurationError,
        DigestMismatch,
        DriverLoadError,
        Duplicate,
        Forbidden,
        ForeignLocation,
        IntegrityError,
        InUse,
        Mistake,
        NotFound,
        NotSupported,
        OperationTimeout,
        Outcome,
        ReadOnlyStore,
        SizeMismatch,
        SourceRemains,
        StoreClosed,
        StoreFull,
        StoreLibError,
        StoreUnavailable,
        TooManyRedirects,
        UnknownDigest,
        UnknownStore,
    )
    from store_lib.health import Health
    from store_lib.info import StoreInfo
    from store_lib.interface import Capacity, Checksum, Deletion, Feature, Leftover, ObjectInfo, Status
    from store_lib.leftovers import SweepResult
    from store_lib.location import Location, redact
    from store_lib.policy import CheckedLocation, LegacyLocation, legacy_locations, validate_location
    from store_lib.record import ImageRecord
    from store_lib.store import ListedImage, Store
    from store_lib.stores import Stores
    from store_lib.transfer.download import ImageReader

__version__ = "0.1.0"

_HOMES = {
    "store_lib.errors": (
        "BackendError",
        "BadImageId",
        "BadLocation",
        "BadRange",
        "BadRequest",
        "Busy",
        "Cancelled",
        "CannotMigrate",
        "CommitUnknown",
        "ConfigurationError",
        "DigestMismatch",
        "DriverLoadError",
        "Duplicate",
        "Forbidden",
        "ForeignLocation",
        "InUse",
        "IntegrityError",
        "Mistake",
        "NotFound",
        "NotSupported",
        "OperationTimeout",
        "Outcome",
        "ReadOnlyStore",
        "SizeMismatch",
        "SourceRemains",
        "StoreClosed",
        "StoreFull",
        "StoreLibError",
        "StoreUnavailable",
        "TooManyRedirects",
        "UnknownDigest",
        "UnknownStore",
    ),
    "store_lib.health": ("Health",),
    "store_lib.info": ("StoreInfo",),
    "store_lib.leftovers": ("SweepResult",),
    "store_lib.interface": (
        "Capacity",
        "Checksum",
        "Deletion",
        "Feature",
        "Leftover",
        "ObjectInfo",
        "Status",
    ),
    "store_lib.location": (
        "Location",
        "redact",
    ),
    "store_lib.policy": (
        "CheckedLocation",
        "LegacyLocation",
        "legacy_locations",
        "validate_location",
    ),
    "store_lib.record": ("ImageRecord",),
    "store_lib.store": (
        "ListedImage",
        "Store",
    ),
    "store_lib.stores": ("Stores",),
    "store_lib.transfer.download": ("ImageReader",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BackendError",
    "BadImageId",
    "BadLocation",
    "BadRange",
    "BadRequest",
    "Busy",
    "Cancelled",
    "CannotMigrate",
    "Capacity",
    "CheckedLocation",
    "Checksum",
    "CommitUnknown",
    "ConfigurationError",
    "Deletion",
    "DigestMismatch",
    "DriverLoadError",
    "Duplicate",
    "Feature",
    "Forbidden",
    "ForeignLocation",
    "Health",
    "ImageReader",
    "ImageRecord",
    "InUse",
    "IntegrityError",
    "Leftover",
    "LegacyLocation",
    "ListedImage",
    "Location",
    "Mistake",
    "NotFound",
    "NotSupported",
    "ObjectInfo",
    "OperationTimeout",
    "Outcome",
    "ReadOnlyStore",
    "SizeMismatch",
    "SourceRemains",
    "Status",
    "Store",
    "StoreClosed",
    "StoreFull",
    "StoreInfo",
    "StoreLibError",
    "StoreUnavailable",
    "Stores",
    "SweepResult",
    "TooManyRedirects",
    "UnknownDigest",
    "UnknownStore",
    "legacy_locations",
    "redact",
    "validate_location",
]


def __getattr__(name: str) -> Any:
    """Import the module of a public name at its first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'store_lib' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
