"""store_lib: the storage layer under an image service.

``Stores`` is the way in; everything a user needs is named here.  What authors of drivers need is in
`store_lib.interface`.  Importing this package imports no client library of any storage.
"""

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
    StoreClosed,
    StoreFull,
    StoreLibError,
    StoreUnavailable,
    UnknownDigest,
    UnknownStore,
)
from store_lib.health import Health
from store_lib.interface import Capacity, Checksum, Deletion, Feature, Leftover, ObjectInfo, Status
from store_lib.location import Location, redact
from store_lib.record import ImageRecord
from store_lib.store import ListedImage, Store, SweepResult
from store_lib.stores import Stores
from store_lib.transfer.download import ImageReader

__version__ = "0.1.0"

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
    "Status",
    "Store",
    "StoreClosed",
    "StoreFull",
    "StoreLibError",
    "StoreUnavailable",
    "Stores",
    "SweepResult",
    "UnknownDigest",
    "UnknownStore",
    "redact",
]
