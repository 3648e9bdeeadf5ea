"""Rules for locations that come from elsewhere: may this one be accepted, and which old ones hold credentials?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from store_lib import errors, location_forms
from store_lib.location import Location, redact, scheme_of
from store_lib.store import Store
from store_lib.stores import Stores

__all__ = ["REFUSED_SCHEMES", "CheckedLocation", "LegacyLocation", "legacy_locations", "validate_location"]

#: Schemes that lead into the service's own machine or its own accounts: a user's location never has one of them.
REFUSED_SCHEMES = frozenset({"file", "filesystem", "swift+config"})


@dataclasses.dataclass(frozen=True)
class CheckedLocation:
    """A location that may be accepted.

    :param location: with the id of its store; its URI holds no credentials.
    :param size: bytes of the image there; None when that was not asked for.
    """

    location: Location
    size: int | None


@dataclasses.dataclass(frozen=True)
class LegacyLocation:
    """An old location that holds credentials.

    :param location: as it was given; shown without them.
    :param clean: the same place without them, to be stored instead.
    """

    location: Location
    clean: str


def validate_location(
    stores: Stores,
    location: Location | str,
    *,
    schemes: Iterable[str] | None = None,
    store: str | None = None,
    exists: bool = True,
    size: int | None = None,
    max_size: int | None = None,
    context: Any = None,
) -> CheckedLocation:
    """Say whether a service may accept a location that a user names.

    In this order, so that nothing is asked of a storage for a location that is refused anyway: its scheme is allowed;
    it is well formed and holds no credentials; a store owns it (it lies in the store's directory, pool, bucket,
    account, or is a URL that the rules of an http store let through); the image is there; its size is right.

    :param schemes: those allowed; None for all but `REFUSED_SCHEMES`.
    :param store: id of the store that must own it; None for any.
    :param exists: look whether the image is there, which is I/O.
    :param size: bytes that the image must have.
    :param max_size: most bytes that it may have.
    :param context: the service's own request context, handed to the driver.
    :raises BadLocation: the scheme is not allowed, or the location is malformed or holds credentials.
    :raises UnknownStore: there is no such store, or none that owns it.
    :raises ForeignLocation: the store named does not own it.
    :raises NotFound: the image is not there.
    :raises SizeMismatch: it has another size, or more than `max_size`.
    :raises StoreUnavailable: the storage cannot be asked.
    """
    place = Location.of(location)
    _check_scheme(place.uri, schemes)
    if _credentials_in(place.uri):
        raise errors.BadLocation(f"{redact(place.uri)} holds credentials; leave them out")
    owner = _owner(stores, place, store or place.store)
    checked = Location(place.uri, owner.id, place.metadata)
    if not exists and size is None and max_size is None:
        return CheckedLocation(checked, None)
    found = owner.stat(checked, context=context).size
    if size is not None and found != size:
        raise errors.SizeMismatch(f"the image at {checked.redacted} has {found} bytes, not {size}")
    if max_size is not None and found > max_size:
        raise errors.SizeMismatch(f"the image at {checked.redacted} has {found} bytes, more than {max_size}")
    return CheckedLocation(checked, found)


def _check_scheme(uri: str, schemes: Iterable[str] | None) -> None:
    scheme = scheme_of(uri)
    allowed = None if schemes is None else {each.lower() for each in schemes}
    if scheme in REFUSED_SCHEMES if allowed is None else scheme not in allowed:
        raise errors.BadLocation(f"locations of scheme {scheme!r} are not accepted")


def _credentials_in(uri: str) -> bool:
    scheme = scheme_of(uri)
    if scheme not in location_forms.SCHEMES:  # of another package's driver: its parse() decides
        return False
    return location_forms.parse(uri).credentials is not None


def _owner(stores: Stores, place: Location, store_id: str | None) -> Store:
    if store_id is None:
        return stores.locate(place)
    store = stores[store_id]
    if not store.owns(place):
        raise errors.ForeignLocation(f"{place.redacted} does not lie in store {store_id}")
    return store


def legacy_locations(locations: Iterable[Location | str]) -> Iterator[LegacyLocation]:
    """Yield those of `locations` that hold credentials, each with its clean form; no I/O.

    The clean form names the same place; the credentials then come from the store's configuration.  A location that is
    malformed or of an unknown kind is passed over.
    """
    for each in locations:
        location = Location.of(each)
        try:
            form = location_forms.parse(location.uri)
        except errors.BadLocation:
            continue
        if form.credentials is not None:
            yield LegacyLocation(location, form.clean())
