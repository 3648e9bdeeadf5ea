"""The values that cross the driver interface; `store_lib.interface` gives them all, under the same names.

All but `PartReader`, which is a file, are immutable and safe for threads.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import io
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

__all__ = [
    "GIB",
    "KIB",
    "MIB",
    "A",
    "Address",
    "Capacity",
    "Checksum",
    "Committed",
    "Deletion",
    "Extent",
    "Feature",
    "Leftover",
    "Limits",
    "Listed",
    "ObjectInfo",
    "Owner",
    "Part",
    "PartReader",
    "Probe",
    "Status",
    "Token",
]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


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
    :param abandoned: True when its maker is known to have given it up, though it may run on: it is swept at any age.
    """

    kind: str
    address: Any
    owner: Owner | None = None
    last_activity: datetime.datetime | None = None
    size: int | None = None
    alive: bool = False
    abandoned: bool = False


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
    :param copy_whole: images are copied inside the backend by `Upload.copy_whole`, not by ranges.
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
    copy_whole: bool = False


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
