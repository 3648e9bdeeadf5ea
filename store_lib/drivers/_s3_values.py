"""Values of the S3 store: where it is, how its objects are named, and what an answer tells of one."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from store_lib import errors, interface
from store_lib.interface import Checksum, ObjectInfo, Owner
from store_lib.location import redact
from store_lib.location_forms import S3Form
from store_lib.settings import StoreSettings

__all__ = ["OWNER", "UPLOAD", "Place", "S3Address", "S3Leftover", "info_of", "md5_of"]

#: Names in an object's metadata: the upload that made it, and who that was.
UPLOAD, OWNER = "store-lib-upload", "store-lib-owner"

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


@dataclasses.dataclass(frozen=True)
class S3Address(interface.Address):
    """An object by its key in the store's bucket."""

    key: str


@dataclasses.dataclass(frozen=True)
class S3Leftover:
    """What `S3Driver.sweep` needs to find a leftover again.

    :param key: of the object that it was to become, or of the object that is left.
    :param upload: id of the multipart upload; None for a plain object.
    :param record: key of the upload's owner record, None when it has none.
    :param tag: ETag of a plain object when it was seen.
    """

    key: str
    upload: str | None = None
    record: str | None = None
    tag: str | None = None


@dataclasses.dataclass(frozen=True)
class Place:
    """The bucket of one store.

    :param endpoint: URL.
    :param host: host, port where it is not the usual one, and path, as they stand in locations.
    :param secure: whether it is spoken to over TLS.
    :param prefix: what the key of every image begins with.
    """

    endpoint: str
    host: str
    secure: bool
    bucket: str
    prefix: str

    @classmethod
    def of(cls, settings: StoreSettings) -> Place:
        """Return the place that the options name.

        :raises ValueError: the host is malformed; says how.
        """
        endpoint = endpoint_of(settings["s3_store_host"] or "")
        secure = endpoint.startswith("https:")
        host = _plain(endpoint.partition("://")[2])
        return cls(endpoint, host, secure, settings["s3_store_bucket"] or "", settings["s3_store_key_prefix"] or "")

    def address(self, image_id: str) -> S3Address:
        """Return where an image of that id is."""
        return S3Address(self.prefix + image_id)

    def uri(self, address: S3Address) -> str:
        """Return the location of an object."""
        return f"{self.root}/{address.key}"

    @property
    def root(self) -> str:
        """What every location of the bucket begins with, less a slash."""
        return f"{'s3+https' if self.secure else 's3'}://{self.host}/{self.bucket}"  # as services have it

    def parse(self, uri: str) -> S3Address:
        """Return the address of a location, whether it was written with or without credentials, with or without TLS.

        :raises BadLocation: malformed.
        :raises ForeignLocation: of another host, bucket or prefix.
        """
        form = S3Form.parse(uri)
        path = f"{_plain(form.host)}/{form.bucket}/{form.key}"
        root = f"{self.host}/{self.bucket}/{self.prefix}"
        name = path[len(root) :]
        if not path.startswith(root) or "/" in name:
            raise errors.ForeignLocation(f"{redact(uri)} does not lie in bucket {self.bucket} at {self.host}")
        if not name or name.startswith("."):
            raise errors.BadLocation(f"{redact(uri)} is malformed: no image has such a name")
        return S3Address(self.prefix + name)

    # Everything that is no image lies below a name that no image can have, and that a listing by '/' leaves out.

    @property
    def hidden(self) -> str:
        """What the keys of objects that are no images begin with."""
        return f"{self.prefix}.store_lib/"

    @property
    def records(self) -> str:
        """What the keys of owner records begin with."""
        return f"{self.hidden}uploads/"

    @property
    def claims(self) -> str:
        """What the keys of claims begin with."""
        return f"{self.hidden}claims/"

    def record(self, upload: str, owner: Owner) -> str:
        """Return the key of the owner record of a multipart upload; the owner stands in it."""
        return f"{self.records}{mark(upload)}-{owner.encode()}"

    def claim(self, address: S3Address) -> str:
        """Return the key of the claim on an image's name."""
        return self.claims + address.key[len(self.prefix) :]


def mark(upload: str) -> str:
    """Return a short name of a multipart upload; ids of uploads are long, and have characters that keys should not."""
    return hashlib.sha256(upload.encode()).hexdigest()[:32]


def endpoint_of(host: str) -> str:
    """Return the URL that the option for the host stands for; without a scheme it is TLS.

    :raises ValueError: it is malformed; says how.
    """
    url = host.strip().rstrip("/")
    if "://" not in url:
        url = f"https://{url}"
    try:
        parts = urllib.parse.urlsplit(url)
        name, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("it is no URL") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("it begins with neither http:// nor https://")
    if "@" in url:
        raise ValueError("it holds a user or password")
    if not name or parts.query or parts.fragment or any(char.isspace() for char in url):
        raise ValueError("it is no URL of a server")
    return url


def _plain(host: str) -> str:
    """Return host, port and path with the usual ports left out and the host in lower case."""
    name, slash, path = host.partition("/")
    return re.sub(r":(443|80)$", "", name.lower()) + slash + path


def md5_of(tag: str | None) -> str | None:
    """Return the MD5 that an ETag is, None when it is something else."""
    found = _MD5.fullmatch(tag or "")
    return found[1] if found else None


def info_of(answer: Mapping[str, Any], *, size: int | None = None, plain: bool = True) -> ObjectInfo:
    """Return what HEAD, GET or PUT told of an object.

    :param size: bytes where they are known better than by ContentLength.
    :param plain: whether an ETag that looks like an MD5 is one (it is not with some kinds of encryption).
    """
    tag = answer.get("ETag")
    modified: datetime.datetime | None = answer.get("LastModified")
    digest = md5_of(tag) if plain else None
    return ObjectInfo(
        size=answer["ContentLength"] if size is None else size,
        modified=modified.astimezone(datetime.UTC) if modified else None,
        checksum=Checksum("md5", digest) if digest else None,
        version=(tag, answer.get("VersionId")),
    )
