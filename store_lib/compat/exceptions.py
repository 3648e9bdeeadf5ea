"""The exceptions that image services catch by name.

They take a text, or the keywords that their own text names; ``msg`` and ``str()`` are the text.  What becomes of a
store_lib error is decided in `store_lib.compat._errors`.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "AuthBadRequest",
    "AuthUrlNotFound",
    "AuthorizationFailure",
    "AuthorizationRedirect",
    "BackendException",
    "BadAuthStrategy",
    "BadStoreConfiguration",
    "BadStoreUri",
    "DriverLoadFailure",
    "Duplicate",
    "Forbidden",
    "GlanceStoreException",
    "HasSnapshot",
    "HostNotInitialized",
    "InUseByStore",
    "Invalid",
    "MaxRedirectsExceeded",
    "MissingCredentialError",
    "NoServiceEndpoint",
    "NotAuthenticated",
    "NotFound",
    "RedirectException",
    "RegionAmbiguity",
    "RemoteServiceUnavailable",
    "StorageFull",
    "StorageWriteDenied",
    "StoreAddDisabled",
    "StoreDeleteNotSupported",
    "StoreGetNotSupported",
    "StoreRandomGetNotSupported",
    "TimeoutError",
    "UnknownHashingAlgo",
    "UnknownScheme",
    "UnsupportedBackend",
]


class BackendException(Exception):
    """A backend failed, or was set up in a way that cannot work; outside the tree below, as services expect."""


class UnsupportedBackend(BackendException):
    """No store serves that kind of location."""


class RedirectException(Exception):
    """A server sent the caller to another URL."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class GlanceStoreException(Exception):
    """Base of what a store raises.

    :param message: the text; None takes the class's own, filled with the keywords.
    """

    message: ClassVar[str] = "The store failed."

    def __init__(self, message: object = None, **kwargs: Any) -> None:
        text = str(message) if message else _filled(type(self).message, kwargs)
        super().__init__(text)
        self.msg = text

    def __str__(self) -> str:
        return self.msg


def _filled(template: str, values: dict[str, Any]) -> str:
    try:
        return template % values
    except (KeyError, TypeError, ValueError):  # a keyword is missing: services raise some without any
        return template


class MissingCredentialError(GlanceStoreException):
    """A credential is needed and was not given."""

    message = "A credential is missing: %(required)s"


class BadAuthStrategy(GlanceStoreException):
    """Another way of authentication is needed."""

    message = "Authentication strategy %(received)s was given, %(expected)s is needed"


class AuthorizationRedirect(GlanceStoreException):
    """The authentication server sent the caller elsewhere."""

    message = "The authentication server redirects to %(uri)s"


class NotFound(GlanceStoreException):
    """The image is not there, and the place where it should be was seen."""

    message = "Image %(image)s not found"


class UnknownHashingAlgo(GlanceStoreException):
    """This machine cannot compute that digest."""

    message = "Unknown hashing algorithm '%(algo)s'"


class UnknownScheme(GlanceStoreException):
    """No store of that id, or none that serves that kind of location."""

    message = "Unknown scheme '%(scheme)s' found in URI"


class BadStoreUri(GlanceStoreException):
    """The location is malformed or belongs to no store."""

    message = "The location %(uri)s is malformed"


class Duplicate(GlanceStoreException):
    """An image of that id is there already; it was not touched."""

    message = "Image %(image)s already exists"


class StorageFull(GlanceStoreException):
    """No room, or a quota is used up."""

    message = "There is not enough room in the storage"


class StorageWriteDenied(GlanceStoreException):
    """The storage refuses the permission to write."""

    message = "Permission to write to the storage was denied"


class AuthBadRequest(GlanceStoreException):
    """The authentication server did not understand."""

    message = "Bad request to the authentication server at %(url)s"


class AuthUrlNotFound(GlanceStoreException):
    """There is no authentication server at that URL."""

    message = "No authentication server at %(url)s"


class AuthorizationFailure(GlanceStoreException):
    """The authentication server refused."""

    message = "Authorization failed"


class NotAuthenticated(GlanceStoreException):
    """The caller is not authenticated."""

    message = "Not authenticated"


class Forbidden(GlanceStoreException):
    """The storage refuses the permission."""

    message = "The storage refuses this"


class Invalid(GlanceStoreException):
    """The data is not what was announced."""

    message = "The data is not valid"


class BadStoreConfiguration(GlanceStoreException):
    """What the operator wrote about a store cannot work."""

    message = "Store %(store_name)s is not configured correctly: %(reason)s"


class DriverLoadFailure(GlanceStoreException):
    """The driver of a store cannot be loaded."""

    message = "Driver %(driver_name)s cannot be loaded"


class StoreDeleteNotSupported(GlanceStoreException):
    """Images of this store cannot be deleted."""

    message = "Deleting images from this store is not supported"


class StoreGetNotSupported(GlanceStoreException):
    """Images of this store cannot be read."""

    message = "Reading images from this store is not supported"


class StoreRandomGetNotSupported(StoreGetNotSupported):
    """That range of an image cannot be read from this store."""

    message = "Reading images from this store at random is not supported: offset %(offset)s, length %(chunk_size)s"


class StoreAddDisabled(GlanceStoreException):
    """No images can be added to this store."""

    message = "Adding images to this store is disabled"


class MaxRedirectsExceeded(GlanceStoreException):
    """The server sent the caller on and on."""

    message = "More than %(redirects)s redirects"


class NoServiceEndpoint(GlanceStoreException):
    """The catalogue names no endpoint of that service."""

    message = "The catalogue has no endpoint of service %(service_id)s"


class RegionAmbiguity(GlanceStoreException):
    """The catalogue names several regions."""

    message = "There are several regions of that name, name one: %(region)s"


class RemoteServiceUnavailable(GlanceStoreException):
    """The storage cannot be reached."""

    message = "The remote service is not available"


class HasSnapshot(GlanceStoreException):
    """The image has snapshots and cannot be removed."""

    message = "Image %(image)s cannot be deleted: it has snapshots"


class InUseByStore(GlanceStoreException):
    """The storage still needs the image."""

    message = "Image %(image)s cannot be deleted: the storage still uses it"


class HostNotInitialized(GlanceStoreException):
    """Mounts of this host are not managed."""

    message = "Mounts of this host are not being managed"


class TimeoutError(GlanceStoreException):  # the name that services know
    """The storage did not answer in time, or is closed for changes for the moment."""

    message = "The storage did not answer within %(timeout)s seconds"
