"""The calls of the single-store mode, in which the scheme of a location tells the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oslo_config import cfg

from store_lib.compat import _making, _options, exceptions, location
from store_lib.compat._data import ImageData
from store_lib.compat.driver import Added, Store

__all__ = [
    "add_to_backend",
    "add_to_backend_with_multihash",
    "check_location_metadata",
    "create_stores",
    "delete_from_backend",
    "get_from_backend",
    "get_known_schemes",
    "get_size_from_backend",
    "get_store_from_location",
    "get_store_from_scheme",
    "get_store_from_uri",
    "register_opts",
    "set_acls",
    "store_add_to_backend",
    "store_add_to_backend_with_multihash",
    "verify_default_store",
]

CONF = cfg.CONF


def _list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options of this mode for oslo-config-generator."""
    return _options.list_single()


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options of this mode, those of every type of store in ``[glance_store]``; may be repeated."""
    _options.register_single(conf)


def _load_store(conf: cfg.ConfigOpts, store_entry: str, invoke_load: bool = True) -> Store | None:
    """Return one store bound to `conf` alone, None when it cannot be made; services use it for staging."""
    return _making.load_one(conf, store_entry)


def create_stores(conf: cfg.ConfigOpts = CONF) -> int:
    """Make the stores of ``[glance_store] stores``; return how many.

    One with a mistake is closed until that is mended, with a warning; one whose driver cannot be had is left out.
    Those made before are replaced in one step.
    """
    return _making.create_single(conf)


def verify_default_store() -> None:
    """See that some store serves ``[glance_store] default_store``.

    :raises RuntimeError: none does.
    """
    scheme = CONF.glance_store.default_store
    if scheme not in location.SCHEME_TO_CLS_MAP:
        raise RuntimeError(f"no store serves the scheme {scheme!r} of [glance_store] default_store")


def get_known_schemes() -> Iterable[str]:
    """Return the schemes of the stores of this mode; none where there are several stores instead."""
    return location.SCHEME_TO_CLS_MAP.keys()


def get_store_from_scheme(scheme: str) -> Store:
    """Return the store of a scheme.

    :raises UnknownScheme: there is none.
    """
    try:
        store: Store = location.SCHEME_TO_CLS_MAP[scheme]["store"]
    except KeyError:
        raise exceptions.UnknownScheme(scheme=scheme) from None
    return store


def get_store_from_uri(uri: str) -> Store:
    """Return the store of a location.

    :raises UnknownScheme: there is none.
    """
    return get_store_from_scheme(location.known_scheme(uri))


def get_store_from_location(uri: str) -> str:
    """Return the name of the store of a location: its scheme.

    :raises UnknownScheme: there is none.
    """
    return location.get_location_from_uri(uri).store_name


def get_from_backend(
    uri: str, offset: int = 0, chunk_size: int | None = None, context: Any = None
) -> tuple[ImageData, int]:
    """Open an image; see `Store.get`."""
    place = location.get_location_from_uri(uri)
    return get_store_from_uri(uri).get(place, offset=offset, chunk_size=chunk_size, context=context)


def get_size_from_backend(uri: str, context: Any = None) -> int:
    """Return the size of an image in bytes."""
    place = location.get_location_from_uri(uri)
    return get_store_from_uri(uri).get_size(place, context=context)


def delete_from_backend(uri: str, context: Any = None) -> None:
    """Remove an image."""
    place = location.get_location_from_uri(uri)
    return get_store_from_uri(uri).delete(place, context=context)


def check_location_metadata(val: Any, key: str = "") -> None:
    """See that metadata of a location is made of dict, list and str only, at any depth.

    :param key: where it lies, for the text of the error.
    :raises BackendException: it is not.
    """
    if isinstance(val, Mapping):
        for name, below in val.items():
            check_location_metadata(below, key=str(name))
    elif isinstance(val, list):
        for number, below in enumerate(val):
            check_location_metadata(below, key=f"{key}[{number}]")
    elif not isinstance(val, str):
        raise exceptions.BackendException(
            f"the metadata of a location may hold dict, list and str only, {key or 'it'} is {type(val).__name__}"
        )


def _checked(metadata: Any) -> None:
    if not isinstance(metadata, dict):
        raise exceptions.BackendException(f"the metadata of a location is a dict, not {type(metadata).__name__}")
    check_location_metadata(metadata)


def store_add_to_backend(
    image_id: str, data: Any, size: int, store: Any, context: Any = None, verifier: Any = None
) -> Added:
    """Add an image to a store object; return location, size in bytes, md5 and metadata."""
    uri, written, checksum, metadata = store.add(image_id, data, size, context=context, verifier=verifier)
    if metadata is not None:
        _checked(metadata)
    return uri, written, checksum, metadata


def store_add_to_backend_with_multihash(
    image_id: str, data: Any, size: int, hashing_algo: str, store: Any, context: Any = None, verifier: Any = None
) -> Added:
    """Add an image to a store object; return location, size in bytes, md5, the digest asked for and metadata.

    :raises UnknownHashingAlgo: this machine does not know `hashing_algo`.
    """
    if str(hashing_algo).lower() not in {name.lower() for name in hashlib.algorithms_available}:
        raise exceptions.UnknownHashingAlgo(algo=hashing_algo)
    uri, written, checksum, multihash, metadata = store.add(
        image_id, data, size, hashing_algo, context=context, verifier=verifier
    )
    if metadata is not None:
        _checked(metadata)
    return uri, written, checksum, multihash, metadata


def add_to_backend(
    conf: cfg.ConfigOpts,
    image_id: str,
    data: Any,
    size: int,
    scheme: str | None = None,
    context: Any = None,
    verifier: Any = None,
) -> Added:
    """Add an image to the store of `scheme`, by default of ``[glance_store] default_store``."""
    store = get_store_from_scheme(scheme or conf.glance_store.default_store)
    return store_add_to_backend(image_id, data, size, store, context, verifier)


def add_to_backend_with_multihash(
    conf: cfg.ConfigOpts,
    image_id: str,
    data: Any,
    size: int,
    hashing_algo: str,
    scheme: str | None = None,
    context: Any = None,
    verifier: Any = None,
) -> Added:
    """Do as `add_to_backend`, with a digest of the caller's choice."""
    store = get_store_from_scheme(scheme or conf.glance_store.default_store)
    return store_add_to_backend_with_multihash(image_id, data, size, hashing_algo, store, context, verifier)


def set_acls(
    location_uri: str,
    public: bool = False,
    read_tenants: Sequence[str] = (),
    write_tenants: Sequence[str] | None = None,
    context: Any = None,
) -> None:
    """Say which projects may use an image; nothing happens where the store has no access lists."""
    store = get_store_from_uri(location_uri)
    place = location.get_location_from_uri(location_uri)
    store.set_acls(place, public=public, read_tenants=read_tenants, write_tenants=write_tenants, context=context)
