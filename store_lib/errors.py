"""The errors of store_lib: one closed tree, so that one ``except`` catches all of them.

::

    StoreLibError
    +-- ConfigurationError          what the operator wrote cannot work; holds every mistake found
    |   `-- DriverLoadError         a driver that is enabled cannot be loaded
    +-- BadRequest                  the caller asked for something that can never work
    |   +-- BadImageId
    |   +-- BadLocation
    |   |   `-- ForeignLocation     well formed, but belongs to another store, bucket, pool, ...
    |   +-- BadRange
    |   +-- UnknownStore
    |   +-- UnknownDigest
    |   `-- NotSupported            the store has not declared the feature
    |       +-- ReadOnlyStore
    |       `-- CannotMigrate       a driver declines an optimisation; the engine takes the generic way
    +-- NotFound                    the place was seen and the image is not there
    +-- Duplicate                   an image of that id is there already; it was not touched
    +-- InUse                       the backend needs the image (snapshots, clones, attachments)
    +-- Forbidden                   the backend refused the permission
    +-- StoreFull                   no room, or a quota is used up
    +-- IntegrityError              the bytes are not what was promised
    |   +-- SizeMismatch
    |   `-- DigestMismatch
    +-- StoreUnavailable            the backend cannot be reached or does not work (transient)
    |   +-- OperationTimeout        it did not answer in time
    |   `-- Busy                    no memory or thread became free in time
    +-- StoreClosed                 the Stores or Store object was closed
    +-- CommitUnknown               a commit was sent and nobody can tell whether it happened
    +-- SourceRemains               an image was copied, and its source could not be deleted; holds the copy's record
    +-- BackendError                the backend failed in a way that has no better name
    |   `-- TooManyRedirects        a web server sends on and on
    `-- Cancelled                   the caller asked for it

Every error carries ``transient`` (is another try worth it?) and ``outcome`` (did the request happen?).  The facade
adds ``store``, ``operation`` and ``location`` (redacted).  What the caller's own source, verifier or progress
function raises is not of this tree: it passes through unchanged.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from typing import Any, ClassVar

__all__ = [
    "BackendError",
    "BadImageId",
    "BadLocation",
    "BadRange",
    "BadRequest",
    "Busy",
    "Cancelled",
    "CannotMigrate",
    "CommitUnknown",
    "ConfigurationError",
    "DigestMismatch",
    "DriverLoadError",
    "Duplicate",
    "Forbidden",
    "ForeignLocation",
    "InUse",
    "IntegrityError",
    "Mistake",
    "NotFound",
    "NotSupported",
    "OperationTimeout",
    "Outcome",
    "ReadOnlyStore",
    "SizeMismatch",
    "SourceRemains",
    "StoreClosed",
    "StoreFull",
    "StoreLibError",
    "StoreUnavailable",
    "TooManyRedirects",
    "UnknownDigest",
    "UnknownStore",
]


class Outcome(enum.Enum):
    """What is known of a request that failed."""

    NOT_DONE = "not done"
    UNKNOWN = "unknown"


class StoreLibError(Exception):
    """Base of every error that store_lib raises by itself.

    :param message: what went wrong and, where there is one, what to do about it; must hold no secret.
    :param transient: whether the same request may succeed when repeated; None takes the class's answer.
    :param outcome: whether the request may have happened all the same; None takes the class's answer.
    """

    TRANSIENT: ClassVar[bool] = False
    OUTCOME: ClassVar[Outcome] = Outcome.NOT_DONE

    def __init__(
        self,
        message: str = "",
        *,
        transient: bool | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message or (self.__doc__ or type(self).__name__).strip().splitlines()[0]
        self.transient = self.TRANSIENT if transient is None else transient
        self.outcome = self.OUTCOME if outcome is None else outcome
        self.store: str | None = None
        self.operation: str | None = None
        self.location: str | None = None

    def __str__(self) -> str:
        where = [f"store {self.store}"] if self.store else []
        where += [self.operation] if self.operation else []
        where += [self.location] if self.location else []
        return f"{self.message} ({', '.join(where)})" if where else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders (bulk migration, helpers): keep every attribute, call no __init__.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(cls: type[StoreLibError], args: tuple[Any, ...], state: dict[str, Any]) -> StoreLibError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One thing that is wrong in a configuration.

    :param store: id of the store, or None for what concerns all of them.
    :param option: ``[group] name`` of the option, or None.
    :param problem: what is wrong.
    :param mend: what to write instead.
    """

    store: str | None
    option: str | None
    problem: str
    mend: str

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.store, self.option) if part)
        return f"{place or 'configuration'}: {self.problem}; {self.mend}"


class ConfigurationError(StoreLibError):
    """The configuration cannot work.

    :param mistakes: every mistake that was found, not only the first.
    """

    def __init__(self, mistakes: Sequence[Mistake], message: str = "") -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(message or "\n".join(str(mistake) for mistake in self.mistakes))


class DriverLoadError(ConfigurationError):
    """A driver that is enabled cannot be loaded."""


class BadRequest(StoreLibError):
    """The caller asked for something that can never work."""


class BadImageId(BadRequest):
    """The image id is not 1 to 255 of A-Z a-z 0-9 . _ - beginning with something else than a dot."""


class BadLocation(BadRequest):
    """The location is malformed."""


class ForeignLocation(BadLocation):
    """The location does not belong to this store."""


class BadRange(BadRequest):
    """The byte range does not lie inside the image."""


class UnknownStore(BadRequest):
    """No store of that id is configured, or none that serves the location."""


class UnknownDigest(BadRequest):
    """The digest algorithm is not known, or not allowed on this machine."""


class NotSupported(BadRequest):
    """The store cannot do this."""


class ReadOnlyStore(NotSupported):
    """The store is read-only."""


class CannotMigrate(NotSupported):
    """The optimised way does not serve these two stores; nothing was done."""


class NotFound(StoreLibError):
    """The image does not exist."""


class Duplicate(StoreLibError):
    """An image of that id exists already and was not touched."""


class InUse(StoreLibError):
    """The backend still needs the image."""


class Forbidden(StoreLibError):
    """The backend refused the permission."""


class StoreFull(StoreLibError):
    """The store has no room for the image."""


class IntegrityError(StoreLibError):
    """The bytes are not what was promised."""


class SizeMismatch(IntegrityError):
    """The source is longer or shorter than its declared size."""


class DigestMismatch(IntegrityError):
    """The bytes have another digest than expected."""


class StoreUnavailable(StoreLibError):
    """The store cannot be reached or does not work."""

    TRANSIENT = True


class OperationTimeout(StoreUnavailable):
    """The store did not answer in time."""

    OUTCOME = Outcome.UNKNOWN


class Busy(StoreUnavailable):
    """No memory or thread became free in time."""


class StoreClosed(StoreLibError):
    """The store was closed."""


class CommitUnknown(StoreLibError):
    """The image was committed, but nobody can tell whether that happened."""

    OUTCOME = Outcome.UNKNOWN


class SourceRemains(StoreLibError):
    """The image was copied and the copy is good, but its source could not be deleted.

    :param record: the `store_lib.ImageRecord` of the copy.
    """

    def __init__(
        self,
        message: str = "",
        record: Any = None,
        *,
        transient: bool | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(message, transient=transient, outcome=outcome)
        self.record = record


class BackendError(StoreLibError):
    """The backend failed."""


class TooManyRedirects(BackendError):
    """The server redirects more often than is followed."""


class Cancelled(StoreLibError):
    """The transfer was cancelled."""
