"""What a store_lib error becomes: one table for each operation, since services read meaning into the class.

NotFound of a delete makes a service drop its record, so it stands for nothing but an image that is gone; a store that
is closed or down answers a delete with TimeoutError, which makes the service keep the record and try again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from store_lib import Status, Store, errors
from store_lib.compat import exceptions as peer

__all__ = ["translated", "translated_error"]

Table = Sequence[tuple[type[errors.StoreLibError], type[Exception]]]

#: For every operation, after its own table; the first class that fits counts.
_COMMON: Table = (
    (errors.TooManyRedirects, peer.MaxRedirectsExceeded),
    (errors.NotFound, peer.NotFound),
    (errors.Duplicate, peer.Duplicate),
    (errors.InUse, peer.InUseByStore),
    (errors.StoreFull, peer.StorageFull),
    (errors.UnknownDigest, peer.UnknownHashingAlgo),
    (errors.UnknownStore, peer.UnknownScheme),
    (errors.BadLocation, peer.BadStoreUri),
    (errors.ConfigurationError, peer.BadStoreConfiguration),
    (errors.BadRequest, peer.Invalid),
    (errors.Forbidden, peer.Forbidden),
    (errors.StoreUnavailable, peer.RemoteServiceUnavailable),
    (errors.StoreClosed, peer.RemoteServiceUnavailable),
)

_TABLES: dict[str, Table] = {
    "add": (
        (errors.NotSupported, peer.StoreAddDisabled),
        (errors.StoreClosed, peer.StoreAddDisabled),
        (errors.Forbidden, peer.StorageWriteDenied),
        (errors.SizeMismatch, peer.Invalid),
        (errors.StoreUnavailable, peer.TimeoutError),
        # Only a location can be missing or malformed for a service, and an add has none yet.
        (errors.NotFound, peer.BackendException),
        (errors.BadLocation, peer.BackendException),
    ),
    "get": (
        (errors.BadRange, peer.StoreRandomGetNotSupported),
        (errors.NotSupported, peer.StoreRandomGetNotSupported),
    ),
    "get_size": ((errors.NotSupported, peer.StoreGetNotSupported),),
    "delete": (
        (errors.ReadOnlyStore, peer.Forbidden),
        (errors.NotSupported, peer.StoreDeleteNotSupported),
        (errors.StoreUnavailable, peer.TimeoutError),
        (errors.StoreClosed, peer.TimeoutError),
    ),
    "set_acls": (
        (errors.StoreUnavailable, peer.TimeoutError),
        (errors.StoreClosed, peer.TimeoutError),
    ),
    "parse": (),
}


def translated_error(error: errors.StoreLibError, operation: str, store: Store | None = None) -> Exception:
    """Return what a service expects instead of `error`, with its text.

    :param operation: add, get, get_size, delete, set_acls or parse.
    """
    kind = _kind(error, operation)
    if operation == "add" and isinstance(error, errors.StoreUnavailable) and store is not None and _closed(store):
        kind = peer.StoreAddDisabled
    if operation == "get_size" and isinstance(error, errors.StoreUnavailable) and store is not None:
        # Asked before a location of a user is accepted: a web server that cannot be reached is that user's mistake.
        kind = peer.BadStoreUri if {"http", "https"} & {*store.schemes} else kind
    return kind(str(error))


def _kind(error: errors.StoreLibError, operation: str) -> type[Exception]:
    for source, target in (*_TABLES[operation], *_COMMON):
        if isinstance(error, source):
            return target
    return peer.BackendException


def _closed(store: Store) -> bool:
    return store.health.status in (Status.DOWN, Status.READ_ONLY)


@contextlib.contextmanager
def translated(operation: str, store: Store | None = None) -> Iterator[None]:
    """Around one operation: what store_lib raises comes out as the service expects it, everything else unchanged."""
    try:
        yield
    except errors.StoreLibError as error:
        raise translated_error(error, operation, store) from error
