"""Names on Swift: containers, objects, segments, claims, and the locations of images.

In a container ``glance``::

    ID                                        an image, or the manifest of one that is in segments
    .segments/ID/OWNER/00000000               a segment; OWNER is the process that wrote it
    .segments/ID/OWNER/begun                  a mark that its upload has begun
    .claims/ID/OWNER                          somebody is about to make ID visible
    ID-00001                                  a segment as glance_store wrote it

No image has a slash in its id, so a listing up to the first slash shows images and the segments of glance_store only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import urllib.parse
import uuid

from store_lib import errors
from store_lib.drivers.swift.references import References, reference_of
from store_lib.interface import Address
from store_lib.location import check_image_id, redact
from store_lib.location_forms import SwiftForm
from store_lib.settings import StoreSettings

__all__ = ["CLAIMS", "SEGMENTS", "Names", "SwiftAddress", "owned_prefix", "peer_segment", "root_of"]

SEGMENTS = ".segments/"
CLAIMS = ".claims/"

_PEER_SEGMENT = re.compile(r"(.+)-[0-9]{5,}", re.DOTALL)
#: Bytes that the name of a container may have, on every cluster that did not change it.
_LONGEST = 256


@dataclasses.dataclass(frozen=True)
class SwiftAddress(Address):
    """An object of an account.

    :param account: the reference of the account, or its storage URL where each project has its own.
    """

    account: str
    container: str
    object: str


class Names:
    """How one store names things; safe for threads, no I/O but reading the file of references."""

    def __init__(self, settings: StoreSettings, references: References) -> None:
        self._references = references
        self.tenants: bool = settings["swift_store_multi_tenant"]
        self.base: str = settings["swift_store_container"]
        self.seed: int = settings["swift_store_multiple_containers_seed"]
        self._segments: str | None = settings["swift_store_segments_container"]
        self._readable = {self.base, *settings["swift_store_read_containers"]}

    @property
    def scattered(self) -> bool:
        """Whether the container depends on the image, so that it may be missing for a good reason."""
        return self.tenants or self.seed > 0

    def container(self, image_id: str) -> str:
        """Return the container that a new image goes to."""
        if self.tenants:
            name = f"{self.base}_{image_id}"
            return name if len(name.encode()) <= _LONGEST else f"{self.base}_{_short(image_id)}"
        return f"{self.base}_{image_id[: self.seed]}" if self.seed else self.base

    def segments(self, container: str) -> str:
        """Return the container of the segments of images in `container`."""
        return self._segments or container

    def parse(self, uri: str) -> SwiftAddress:
        """Return the address of any form that services hold; see `store_lib.interface.Driver.parse`."""
        form = SwiftForm.parse(uri)
        try:
            check_image_id(form.object)
        except errors.BadImageId:
            raise errors.BadLocation(f"{redact(uri)} is malformed: its object names no image") from None
        if not self._own_container(form.container, form.object):
            raise errors.ForeignLocation(f"{redact(uri)} lies in no container of this store")
        account = self._tenant(form) if self.tenants else self._reference(form)
        if account is None:
            raise errors.ForeignLocation(f"{redact(uri)} is of no account of this store")
        return SwiftAddress(account, form.container, form.object)

    def _own_container(self, container: str, image_id: str) -> bool:
        # Of any length: the seed may have been another one when the image was added.
        rest = container.removeprefix(f"{self.base}_")
        by_id = rest not in ("", container) and (image_id.startswith(rest) or rest == _short(image_id))
        return by_id or container in self._readable

    def _reference(self, form: SwiftForm) -> str | None:
        logins = self._references.all()
        if form.reference is not None:
            # The service's library wrote None for a reference that was left to its default.
            name = self._references.default if form.reference == "None" not in logins else form.reference
            return name if name in logins else None
        return reference_of(logins, form.place, form.credentials.user if form.credentials else None)

    @staticmethod
    def _tenant(form: SwiftForm) -> str | None:
        # Whether the server is the right one is seen where its address is known: before anything is sent to it.
        return form.url.rstrip("/") if form.url and form.credentials is None and root_of(form.url) else None

    def uri(self, address: SwiftAddress) -> str:
        """Return the location of an address; it holds no credential."""
        if "://" not in address.account:
            return f"swift+config://{address.account}/{address.container}/{address.object}"
        scheme, _, place = address.account.partition("://")
        return f"swift+{scheme}://{place}/{address.container}/{address.object}"

    def prefix(self) -> str | None:
        """Return what every location begins with, None where that depends on the caller."""
        if self.tenants:
            return None
        start = f"swift+config://{self._references.default}/{self.base}"
        return f"{start}_" if self.seed else f"{start}/"


def _short(image_id: str) -> str:
    """Return what stands for an id that is too long for the name of a container."""
    return hashlib.sha256(image_id.encode()).hexdigest()[:32]


def root_of(url: str) -> str | None:
    """Return a storage URL without its account (``https://host/v1``), None where there is none in it."""
    parts = urllib.parse.urlsplit(url)
    before, slash, account = parts.path.rstrip("/").rpartition("/")
    if not (slash and account and parts.netloc):
        return None
    return f"{parts.scheme}://{parts.netloc.lower()}{before}"


def owned_prefix(image_id: str, owner: str) -> str:
    """Return what the segments of one upload begin with."""
    return f"{SEGMENTS}{image_id}/{owner}/"


def peer_segment(name: str, *, certain: bool) -> str | None:
    """Return the id of the image that `name` would be a segment of, by glance_store's way of naming them.

    :param certain: only where no image of that name can be meant: `name` is a uuid with digits behind it.
    """
    found = _PEER_SEGMENT.fullmatch(name)
    if found is None:
        return None
    if certain:
        try:
            if str(uuid.UUID(found[1])) != found[1].lower():
                return None
        except ValueError:
            return None
    return found[1]
