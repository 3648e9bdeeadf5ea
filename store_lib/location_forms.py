"""Every form of location that image services have in their databases, taken apart and written without secrets.

Grammar only: nothing here knows a configuration or does any I/O.  A driver takes the fields of its form and decides
whether the place is its own; which one of two readings holds (an authentication server or a storage URL, say) is its
business too.

Credentials that an old location holds are kept apart in `Form.credentials`: they are in no ``repr``, count for no
comparison, and `Form.clean` leaves them out.
"""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
import uuid
from typing import ClassVar, Self

from store_lib import errors
from store_lib.location import redact, scheme_of

__all__ = [
    "SCHEMES",
    "CinderForm",
    "Credentials",
    "FileForm",
    "Form",
    "HttpForm",
    "RbdForm",
    "S3Form",
    "SwiftForm",
    "VsphereForm",
    "clean",
    "parse",
]


@dataclasses.dataclass(frozen=True, repr=False)
class Credentials:
    """What an old location held besides the place.

    :param user: user name, access key, or ``project:user``.
    :param secret: password or secret key.
    """

    user: str
    secret: str

    def __repr__(self) -> str:
        return "Credentials(***)"


@dataclasses.dataclass(frozen=True)
class Form:
    """A location taken apart.  Equal forms are the same place, whatever credentials came with them."""

    #: URI schemes of this form, in lower case.
    SCHEMES: ClassVar[tuple[str, ...]] = ()
    #: How such a location looks, for errors.
    LOOKS: ClassVar[str] = ""

    #: The credentials that the location held, None when it held none.
    credentials: Credentials | None = dataclasses.field(default=None, kw_only=True, compare=False, repr=False)

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Return the form of `uri`.

        :raises BadLocation: it is malformed or of another scheme; the message holds no secret.
        """
        scheme = scheme_of(uri)
        rest = uri[len(scheme) :]
        found = cls._of(scheme, rest[3:]) if scheme in cls.SCHEMES and rest.startswith("://") else None
        if found is None:
            raise errors.BadLocation(f"{redact(uri)} is malformed: write {cls.LOOKS}")
        return found

    @classmethod
    def _of(cls, scheme: str, rest: str) -> Self | None:
        """Return the form of what stands after ``scheme://``, None when it is malformed."""
        raise NotImplementedError

    def clean(self) -> str:
        """Return the location without credentials; `parse` reads it back into an equal form."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class FileForm(Form):
    """``file:///directory/id``, nothing quoted.

    :param path: absolute path, as it stands there.
    """

    SCHEMES = ("file", "filesystem")
    LOOKS = "file:///directory/id"

    path: str

    @classmethod
    def _of(cls, scheme: str, rest: str) -> Self | None:
        return cls(rest) if rest.startswith("/") and rest.strip("/") else None

    def clean(self) -> str:
        return f"file://{self.path}"


@dataclasses.dataclass(frozen=True)
class HttpForm(Form):
    """``http[s]://[user:password@]host[:port]/path[?query]``; a fragment is dropped, credentials are not quoted.

    :param scheme: http or https.
    :param host: name or address, an IPv6 address in brackets, as written.
    :param port: None when not written.
    :param target: path and query, as written; begins with a slash.
    """

    SCHEMES = ("http", "https")
    LOOKS = "https://host[:port]/path"
    _PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[\w.%-]+)?\]|[^\[\]:@\s]+)(?::([0-9]{1,5}))?")

    scheme: str
    host: str
    port: int | None
    target: str

    @classmethod
    def _of(cls, scheme: str, rest: str) -> Self | None:
        rest = rest.partition("#")[0]
        cut = re.search(r"[/?]", rest)
        authority, target = (rest[: cut.start()], rest[cut.start() :]) if cut else (rest, "")
        before, at, place = authority.rpartition("@")
        user, _, secret = before.partition(":")
        found = cls._PLACE.fullmatch(place)
        port = int(found[2]) if found and found[2] else None
        if found is None or (port or 0) > 65535:
            return None
        target = target if target.startswith("/") else f"/{target}"
        return cls(scheme, found[1], port, target, credentials=Credentials(user, secret) if at else None)

    def clean(self) -> str:
        """Return the location without user and password; the query stays, since without it it is another place."""
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.target}"


@dataclasses.dataclass(frozen=True)
class RbdForm(Form):
    """``rbd://fsid/pool/image/snapshot``, each percent-quoted, or ``rbd://image``, not quoted.

    :param fsid: of the Ceph cluster; None in the short form, as are `pool` and `snapshot`.
    """

    SCHEMES = ("rbd",)
    LOOKS = "rbd://fsid/pool/image/snapshot"

    fsid: str | None
    pool: str | None
    image: str
    snapshot: str | None

    @classmethod
    def _of(cls, scheme: str, rest: str) -> Self | None:
        parts = rest.split("/")
        if not all(parts) or len(parts) not in (1, 4):
            return None
        if len(parts) == 1:
            return cls(None, None, rest, None)
        fsid, pool, image, snapshot = map(urllib.parse.unquote, parts)
        return cls(fsid, pool, image, snapshot)

    def clean(self) -> str:
        if self.fsid is None or self.pool is None or self.snapshot is None:
            return f"rbd://{self.image}"
        return "rbd://" + "/".join(_quoted(part) for part in (self.fsid, self.pool, self.image, self.snapshot))


@dataclasses.dataclass(frozen=True)
class S3Form(Form):
    """``s3[+http[s]]://[access:secret@]host[:port][/path]/bucket/key``, nothing quoted.

    The keys of old locations are unquoted, and a secret may hold slashes.

    :param scheme: as written: ``s3`` and ``s3+http`` mean http, ``s3+https`` means https.
    :param host: host, port and path of the endpoint, as written.
    :param key: name of the object; holds no slash.
    """

    SCHEMES = ("s3+https", "s3", "s3+http")
    LOOKS = "s3+https://host/bucket/key"

    scheme: str
    host: str
    bucket: str
    key: str

    @classmethod
    def _of(cls, scheme: str, rest: str) -> Self | None:
        split = _three_parts(rest)
        if split is None:
            return None
        before, host, bucket, key = split
        if before is None:
            return cls(scheme, host, bucket, key)
        user, colon, secret = before.partition(":")
        if not (user and colon and secret):
            return None
        return cls(scheme, host, bucket, key, credentials=Credentials(user, secret))

    @property
    def secure(self) -> bool:
        """Whether the endpoint was spoken to over TLS."""
        return self.scheme == "s3+https"

    def clean(self) -> str:
        return f"{self.scheme}://{self.host}/{self.bucket}/{self.key}"


@dataclasses.dataclass(frozen=True)
class SwiftForm(Form):
    """All forms of Swift: container and object are the last two parts.

    ========================================================= ========================================
    ``swift[+http[s]]://project%3Auser:key@auth/container/object`` one account; `place` is the authentication server
    ``swift+config://reference/container/object``             a section of the file of references
    ``swift+http[s]://storage/v1/AUTH_x/container/object``    an account for each project; `place` is the storage URL
    ``swift+http[s]://auth/v3/container/object``              the first form, without its credentials
    ========================================================= ========================================

    :param scheme: as written.
    :param place: reference, or URL without its scheme and without a slash at its end.
    :param object: name of the object; holds no slash.
    """

    SCHEMES = ("swift+https", "swift", "swift+http", "swift+config")
    LOOKS = "swift+config://reference/container/object or swift+https://host/path/container/object"

    scheme: str
    place: str
    container: str
    object: str

    @classmethod
    def _of(cls, scheme: str, rest: str) -> Self | None:
        split = _three_parts(rest)
        if split is None:
            return None
        before, place, container, name = split
        if scheme == "swift+config" and (before is not None or "/" in place):
            return None
        if before is None:
            return cls(scheme, place, container, name)
        # The user may be `project:user` with a bare colon, so the key is what stands after the last one.
        user, colon, secret = before.rpartition(":")
        if not (user and colon and secret):
            return None
        found = Credentials(urllib.parse.unquote(user), urllib.parse.unquote(secret))
        return cls(scheme, place, container, name, credentials=found)

    @property
    def reference(self) -> str | None:
        """The name of the reference, None in the forms that hold a URL."""
        return self.place if self.scheme == "swift+config" else None

    @property
    def url(self) -> str | None:
        """The URL of authentication server or storage, None in the form that holds a reference."""
        if self.reference is not None:
            return None
        return f"{'http' if self.scheme == 'swift+http' else 'https'}://{self.place}"

    def clean(self) -> str:
        return f"{self.scheme}://{self.place}/{self.container}/{self.object}"


@dataclasses.dataclass(frozen=True)
class CinderForm(Form):
    """``cinder://volume`` or ``cinder://store/volume``.

    :param store: id of the store, None in the form of single-store services.
    :param volume: uuid in its canonical form.
    """

    SCHEMES = ("cinder",)
    LOOKS = "cinder://store/volume-uuid"

    store: str | None
    volume: str

    @classmethod
    def _of(cls, scheme: str, rest: str) -> Self | None:
        store, slash, volume = rest.rpartition("/")
        if (slash and not store) or "/" in store or not _canonical_uuid(volume):
            return None
        return cls(store or None, volume)

    def clean(self) -> str:
        return f"cinder://{self.store}/{self.volume}" if self.store else f"cinder://{self.volume}"


@dataclasses.dataclass(frozen=True)
class VsphereForm(Form):
    """``vsphere://host/folder/directory/id?dcPath=...&dsName=...``; read only so far as to be recognised and listed.

    :param host: of the vCenter or ESX server; an IPv6 address in brackets.
    :param path: of the image below ``/folder``, begins with a slash.
    :param datastore: None when not written.
    :param datacenter: path of the data centre, None when not written.
    """

    SCHEMES = ("vsphere",)
    LOOKS = "vsphere://host/folder/directory/id?dcPath=path&dsName=name"

    host: str
    path: str
    datastore: str | None
    datacenter: str | None

    @classmethod
    def _of(cls, scheme: str, rest: str) -> Self | None:
        before, at, rest = rest.rpartition("@")
        host, slash, target = rest.partition("/")
        path, _, query = target.partition("?")
        folder, _, below = path.partition("/")
        if not (host and slash and folder == "folder" and below):
            return None
        values = urllib.parse.parse_qs(query)
        user, _, secret = before.partition(":")
        return cls(
            host,
            f"/{below}",
            values.get("dsName", [None])[0],
            values.get("dcPath", [None])[0],
            credentials=Credentials(user, secret) if at else None,
        )

    def clean(self) -> str:
        values = {"dcPath": self.datacenter, "dsName": self.datastore}
        query = urllib.parse.urlencode({name: value for name, value in values.items() if value is not None})
        return f"vsphere://{self.host}/folder{self.path}" + (f"?{query}" if query else "")


_FORMS: dict[str, type[Form]] = {
    scheme: form
    for form in (FileForm, HttpForm, RbdForm, S3Form, SwiftForm, CinderForm, VsphereForm)
    for scheme in form.SCHEMES
}


#: Schemes of all forms.
SCHEMES = frozenset(_FORMS)


def parse(uri: str) -> Form:
    """Return the form of a location of any kind of store.

    :raises BadLocation: it is malformed, or of a scheme that no image service wrote.
    """
    scheme = scheme_of(uri)
    if scheme not in _FORMS:
        raise errors.BadLocation(f"{redact(uri)} is no location of a known kind of store")
    return _FORMS[scheme].parse(uri)


def clean(uri: str) -> str:
    """Return a location without the credentials that it may hold.

    :raises BadLocation: as `parse`.
    """
    return parse(uri).clean()


def _three_parts(rest: str) -> tuple[str | None, str, str, str] | None:
    """Return ``(credentials, place, container, object)`` of ``[credentials@]place/container/object``."""
    before, at, rest = rest.rpartition("@")
    place, _, name = rest.rpartition("/")
    place, _, container = place.rpartition("/")
    place = place.rstrip("/")
    if not (place and container and name) or "://" in rest or place.startswith("/"):
        return None
    return (before if at else None), place, container, name


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _canonical_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
