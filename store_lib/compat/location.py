"""Locations, and the maps from schemes to stores that services read, and re-bind, themselves.

The two maps are the stores that are in use: every look-up of this package goes through them at the time of the call.
Together with `store_lib.compat._making` this is all the state that is global.
"""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

from store_lib import errors
from store_lib.compat import exceptions
from store_lib.location import redact, scheme_of

__all__ = [
    "SCHEME_TO_CLS_BACKEND_MAP",
    "SCHEME_TO_CLS_MAP",
    "Location",
    "StoreLocation",
    "get_location_from_uri",
    "get_location_from_uri_and_backend",
    "register_scheme_backend_map",
    "register_scheme_map",
]

CONF = cfg.CONF

#: ``{scheme: {"store": Store, "location_class": class, "store_entry": type}}`` of the single-store mode.
SCHEME_TO_CLS_MAP: dict[str, dict[str, Any]] = {}
#: ``{scheme: {store id: {"store": Store, "location_class": class, "store_entry": type}}}``
SCHEME_TO_CLS_BACKEND_MAP: dict[str, dict[str, dict[str, Any]]] = {}


class StoreLocation:
    """The location as the store has it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @property
    def scheme(self) -> str:
        """Scheme of the URI."""
        return scheme_of(self.uri)

    def get_uri(self) -> str:
        """Return the URI."""
        return self.uri

    def __repr__(self) -> str:
        return f"StoreLocation({redact(self.uri)!r})"


class Location:
    """Where an image is, in a store that is known.

    :param store_name: id of the store, its scheme in the single-store mode.
    """

    def __init__(self, store_name: str, uri: str, image_id: str | None = None) -> None:
        self.store_name = store_name
        self.image_id = image_id
        self.store_location = StoreLocation(uri)

    def get_store_uri(self) -> str:
        """Return the URI as the store has it."""
        return self.store_location.get_uri()

    def get_uri(self) -> None:
        """Return None: there is no other URI."""

    def __repr__(self) -> str:
        return f"Location({redact(self.get_store_uri())!r}, store={self.store_name!r})"


def register_scheme_map(scheme_map: dict[str, dict[str, Any]]) -> None:
    """Put these stores in the place of those of the single-store mode, in one step."""
    global SCHEME_TO_CLS_MAP
    SCHEME_TO_CLS_MAP = scheme_map


def register_scheme_backend_map(scheme_map: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Put these stores in the place of those that were there, in one step."""
    global SCHEME_TO_CLS_BACKEND_MAP
    SCHEME_TO_CLS_BACKEND_MAP = scheme_map


def get_location_from_uri(uri: str, conf: cfg.ConfigOpts = CONF) -> Location:
    """Return the location of a URI in the single-store mode.

    :raises UnknownScheme: no store reads its scheme.
    :raises BadStoreUri: it is malformed.
    """
    scheme = known_scheme(uri)
    if scheme not in SCHEME_TO_CLS_MAP:
        raise exceptions.UnknownScheme(scheme=scheme)
    SCHEME_TO_CLS_MAP[scheme]["store"].check_location(uri)
    return Location(scheme, uri)


def get_location_from_uri_and_backend(uri: str, backend: str, conf: cfg.ConfigOpts = CONF) -> Location:
    """Return the location of a URI in the store `backend`.

    :raises UnknownScheme: there is no such store, or it does not read the scheme.
    :raises BadStoreUri: it is malformed.
    """
    scheme = known_scheme(uri)
    found = SCHEME_TO_CLS_BACKEND_MAP.get(scheme, {}).get(backend)
    if found is None:
        raise exceptions.UnknownScheme(f"store {backend!r} does not read locations of scheme {scheme!r}")
    found["store"].check_location(uri)
    return Location(backend, uri)


def known_scheme(uri: str) -> str:
    """Return the scheme of a URI.

    :raises UnknownScheme: it has none, or is no text that could be a location.
    """
    try:
        return scheme_of(uri)
    except errors.BadLocation as error:
        raise exceptions.UnknownScheme(str(error)) from error
