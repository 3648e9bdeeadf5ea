"""The calls of a service with several stores, each known by its id."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from oslo_config import cfg

from store_lib.compat import _making, _options, exceptions, location
from store_lib.compat._data import ImageData
from store_lib.compat.backend import (
    check_location_metadata,
    store_add_to_backend,
    store_add_to_backend_with_multihash,
)
from store_lib.compat.driver import Added, Store
from store_lib.location import redact

__all__ = [
    "add",
    "add_with_multihash",
    "check_location_metadata",
    "create_multi_stores",
    "delete",
    "get",
    "get_known_schemes_for_multi_store",
    "get_size_from_uri_and_backend",
    "get_store_from_store_identifier",
    "get_store_weight",
    "register_store_opts",
    "set_acls_for_multi_store",
    "store_add_to_backend",
    "store_add_to_backend_with_multihash",
    "verify_store",
]

LOG = logging.getLogger(__name__)
CONF = cfg.CONF

T = TypeVar("T")


def _list_config_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options of this mode for oslo-config-generator."""
    return _options.list_multi()


def register_store_opts(conf: cfg.ConfigOpts, reserved_stores: Mapping[str, str] | None = None) -> None:
    """Register the options of every enabled store in its group; may be repeated.

    :param reserved_stores: the service's own stores, ``{id: type}``; they have their own directories, and are among
        ``enabled_backends`` afterwards.
    """
    _options.register_multi(conf, reserved_stores)


def create_multi_stores(conf: cfg.ConfigOpts = CONF, reserved_stores: Mapping[str, str] | None = None) -> int:
    """Make the stores of ``enabled_backends``; return how many.

    One with a mistake is closed until that is mended, with a warning; one whose driver cannot be had is left out.
    Those made before are replaced in one step.
    """
    return _making.create_multi(conf, dict(reserved_stores or {}))


def verify_store() -> None:
    """See that ``[glance_store] default_backend`` names a store.

    :raises RuntimeError: it does not.
    """
    default = CONF.glance_store.default_backend
    if not default:
        raise RuntimeError("[glance_store] default_backend is not set; set it to the id of a store")
    if _found(default) is None:
        raise RuntimeError(f"[glance_store] default_backend is {default!r}, and there is no such store")


def _found(store_identifier: str) -> Store | None:
    for stores in location.SCHEME_TO_CLS_BACKEND_MAP.values():
        if store_identifier in stores:
            store: Store = stores[store_identifier]["store"]
            return store
    return None


def get_store_from_store_identifier(store_identifier: str) -> Store:
    """Return the store of an id; costs next to nothing.

    :raises UnknownScheme: there is none.
    """
    store = _found(store_identifier)
    if store is None:
        raise exceptions.UnknownScheme(f"there is no store {store_identifier!r}")
    return store


def get_store_weight(store_identifier: str) -> int:
    """Return the rank of a store; asks nobody.

    :raises UnknownScheme: there is no such store.
    """
    return get_store_from_store_identifier(store_identifier).weight


def get_known_schemes_for_multi_store() -> Iterable[str]:
    """Return the schemes of all stores."""
    return location.SCHEME_TO_CLS_BACKEND_MAP.keys()


def add(
    conf: cfg.ConfigOpts,
    image_id: str,
    data: Any,
    size: int,
    backend: str | None,
    context: Any = None,
    verifier: Any = None,
) -> Added:
    """Add an image; return location, size in bytes, md5 and metadata, which names the store.

    :param backend: id of the store; ``[glance_store] default_backend`` when there is none.
    """
    store = get_store_from_store_identifier(backend or conf.glance_store.default_backend)
    return store_add_to_backend(image_id, data, size, store, context, verifier)


def add_with_multihash(
    conf: cfg.ConfigOpts,
    image_id: str,
    data: Any,
    size: int,
    backend: str | None,
    hashing_algo: str,
    scheme: str | None = None,
    context: Any = None,
    verifier: Any = None,
) -> Added:
    """Do as `add`, with a digest of the caller's choice before the metadata.

    :param scheme: not used; services pass it by position.
    """
    store = get_store_from_store_identifier(backend or conf.glance_store.default_backend)
    return store_add_to_backend_with_multihash(image_id, data, size, hashing_algo, store, context, verifier)


def get(
    uri: str, backend: str | None, offset: int = 0, chunk_size: int | None = None, context: Any = None
) -> tuple[ImageData, int]:
    """Open an image; see `Store.get`.

    :param backend: id of its store; when there is none, every store that reads such locations is asked.
    """

    def use(store: Store, at: location.Location) -> tuple[ImageData, int]:
        return store.get(at, offset=offset, chunk_size=chunk_size, context=context)

    return _at(uri, backend, use, exceptions.RemoteServiceUnavailable)


def delete(uri: str, backend: str | None, context: Any = None) -> None:
    """Remove an image.

    :param backend: as `get`.
    """
    _at(uri, backend, lambda store, at: store.delete(at, context=context), exceptions.TimeoutError)


def get_size_from_uri_and_backend(uri: str, backend: str | None, context: Any = None) -> int:
    """Return the size of an image in bytes.

    :raises UnknownScheme: no store is named, or none of that name reads such locations.
    """
    if not backend:
        raise exceptions.UnknownScheme(f"no store serves {redact(uri)}")
    at = location.get_location_from_uri_and_backend(uri, backend)
    return get_store_from_store_identifier(backend).get_size(at, context=context)


def set_acls_for_multi_store(
    location_uri: str,
    backend: str,
    public: bool = False,
    read_tenants: Sequence[str] = (),
    write_tenants: Sequence[str] | None = None,
    context: Any = None,
) -> None:
    """Say which projects may use an image; nothing happens, at no cost, where the store has no access lists."""
    get_store_from_store_identifier(backend).set_acls(
        location_uri, public=public, read_tenants=read_tenants, write_tenants=write_tenants, context=context
    )


def _at(
    uri: str,
    backend: str | None,
    use: Callable[[Store, location.Location], T],
    not_asked: type[exceptions.GlanceStoreException],
) -> T:
    """Return what `use` does with the store of a location; with each that might be it, when none is named.

    NotFound then says that every store was seen and none has it: one that cannot be asked is an error of its own.

    :param not_asked: what to raise when a store was left out that might be it.
    """
    if backend:
        at = location.get_location_from_uri_and_backend(uri, backend)
        return use(get_store_from_store_identifier(backend), at)
    LOG.info("%s comes without the id of its store: looking in every store", redact(uri))
    scheme = location.known_scheme(uri)
    failure: Exception | None = None
    for store_id, row in [*location.SCHEME_TO_CLS_BACKEND_MAP.get(scheme, {}).items()]:
        try:
            return use(row["store"], location.get_location_from_uri_and_backend(uri, store_id))
        except (exceptions.NotFound, exceptions.UnknownScheme, exceptions.BadStoreUri):
            continue
        except (exceptions.RemoteServiceUnavailable, exceptions.TimeoutError, exceptions.Forbidden) as error:
            failure = failure or error
    if failure is not None:
        raise failure
    broken = _making.left_out(scheme)
    if broken:
        names = ", ".join(broken)
        raise not_asked(f"{redact(uri)} may lie in a store that could not be made: {names}; mend its configuration")
    raise exceptions.NotFound(f"no store has an image at {redact(uri)}")
