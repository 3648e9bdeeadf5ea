"""What an answer's status and headers say: which bytes of which version come in it, or which error it is."""

from __future__ import annotations

import dataclasses
import datetime
import email.utils
import http
import re
from collections.abc import Mapping

from store_lib import errors
from store_lib.interface import ObjectInfo

__all__ = ["Span", "UselessRange", "Version", "read_span"]

#: Of HTTP dates; a file that is younger may have changed since within the same second (RFC 9110, 8.8.2.2).
_RESOLUTION = datetime.timedelta(seconds=1)

_CONTENT_RANGE = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18})", re.I)
_UNSATISFIED = re.compile(r"bytes\s+\*/(\d{1,18})", re.I)

#: Statuses below 500 that pass by themselves: time-out, too early, too many requests.
_PASSING = (408, 425, 429)
_LASTING = (501, 505, 511)


class UselessRange(errors.BackendError):
    """The server takes requests for a range for something else; asking for the whole may help."""


@dataclasses.dataclass(frozen=True)
class Version:
    """What tells two versions of a resource apart.

    :param etag: strong entity tag, None without one.
    :param modified: text of Last-Modified, None without one.
    :param sure: whether `modified` surely differs from that of another version.
    """

    etag: str | None
    modified: str | None
    sure: bool

    @property
    def pin(self) -> str | None:
        """The value of If-Range that holds a request to this version; None where nothing does."""
        return self.etag or (self.modified if self.sure else None)

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Version:
        """Return the version that the headers of an answer name."""
        etag = headers.get("ETag", "").strip()
        modified = headers.get("Last-Modified", "").strip()
        changed, now = _date(modified), _date(headers.get("Date", ""))
        sure = changed is not None and now is not None and now - changed >= _RESOLUTION
        return cls(etag if etag.startswith('"') else None, modified or None, sure)

    def holds(self, other: Version, vouched: bool) -> bool:
        """Return whether a later answer is of this version.

        :param vouched: the server itself compared (If-Range), and may leave the headers out.
        """
        mine, theirs = (self.etag, other.etag) if self.etag else (self.modified, other.modified)
        return mine == theirs or (vouched and theirs is None)


@dataclasses.dataclass(frozen=True)
class Span:
    """The bytes that an answer holds.

    :param start: offset of the first one in the image.
    :param end: offset behind the last one.
    :param ranged: whether the server took the request for a range for one.
    :param info: of the whole image.
    """

    start: int
    end: int
    ranged: bool
    version: Version
    info: ObjectInfo


def read_span(status: int, headers: Mapping[str, str], offset: int) -> Span:
    """Return what an answer to a request for the bytes from `offset` on holds.

    :raises NotFound: the server says that there is nothing.
    :raises NotSupported: the server serves this image from its beginning only, and `offset` is not 0.
    :raises UselessRange: it does not hold what was asked for.
    :raises StoreLibError: every other status; the server's own words are not repeated, who knows what they hold.
    """
    if status == 416:
        return _unsatisfied(headers, offset)
    if status not in (200, 206):
        raise _error(status)
    coding = headers.get("Content-Encoding", "identity").strip().lower() or "identity"
    transfer = headers.get("Transfer-Encoding", "chunked").strip().lower()
    if coding != "identity" or transfer not in ("chunked", "identity"):
        raise errors.BackendError("the server sends the image compressed although it was asked not to")
    announced = _length(headers)
    if status == 206:
        return _part(headers, offset, announced)
    if announced is None:
        raise errors.BackendError("the server does not tell the size of the image")
    if offset:
        raise errors.NotSupported("the server serves this image from its beginning only")
    return _span(headers, 0, announced, announced, ranged=False)


def _unsatisfied(headers: Mapping[str, str], offset: int) -> Span:
    found = _UNSATISFIED.fullmatch(headers.get("Content-Range", "").strip())
    if not found or int(found[1]) > offset:
        raise UselessRange("the server refuses a range that lies inside the image")
    return _span(headers, offset, offset, int(found[1]), ranged=True)


def _part(headers: Mapping[str, str], offset: int, announced: int | None) -> Span:
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    first, last, size = (int(number) for number in found.groups()) if found else (0, 0, 0)
    if not found or first != offset or not first <= last < size:
        raise UselessRange("the server sends other bytes than those that were asked for")
    if announced is not None and announced != last + 1 - first:
        raise UselessRange("the server contradicts itself about the length of its answer")
    return _span(headers, first, last + 1, size, ranged=True)


def _span(headers: Mapping[str, str], start: int, end: int, size: int, *, ranged: bool) -> Span:
    version = Version.of(headers)
    modified = _date(headers.get("Last-Modified", ""))
    told = (headers.get("ETag"), headers.get("Last-Modified"), size)
    return Span(start, end, ranged, version, ObjectInfo(size, modified, version=told))


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Content-Length", "").strip()
    if "Transfer-Encoding" in headers or not text:
        return None
    if not re.fullmatch(r"\d{1,18}", text):
        raise errors.BackendError("the server tells a length that is no number")
    return int(text)


def _date(text: str) -> datetime.datetime | None:
    try:
        found = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _error(status: int) -> errors.StoreLibError:
    told = f"the server answered {_named(status)}"
    if status in (404, 410):
        return errors.NotFound(f"there is no image: {told}")
    if status in (401, 403):
        return errors.Forbidden(f"{told}; see http_store_user, or what the location needs")
    if status == 407:
        return errors.Forbidden("the proxy wants a user and password; write them into http_proxy_information")
    if status in _PASSING or (500 <= status < 600 and status not in _LASTING):
        return errors.StoreUnavailable(told)
    return errors.BackendError(told)


def _named(status: int) -> str:
    try:
        return f"{status} ({http.HTTPStatus(status).phrase})"
    except ValueError:
        return str(status)
