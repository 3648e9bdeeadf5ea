"""Locations: where one copy of an image is, and how such a place is shown without secrets."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from store_lib import errors

__all__ = ["MAX_URI", "Location", "check_image_id", "redact", "scheme_of"]

#: Longest URI that is looked at, in characters; every grammar that drivers read is far below it.
MAX_URI = 8192

_IMAGE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}", re.ASCII)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_QUERY_NAME = re.compile(r"[?&;#]([^?&;#=]*)=")
_QUERY_END = re.compile(r"[&;#]")
_SECRET_NAME = re.compile(r"signature|credential|token|secret|pass|pwd|key|sig|auth|expires", re.I)
_EMPTY: Mapping[str, Any] = MappingProxyType({})


def check_image_id(image_id: str) -> str:
    """Return `image_id` when it may name an image: 1 to 255 of ``[A-Za-z0-9._-]``, not beginning with a dot.

    :raises BadImageId: before any I/O.
    """
    if not isinstance(image_id, str) or not _IMAGE_ID.fullmatch(image_id):
        shown = ascii(image_id)[:80] if isinstance(image_id, str) else type(image_id).__name__
        raise errors.BadImageId(
            f"{shown} cannot name an image: use 1 to 255 of A-Z a-z 0-9 . _ - and do not begin with a dot"
        )
    return image_id


def redact(uri: object) -> str:
    """Return `uri` for a log, an error or a screen: without user, password, keys or signatures.

    Takes anything, never raises, and shortens what is over-long.
    """
    try:
        text = uri if isinstance(uri, str) else str(uri)
    except Exception:
        return f"<{type(uri).__name__}>"
    # Old locations hold secrets unquoted, with '/', '?' or '#' in them: only the last '@' surely ends the user part.
    # Better one path shown too short than one secret shown.
    found = _AUTHORITY.match(text)
    start = found.end() if found else 0
    if "@" in text and not text.startswith("/", start):
        text = text[:start] + "***@" + text.rpartition("@")[2]
    text = _without_secrets(text)[: MAX_URI + 1]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return text if len(text) <= 500 else text[:497] + "..."


def _without_secrets(text: str) -> str:
    """Return `text` with the values of a query's secret names masked; takes time in proportion to its length."""
    shown, at = [], 0
    for found in _QUERY_NAME.finditer(text):
        if found.start() >= at and _SECRET_NAME.search(urllib.parse.unquote(found[1])):
            shown += [text[at : found.end()], "***"]
            end = _QUERY_END.search(text, found.end())
            at = end.start() if end else len(text)
    return "".join(shown) + text[at:]


def scheme_of(uri: str) -> str:
    """Return the scheme of `uri` in lower case.

    :raises BadLocation: when it is no text, over-long, holds a control character or has no scheme.
    """
    if not isinstance(uri, str):
        raise errors.BadLocation(f"a location is a text, not {type(uri).__name__}")
    if len(uri) > MAX_URI:
        raise errors.BadLocation(f"the location is longer than {MAX_URI} characters")
    if not uri.isprintable():  # NUL, line breaks and lone surrogates (bytes that were not UTF-8)
        raise errors.BadLocation(f"the location holds characters that cannot be part of one: {redact(uri)}")
    found = _SCHEME.match(uri)
    if not found:
        raise errors.BadLocation(f"{redact(uri)} has no scheme: a location looks like file:///path/id")
    return found.group(1).lower()


@dataclasses.dataclass(frozen=True)
class Location:
    """Where one copy of an image is.

    :param uri: as the driver wrote it; holds no credential when store_lib wrote it.
    :param store: id of the store, None when not known (old records): the store is then found by the URI.
    :param metadata: what the store tells services about the place (nested dict, list and str only).
    """

    uri: str
    store: str | None = None
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=lambda: _EMPTY, compare=False)

    @property
    def redacted(self) -> str:
        """The URI without secrets."""
        return redact(self.uri)

    @classmethod
    def of(cls, location: Location | str) -> Location:
        """Return `location` itself, or the Location of a URI."""
        return location if isinstance(location, Location) else cls(location)

    def __str__(self) -> str:
        return self.redacted

    def __repr__(self) -> str:
        return f"Location({self.redacted!r}, store={self.store!r})"
