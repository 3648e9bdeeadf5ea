"""The driver interface: what the author of a driver implements.

The values that cross it are in `store_lib.values`, and what a driver is lent to work with is in `store_lib.lent`.

A driver knows one kind of storage: its verbs, its limits, its errors.  It never reads the caller's source, computes a
digest, retries, counts, starts a thread or compares sizes; the transfer engine does that once for all drivers.  Every
docstring here is the contract that the engine relies on and that the conformance suite tests.

Threads: one driver object serves any number of transfers at once.  Methods of `Driver` are called from any thread;
of `Upload`, ``start``, ``reserve``, ``commit``, ``outcome`` and ``abort`` are called by one thread at a time, and
``write_part`` and ``copy_part`` by several at once (never more than ``limits.parallel``).
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from store_lib import errors
from store_lib.heap import HEAP, BufferSource, HeapBuffers
from store_lib.lent import Context, PerProcessValue, Runtime
from store_lib.values import (
    GIB,
    KIB,
    MIB,
    A,
    Address,
    Capacity,
    Checksum,
    Committed,
    Deletion,
    Extent,
    Feature,
    Leftover,
    Limits,
    Listed,
    ObjectInfo,
    Owner,
    Part,
    PartReader,
    Probe,
    Status,
    Token,
)

if TYPE_CHECKING:
    from oslo_config import cfg

    from store_lib.settings import StoreSettings

__all__ = [
    "GIB",
    "HEAP",
    "KIB",
    "MIB",
    "A",
    "Address",
    "BufferSource",
    "Capacity",
    "Checksum",
    "Committed",
    "Context",
    "Deletion",
    "Download",
    "Driver",
    "ErrorTable",
    "Extent",
    "Feature",
    "HeapBuffers",
    "Leftover",
    "Limits",
    "Listed",
    "ObjectInfo",
    "Owner",
    "Part",
    "PartReader",
    "PerProcessValue",
    "Probe",
    "Runtime",
    "Status",
    "Token",
    "Upload",
]

#: Exception classes of a backend's client, first match wins; the function may look at the error and may answer None.
ErrorTable = Sequence[
    tuple[type[BaseException], type[errors.StoreLibError] | Callable[[Any], errors.StoreLibError | None]]
]


class Download(abc.ABC):
    """One image opened for reading, pinned to the version that was there when it was opened."""

    info: ObjectInfo
    limits: Limits

    @abc.abstractmethod
    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the `length` bytes from `offset` on, in order, in non-empty chunks of any size.

        Called from any thread, several at once where ``limits.parallel`` allows.  May end early only by raising.
        The engine never asks beyond ``info.size``.  Closing the iterator ends the request behind it.
        """

    def extents(self, offset: int, length: int) -> Iterable[Extent] | None:
        """Return data and holes of that range in order and without gaps, or None where the backend can't tell."""
        return None

    @abc.abstractmethod
    def close(self) -> None:
        """Release everything; harmless when repeated; from any thread."""


class Upload(abc.ABC, Generic[A]):
    """One image on its way into a store.  Nothing exists on the backend before `start` or `write_whole`."""

    limits: Limits
    uuid: str

    @abc.abstractmethod
    def start(self) -> None:
        """Make the first thing on the backend, with the owner record in it."""

    def reserve(self, at_least: int) -> int:
        """Make room for `at_least` bytes in all and return the new capacity.

        Called only when a part ends beyond ``limits.capacity`` or what this returned last.
        """
        return at_least

    @abc.abstractmethod
    def write_part(self, part: Part) -> Token:
        """Store `part`; repeatable with the same bytes.

        When it returns, the backend has acknowledged the part and nobody holds its buffer.  Whoever can't promise that
        raises an error with ``Outcome.UNKNOWN``: that buffer is never used again.
        """

    def copy_part(self, source: Driver[Any], address: Address, index: int, offset: int, length: int) -> Token:
        """Fill `length` bytes at `offset` from the same offset of another place, inside the backend.

        Called after `start`, in the stead of `write_part`, for ranges of ``limits.copy_min`` to ``limits.copy_max``
        bytes that make up the image; repeatable.  Where ``limits.sparse``, holes of the source stay holes.

        :param source: the driver that `address` belongs to; whether it shares the backend is for this upload to find.
        :param index: 0, 1, 2, ... in the order of the image; the token goes to `commit` with a part of that index.
        :raises CannotMigrate: when the two places do not share a backend; this range was not copied.  The engine then
            writes the whole image by `write_part`, with other parts, over what was copied by then.
        """
        raise errors.CannotMigrate("this store copies nothing inside its backend")

    def copy_whole(self, source: Driver[Any], address: Address) -> None:
        """Make what `commit` then makes visible from another place, whole, inside the backend.

        Called instead of `start` and `copy_part` where ``limits.copy_whole``; repeatable.  `commit` gets no parts.

        :raises CannotMigrate: the backend cannot, and nothing of it is left.  The engine then goes on with `start`.
        """
        raise errors.CannotMigrate("this store copies nothing inside its backend")

    def write_whole(self, part: Part) -> Committed[A]:
        """Store an image of at most ``limits.whole_max`` bytes in one step, exclusively and visible at once.

        Called instead of `start`, `write_part` and `commit`.
        """
        raise errors.NotSupported("this store writes images in parts only")

    @abc.abstractmethod
    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[A]:
        """Make the image visible atomically, with exactly `size` bytes.

        :param parts: every part for which `write_part` returned something, with that, by index; none where
            ``limits.sparse``.  Their `data` is no longer valid.
        :raises Duplicate: the name is taken; that image was not touched (feature EXCLUSIVE).
        """

    @abc.abstractmethod
    def outcome(self) -> Committed[A] | None:
        """After a commit or write_whole whose answer was lost: return what was committed, None if it was not.

        Goes by this upload's uuid or the object's own identity, never by the final name alone.

        :raises StoreLibError: when that can't be told.
        """

    @abc.abstractmethod
    def abort(self) -> Sequence[Leftover]:
        """Remove what this upload made and return what could not be removed.

        Legal in every state, after a successful commit too (then it only releases); bounded in time; never raises;
        never touches an object that another upload made.
        """


class Driver(abc.ABC, Generic[A]):
    """One kind of storage.

    :param settings: this store's settings, resolved and read-only.
    :param runtime: what the spine lends; the constructor does no I/O and starts no thread.
    """

    #: Options of this driver for its group in the configuration file.
    OPTIONS: ClassVar[Sequence[cfg.Opt]] = ()
    #: Other defaults of base-level options that suit this kind of storage better.
    DEFAULTS: ClassVar[Mapping[str, Any]] = {}
    #: ``{driver option: base option}``: where an operator wrote the first, it stands for the second.
    STANDS_FOR: ClassVar[Mapping[str, str]] = {}
    #: The most that this driver can do.
    FEATURES: ClassVar[Feature] = Feature(0)
    #: URI schemes it reads; the first is the one it writes.
    SCHEMES: ClassVar[tuple[str, ...]] = ()
    #: How the errors of its client map to store_lib's; applied by the engine around every call.
    ERRORS: ClassVar[ErrorTable] = ()

    #: Where the engine puts bytes on their way to this driver.
    buffers: BufferSource = HEAP

    def __init__(self, settings: StoreSettings, runtime: Runtime) -> None:
        self.settings = settings
        self.runtime = runtime

    @classmethod
    def check(cls, settings: StoreSettings) -> Iterable[errors.Mistake]:
        """Yield every mistake in `settings` that can be told without I/O beyond reading named files."""
        return ()

    @property
    def features(self) -> Feature:
        """What this store can do: FEATURES narrowed by the settings, told without I/O."""
        return self.FEATURES

    @property
    def limits(self) -> Limits:
        """The limits of an upload of unknown size, told from the settings alone; for people and for planning."""
        return Limits()

    @abc.abstractmethod
    def parse(self, uri: str) -> A:
        """Return the address of `uri` by grammar and settings alone; no I/O.

        :raises BadLocation: malformed.
        :raises ForeignLocation: well formed, but of another directory, pool, bucket, account.
        """

    @abc.abstractmethod
    def uri(self, address: A) -> str:
        """Return the URI of `address`, without credentials; `parse` reads it back."""

    def image_id(self, address: A) -> str | None:
        """Return the id of the image where the address tells it, else None; no I/O."""
        return None

    def prefix(self) -> str | None:
        """Return what every URI written by this store begins with, None when there is nothing of the kind; no I/O."""
        return None

    @abc.abstractmethod
    def stat(self, address: A, ctx: Context) -> ObjectInfo:
        """Return what the backend tells of the image.

        :raises NotFound: only when the place itself was seen in this very call; else StoreUnavailable.
        """

    @abc.abstractmethod
    def open(self, address: A, offset: int, length: int | None, ctx: Context) -> Download:
        """Open the image for reading; does the I/O at once so that errors come now.

        :param offset: first byte that will be asked for; a hint, as is `length` (None: to the end).
        """

    @abc.abstractmethod
    def upload(self, image_id: str, size: int | None, ctx: Context) -> Upload[A]:
        """Return a new upload; looks (Duplicate and StoreFull as a courtesy), makes nothing.

        :param size: bytes, None when not known.
        """

    @abc.abstractmethod
    def delete(self, address: A, ctx: Context) -> Deletion:
        """Remove the image.

        :raises NotFound: as `stat`.
        :raises InUse: the backend still needs it; it is untouched.
        """

    @abc.abstractmethod
    def probe(self, ctx: Context) -> Probe:
        """Find out whether the store is usable; cheap, changes nothing, bounded by ``ctx.timeout``."""

    def list(self, ctx: Context) -> Iterator[Listed[A]]:
        """Yield the images of the store, in any order (feature LIST)."""
        raise errors.NotSupported("this store cannot list its images")

    def capacity(self, ctx: Context) -> Capacity:
        """Return the room of the store (feature CAPACITY)."""
        raise errors.NotSupported("this store cannot tell its capacity")

    def set_acls(
        self, address: A, public: bool, read_tenants: Sequence[str], write_tenants: Sequence[str], ctx: Context
    ) -> None:
        """Grant access to other projects (feature ACLS)."""
        raise errors.NotSupported("this store has no access lists")

    def signed_url(self, address: A, seconds: float, ctx: Context) -> str:
        """Return a URL that reads the image for `seconds` seconds without credentials (feature SIGNED_URLS).

        It is a secret for as long as it is valid: it goes to the caller and into no log.
        """
        raise errors.NotSupported("this store signs no URLs")

    def initialise(self, ctx: Context) -> str:
        """Prepare the place for this store, once, at an operator's word; return one sentence of what was done.

        Called by ``store-lib store init`` only, never by a transfer; harmless when repeated.
        """
        raise errors.NotSupported("this kind of store needs no preparation")

    def describe(self) -> Mapping[str, Any]:
        """Return properties of this store for people and services, from the settings alone; JSON-able, no secret."""
        return {}

    def backend_id(self) -> str | None:
        """Return what names the backend behind this store, None where that is not known.

        Two stores of one backend return the same, stores of different ones never do.  Told by the settings or by this
        machine, never over a network; holds no secret.
        """
        return None

    def leftovers(self, ctx: Context) -> Iterator[Leftover]:
        """Yield what transfers left, dead or alive (feature LEFTOVERS); who may go is decided above the driver."""
        raise errors.NotSupported("this store cannot find leftovers")

    def sweep(self, leftover: Leftover, ctx: Context) -> None:
        """Remove `leftover`, looking once more just before that no image uses it and no writer is alive.

        :raises InUse: it is needed after all.
        :raises NotFound: it is gone.
        """
        raise errors.NotSupported("this store cannot remove leftovers")

    def move(self, address: A, target: Driver[Any], image_id: str, ctx: Context) -> Committed[Any]:
        """Move the image into `target` inside the backend, the source gone afterwards (feature MOVE).

        :raises CannotMigrate: when the backend cannot; nothing was done.
        """
        raise errors.CannotMigrate("this store moves nothing inside its backend")

    def translate(self, error: BaseException) -> errors.StoreLibError | None:
        """Return store_lib's error for one of the client's, None when it is not the client's (a bug stays a bug)."""
        for kind, made in self.ERRORS:
            if isinstance(error, kind):
                result = made(str(error)) if isinstance(made, type) else made(error)
                if result is not None:
                    return result
        return None

    def close(self) -> None:
        """Release everything that the store holds; harmless when repeated."""
