"""The driver interface: what the author of a driver implements, and the values that cross it.

A driver knows one kind of storage: its verbs, its limits, its errors.  It never reads the caller's source, computes a
digest, retries, counts, starts a thread or compares sizes; the transfer engine does that once for all drivers.  Every
docstring here is the contract that the engine relies on and that the conformance suite tests.

Threads: one driver object serves any number of transfers at once.  Methods of `Driver` are called from any thread;
of `Upload`, ``start``, ``reserve``, ``commit``, ``outcome`` and ``abort`` are called by one thread at a time, and
``write_part`` and ``copy_part`` by several at once (never more than ``limits.parallel``).
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import datetime
import enum
import io
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from store_lib import errors

if TYPE_CHECKING:
    from oslo_config import cfg

    from store_lib.settings import StoreSettings

__all__ = [
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
    "Probe",
    "Runtime",
    "Status",
    "Token",
    "Upload",
]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_T = TypeVar("_T")
_R = TypeVar("_R")


class Feature(enum.Flag):
    """What a driver can do beyond reading an image from its beginning."""

    WRITE = enum.auto()  #: add images
    DELETE = enum.auto()  #: delete images
    RANGES = enum.auto()  #: read from any offset
    LIST = enum.auto()  #: list the images that are there
    EXCLUSIVE = enum.auto()  #: commit refuses a taken name, the existing image untouched
    SPARSE = enum.auto()  #: unwritten ranges read as zeroes and take no room
    CAPACITY = enum.auto()  #: tell size and free space
    LEFTOVERS = enum.auto()  #: find and remove what dead transfers left
    COPY = enum.auto()  #: fill a part from another place without moving its bytes through here
    MOVE = enum.auto()  #: move an image to another store of the same backend
    ACLS = enum.auto()  #: grant other projects access
    SIGNED_URLS = enum.auto()  #: hand out a URL that reads one image for a while without credentials


class Status(enum.Enum):
    """How usable a store is."""

    UNKNOWN = "unknown"  #: never asked
    UP = "up"
    DEGRADED = "degraded"  #: usable, but nearly full or in need of retries
    READ_ONLY = "read_only"
    DOWN = "down"


class Deletion(enum.Enum):
    """How a delete ended."""

    DELETED = "deleted"
    DEFERRED = "deferred"  #: accepted; the backend removes it later (trash, asynchronous delete)


@dataclasses.dataclass(frozen=True)
class Address:
    """One object inside its store, as the driver understands it; drivers derive their own frozen class from it.

    Equal addresses are the same object.  An address shows no credential: what an old location held besides the place
    (`store_lib.location_forms.Credentials`) is in no ``repr`` and counts for no comparison.
    """


A = TypeVar("A", bound=Address)

#: What `Upload.write_part` gives back for `Upload.commit`: an ETag, a checksum, None.  Opaque to the engine.
Token = Any


@dataclasses.dataclass(frozen=True)
class Checksum:
    """A digest that the backend keeps itself.

    :param algorithm: hashlib's name of it.
    :param value: lower-case hexadecimal.
    """

    algorithm: str
    value: str


@dataclasses.dataclass(frozen=True)
class ObjectInfo:
    """What a backend tells of one image.

    :param size: bytes.
    :param modified: when it was written, UTC, where the backend tells.
    :param checksum: the backend's own digest of the whole image, where it has one.
    :param version: equal as long as the content is the same (ETag, inode and time, snapshot id); opaque.
    """

    size: int
    modified: datetime.datetime | None = None
    checksum: Checksum | None = None
    version: Any = None


@dataclasses.dataclass(frozen=True)
class Listed(Generic[A]):
    """One image in a listing."""

    address: A
    image_id: str | None
    size: int | None = None
    modified: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True)
class Committed(Generic[A]):
    """An image that is visible now.

    :param address: where it is.
    :param info: what the backend tells of it; ``info.size`` is what the backend itself counted, where it counts.
    :param metadata: what services are told about the location (nested dict, list and str only).
    """

    address: A
    info: ObjectInfo
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Extent:
    """A run of bytes of an image: data, or a hole that reads as zeroes.

    :param offset: of the first byte, from the start of the image.
    :param length: bytes, at least 1.
    """

    offset: int
    length: int
    hole: bool


@dataclasses.dataclass(frozen=True)
class Capacity:
    """Room of a store in bytes; None where the backend does not tell."""

    total: int | None
    free: int | None
    used: int | None


@dataclasses.dataclass(frozen=True)
class Probe:
    """A driver's answer to "are you usable?".

    :param status: UP, DEGRADED, READ_ONLY or DOWN.
    :param reason: one sentence for people; no secret.
    :param details: further facts, JSON-able.
    """

    status: Status
    reason: str = ""
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Owner:
    """The process that made something on a backend.

    A pid alone says nothing where several hosts and pods share a store, hence all of these.

    :param upload: uuid of the transfer, hexadecimal.
    :param host: host name.
    :param boot: boot id of the kernel.
    :param pid_namespace: inode number of the pid namespace.
    :param pid: process id inside that namespace.
    :param started: start time of that process in clock ticks since boot (pids are used again).
    """

    upload: str
    host: str
    boot: str
    pid_namespace: int
    pid: int
    started: int

    def encode(self) -> str:
        """Return one text of ``[A-Za-z0-9._-]``, at most 190 characters, that `decode` reads."""
        host = "".join(char if char.isalnum() and char.isascii() else "." for char in self.host)[:64]
        numbers = f"{self.pid_namespace}-{self.pid}-{self.started}"
        return f"{self.upload}-{self.boot.replace('-', '')}-{numbers}-{host}"

    @classmethod
    def decode(cls, text: str) -> Owner | None:
        """Return the owner that `encode` wrote, or None when `text` is something else."""
        fields = text.split("-", 5)
        if len(text) > 255 or len(fields) != 6 or not all(number.isdecimal() for number in fields[2:5]):
            return None
        upload, boot, namespace, pid, started, host = fields
        return cls(upload, host, boot, int(namespace), int(pid), int(started))


@dataclasses.dataclass(frozen=True)
class Leftover:
    """Something that a transfer left on a backend and no image needs.

    :param kind: what it is, in the backend's words (``temporary file``, ``multipart upload``).
    :param address: the driver's own handle for `Driver.sweep`; opaque, picklable.
    :param owner: who made it, None when that can't be told.
    :param last_activity: by the backend's clock, UTC.
    :param size: bytes it takes, None when not known.
    :param alive: True when the backend itself proves a live writer (lock, watcher); it is never swept then.
    """

    kind: str
    address: Any
    owner: Owner | None = None
    last_activity: datetime.datetime | None = None
    size: int | None = None
    alive: bool = False


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one transfer may do; read by the engine once the transfer is made.

    An upload may say another `sparse` from `Upload.start` on, where only then it is known what unwritten ranges hold.

    Sizes in bytes, times in seconds; None is no limit.

    :param part_size: what serves this backend best; an operator's `part_size` wins within min and max.
    :param min_part: smallest part but for the last one.
    :param max_part: largest part.
    :param max_parts: most parts of one image.
    :param parallel: parts at once that still help; 1 for a backend that can only append.
    :param equal_parts: all parts but the last must be of one size.
    :param align: part offsets and sizes are multiples of this.
    :param whole_max: largest image that `Upload.write_whole` takes; 0 where there is no such way.
    :param sparse: smallest hole worth leaving; 0 where unwritten ranges are not sure to read as zeroes.
    :param thin: leave runs of zeroes in the data unwritten as well (holes of the source always are).
    :param ranges: the download can begin anywhere.
    :param part_digest: hashlib name of a digest that each part must carry, None for none.
    :param capacity: bytes that fit before `Upload.reserve` must be called; None when it grows by itself.
    :param quiet_reserve: no part may be on its way while `Upload.reserve` runs.
    :param reserve_timeout: how long `Upload.reserve` may take; None is the operation time-out.
    :param copy_min: smallest range of `Upload.copy_part` but for the last.
    :param copy_max: largest range of `Upload.copy_part`, one that is copied well within the operation time-out; 0 where
        there is no such way.
    """

    part_size: int = 4 * MIB
    min_part: int = 1
    max_part: int | None = None
    max_parts: int | None = None
    parallel: int = 1
    equal_parts: bool = False
    align: int = 1
    whole_max: int = 0
    sparse: int = 0
    thin: bool = False
    ranges: bool = False
    part_digest: str | None = None
    capacity: int | None = None
    quiet_reserve: bool = False
    reserve_timeout: float | None = None
    copy_min: int = 1
    copy_max: int = 0


@dataclasses.dataclass(frozen=True)
class Part:
    """A run of consecutive bytes of an image on its way to a backend.

    Object stores use `index`, position-addressed ones `offset`.

    :param index: 0, 1, 2, ... in the order of the image.
    :param offset: of the first byte, from the start of the image.
    :param data: the bytes; valid until `Upload.write_part` returns or raises, and never to be changed.
    :param last: whether it ends the image.
    :param digest: of the bytes, hexadecimal, where ``limits.part_digest`` asks for one.
    """

    index: int
    offset: int
    data: memoryview
    last: bool = False
    digest: str | None = None

    @property
    def length(self) -> int:
        """Bytes of the part."""
        return len(self.data)

    def bytes(self) -> bytes:
        """Return a copy, for clients that take nothing but bytes."""
        return self.data.tobytes()

    def reader(self) -> PartReader:
        """Return a new seekable binary file of the bytes with a ``len()``, for HTTP clients; copies as it is read."""
        return PartReader(self.data)


class PartReader(io.RawIOBase):
    """A read-only, seekable binary file over a part's bytes, without a copy of the whole."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._at = 0

    def __len__(self) -> int:
        return len(self._data)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset` bytes from the start, the position or the end; return the new position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        if base + offset < 0:
            raise ValueError("negative position")
        self._at = base + offset
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Return the next `size` bytes, all that are left when it is negative; copied once."""
        chunk = self._data[self._at : None if size < 0 else self._at + size].tobytes()
        self._at += len(chunk)
        return chunk

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as bytes are left; return how many were copied."""
        chunk = self._data[self._at : self._at + len(buffer)]
        buffer[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)


class BufferSource(Protocol):
    """Where the engine puts bytes on their way to a backend."""

    def allocate(self, size: int) -> memoryview:
        """Return a writable, zeroed block of `size` bytes that nobody else uses."""

    def release(self, block: memoryview) -> None:
        """Take a block back that nothing refers to any more."""


class HeapBuffers:
    """Buffers in this process's own memory; pages are taken when first touched and go back to the kernel at release."""

    #: Below this many bytes the allocator's memory, which is warm, serves faster than pages of its own.
    _SMALL = 128 * KIB

    def allocate(self, size: int) -> memoryview:
        """Return `size` zeroed bytes."""
        if size < self._SMALL:
            return memoryview(bytearray(size))
        return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    def release(self, block: memoryview) -> None:
        """Give the memory back; harmless while something still refers to it (it then goes with the last reference)."""
        backing = block.obj
        with contextlib.suppress(BufferError):  # a slice is alive somewhere; the memory goes when that does
            block.release()
            getattr(backing, "close", lambda: None)()


HEAP = HeapBuffers()


class Context(Protocol):
    """What accompanies one operation through the driver."""

    #: The caller's own request context (tokens of a multi-tenant service); opaque, None when there is none.
    caller: Any
    #: Owner record that `Upload.start` writes into the backend.
    owner: Owner
    #: Whether the caller of a delete does not mind when the image is not there: a look before it may be spared.
    missing_ok: bool

    @property
    def timeout(self) -> float | None:
        """Seconds that one backend request may take from now on; None is no limit."""

    def check(self) -> None:
        """Raise Cancelled or OperationTimeout when the operation should not go on."""

    def map(self, function: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        """Run `function` on every item, some at once in the engine's threads; results in the order of `items`.

        The first error is raised once all that was begun has ended.
        """


class Runtime(Protocol):
    """What the spine lends to a driver for its whole life."""

    def per_process(
        self,
        factory: Callable[[], _T],
        close: Callable[[_T], None],
        forget: Callable[[_T], None] = lambda value: None,
    ) -> PerProcessValue[_T]:
        """Return a holder of a value that is made at first use in each process (clients, connections).

        :param forget: called in a forked child with what it inherited; must not speak on the parent's connections.
        """

    def wall(self) -> datetime.datetime:
        """Return the time of day, UTC."""

    def gone(self, owner: Owner) -> bool:
        """Return True when that process certainly runs no more: it was one of this very machine, and it ended."""


class PerProcessValue(Protocol[_T]):
    """A value that belongs to the process that made it; after a fork the child makes its own."""

    def get(self) -> _T:
        """Return the value, made by the first caller; others wait for it."""

    def discard(self, value: _T) -> None:
        """Forget `value` if it is still the current one, and close it: the next `get` makes a new one."""

    def close(self) -> None:
        """Close the value of this process, if any."""


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
