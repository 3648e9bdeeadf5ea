"""The memory store: images in the memory of one process, for tests and as the example of a driver.

It does in small what every driver does: parts may come in any order and more than once, an image becomes visible in
one step, and clearing away goes by the upload's identity, never by the final name alone.  Images are gone when the
last store that holds them is closed or the process ends; a forked child starts empty.

It is what the conformance suite takes for right.  For tests, `State.there` set to False takes the place away.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import os
import threading
import weakref
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from oslo_config import cfg

from store_lib import errors, interface
from store_lib.interface import KIB, MIB, Committed, Context, Extent, Feature, Leftover, Limits, ObjectInfo, Part
from store_lib.location import check_image_id, redact, scheme_of
from store_lib.settings import StoreSettings

__all__ = ["MemoryAddress", "MemoryDownload", "MemoryDriver", "MemoryUpload"]

_CHUNK = 1 * MIB

#: Data by offset; what lies between reads as zeroes.
Runs = dict[int, bytes]


@dataclasses.dataclass(frozen=True)
class MemoryAddress(interface.Address):
    """An image by its id."""

    image_id: str


@dataclasses.dataclass
class Unfinished:
    """An upload that has begun and not ended."""

    owner: interface.Owner
    runs: Runs
    active: datetime.datetime
    writer: weakref.ref[MemoryUpload]


class State:
    """The storage itself, guarded by `lock`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.images: dict[str, tuple[Runs, ObjectInfo]] = {}
        self.unfinished: dict[str, Unfinished] = {}
        self.used = 0
        #: Whether the place can be found at all; for tests.
        self.there = True

    def forget(self, uuid: str) -> None:
        """Remove what an upload has stored, if it has not ended."""
        with self.lock:
            found = self.unfinished.pop(uuid, None)
            self.used -= _size(found.runs) if found else 0


def _size(runs: Runs) -> int:
    return sum(map(len, runs.values()))


#: What several stores hold together, by process, name and id of the store.
_shared: weakref.WeakValueDictionary[tuple[int, str, str], State] = weakref.WeakValueDictionary()
#: Held by whoever takes the locks of two states.
_sharing = threading.RLock()


def _state(name: str, store_id: str) -> State:
    """Return the storage of a store: one of its own without a name."""
    with _sharing:
        return _shared.setdefault((os.getpid(), name, store_id), State()) if name else State()


class MemoryDownload(interface.Download):
    """An image opened for reading."""

    def __init__(self, runs: Runs, info: ObjectInfo, limits: Limits) -> None:
        self.info = info
        self.limits = limits
        self._runs = sorted(runs.items())
        self._closed = False

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of the range."""
        for extent, data in self._pieces(offset, offset + length):
            for at in range(0, extent.length, _CHUNK):
                if self._closed:
                    raise errors.StoreClosed("the image was closed")
                yield bytes(min(_CHUNK, extent.length - at)) if extent.hole else data[at : at + _CHUNK]

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """Yield data and holes of the range."""
        return (extent for extent, _ in self._pieces(offset, offset + length))

    def _pieces(self, at: int, end: int) -> Iterator[tuple[Extent, bytes]]:
        for start, data in [*self._runs, (end, b"")]:
            if (hole := min(start, end) - at) > 0:
                yield Extent(at, hole, True), b""
                at += hole
            if wanted := data[max(0, at - start) : max(0, end - start)]:
                yield Extent(at, len(wanted), False), wanted
                at += len(wanted)

    def close(self) -> None:
        self._closed = True


class MemoryUpload(interface.Upload[MemoryAddress]):
    """An image on its way; invisible until `commit` or `write_whole`."""

    def __init__(
        self, driver: MemoryDriver, state: State, address: MemoryAddress, owner: interface.Owner, size: int | None
    ) -> None:
        self.size = size
        self.limits = driver.LIMITS
        self.uuid = owner.upload
        self._driver = driver
        self._state = state
        self._address = address
        self._stored = Unfinished(owner, {}, driver.runtime.wall(), weakref.ref(self))
        self._capacity = driver.LIMITS.capacity

    def start(self) -> None:
        """Note the upload and its owner."""
        self._state.unfinished[self.uuid] = self._stored

    def reserve(self, at_least: int) -> int:
        """Make room, twice as much as before, so that this happens rarely."""
        self._capacity = max(at_least, 2 * (self._capacity or 0))
        return self._capacity

    def write_part(self, part: Part) -> interface.Token:
        """Keep a copy of the bytes; the same part once more takes the place of the first."""
        if self._capacity is not None and part.offset + part.length > self._capacity:
            raise errors.BackendError(f"a part ends at {part.offset + part.length}, beyond {self._capacity}")
        with self._state.lock:
            self._check_unfinished()
            more = part.length - len(self._stored.runs.get(part.offset, b""))
            self._driver.check_room(self._state, more)
            self._state.used += more
            self._stored.runs[part.offset] = part.bytes()
            self._stored.active = self._driver.runtime.wall()
        return None if self.limits.sparse else zlib.crc32(part.data)

    def copy_part(
        self, source: interface.Driver[Any], address: interface.Address, index: int, offset: int, length: int
    ) -> interface.Token:
        """Copy a range of an image of another memory store of this process."""
        if not isinstance(source, MemoryDriver) or not isinstance(address, MemoryAddress):
            raise errors.CannotMigrate("ranges are copied from memory stores only")
        reader = MemoryDownload(*source.image(address), self.limits)
        token = None
        for extent in reader.extents(offset, length) if self.limits.sparse else [Extent(offset, length, False)]:
            if not extent.hole:
                data = b"".join(reader.read(extent.offset, extent.length))
                token = self.write_part(Part(index, extent.offset, memoryview(data)))
        return token

    def write_whole(self, part: Part) -> Committed[MemoryAddress]:
        """Make a small image visible at once."""
        self.start()
        token = self.write_part(part)
        return self.commit(part.length, [] if token is None else [(part, token)])

    def commit(self, size: int, parts: Sequence[tuple[Part, interface.Token]]) -> Committed[MemoryAddress]:
        """Make the image visible; without `limits.sparse` the parts must be whole and one after another."""
        end = 0
        for index, (part, token) in enumerate(parts):
            data = self._stored.runs.get(part.offset, b"")
            if (part.index, part.offset, zlib.crc32(data)) != (index, end, token):
                raise errors.BackendError(f"part {part.index} is not what was acknowledged")
            end += len(data)
        if end != size and not self.limits.sparse:
            raise errors.BackendError(f"the parts end at {end} and not at {size}")
        with self._state.lock:
            self._check_unfinished()
            if self._address.image_id in self._state.images:
                raise errors.Duplicate(f"image {self._address.image_id} is there already")
            info = ObjectInfo(size, self._driver.runtime.wall(), version=self.uuid)
            self._state.images[self._address.image_id] = self._stored.runs, info
            del self._state.unfinished[self.uuid]
        return Committed(self._address, info)

    def _check_unfinished(self) -> None:
        if self.uuid not in self._state.unfinished:
            raise errors.BackendError("the upload has not begun, or has ended")

    def outcome(self) -> Committed[MemoryAddress] | None:
        """Look whether the image of that id is this upload's."""
        _, info = self._state.images.get(self._address.image_id, (None, None))
        return Committed(self._address, info) if info is not None and info.version == self.uuid else None

    def abort(self) -> Sequence[Leftover]:
        """Forget what was stored; a committed image stays."""
        self._state.forget(self.uuid)
        return ()


class MemoryDriver(interface.Driver[MemoryAddress]):
    """Images in memory.  Derived classes may set `LIMITS` to behave like another kind of storage."""

    OPTIONS: ClassVar[Sequence[cfg.Opt]] = (
        cfg.IntOpt("memory_store_size", default=256 * MIB, min=0, help="Most bytes that all images take together."),
        cfg.StrOpt(
            "memory_store_name",
            default="",
            help="Stores of one process whose id and this name are the same hold the same images, as if both were "
            "connected to one server. Without it, each holds its own.",
        ),
        cfg.StrOpt(
            "memory_store_password",
            default="",
            secret=True,
            help="Protects nothing. Tests look whether it shows where no secret may show.",
        ),
    )
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"operation_timeout": 0}
    FEATURES = ~Feature.ACLS
    SCHEMES = ("memory",)
    LIMITS: ClassVar[Limits] = Limits(
        parallel=2,
        whole_max=64 * KIB,
        sparse=4 * KIB,
        ranges=True,
        capacity=1 * MIB,
        quiet_reserve=True,
        copy_max=256 * MIB,
    )
    UPLOAD_CLASS: ClassVar[type[MemoryUpload]] = MemoryUpload
    DOWNLOAD_CLASS: ClassVar[type[MemoryDownload]] = MemoryDownload

    def __init__(self, settings: StoreSettings, runtime: interface.Runtime) -> None:
        super().__init__(settings, runtime)
        self.size: int = settings["memory_store_size"]
        name: str = settings["memory_store_name"]
        self._state = runtime.per_process(lambda: _state(name, settings.id), lambda state: None)

    @property
    def limits(self) -> Limits:
        """The limits of every upload."""
        return self.LIMITS

    def parse(self, uri: str) -> MemoryAddress:
        """Return the address of ``memory://<store id>/<image id>``."""
        scheme = scheme_of(uri)
        store_id, _, image_id = uri[len(scheme) + 1 :].removeprefix("//").partition("/")
        if (scheme, store_id) != ("memory", self.settings.id):
            raise errors.ForeignLocation(f"{redact(uri)} does not lie in this store")
        try:
            return MemoryAddress(check_image_id(image_id))
        except errors.BadImageId as error:
            raise errors.BadLocation(f"{redact(uri)} is malformed: write memory://STORE/ID") from error

    def uri(self, address: MemoryAddress) -> str:
        return f"memory://{self.settings.id}/{address.image_id}"

    def image_id(self, address: MemoryAddress) -> str | None:
        return address.image_id

    def prefix(self) -> str | None:
        return f"memory://{self.settings.id}/"

    @property
    def state(self) -> State:
        """The storage.

        :raises StoreUnavailable: it was taken away.
        """
        state = self._state.get()
        if not state.there:
            raise errors.StoreUnavailable("the place where the images were is away")
        return state

    def image(self, address: MemoryAddress) -> tuple[Runs, ObjectInfo]:
        """Return bytes and description of an image."""
        try:
            return self.state.images[address.image_id]
        except KeyError:
            raise errors.NotFound(f"there is no image {address.image_id}") from None

    def stat(self, address: MemoryAddress, ctx: Context) -> ObjectInfo:
        return self.image(address)[1]

    def open(self, address: MemoryAddress, offset: int, length: int | None, ctx: Context) -> interface.Download:
        """Open the image; deleting it does not disturb who reads it."""
        return self.DOWNLOAD_CLASS(*self.image(address), self.LIMITS)

    def upload(self, image_id: str, size: int | None, ctx: Context) -> interface.Upload[MemoryAddress]:
        """See that the id is free and the size fits."""
        state = self.state
        if image_id in state.images:
            raise errors.Duplicate(f"image {image_id} is there already")
        self.check_room(state, size or 0)
        return self.UPLOAD_CLASS(self, state, MemoryAddress(image_id), ctx.owner, size)

    def check_room(self, state: State, size: int) -> None:
        """Raise StoreFull when `size` bytes more do not fit."""
        if size > self.size - state.used:
            raise errors.StoreFull(f"{size} bytes do not fit: {state.used} of {self.size} are in use")

    def delete(self, address: MemoryAddress, ctx: Context) -> interface.Deletion:
        state = self.state
        with state.lock:
            state.used -= _size(self.image(address)[0])
            del state.images[address.image_id]
        return interface.Deletion.DELETED

    def list(self, ctx: Context) -> Iterator[interface.Listed[MemoryAddress]]:
        for image_id, (_, info) in [*self.state.images.items()]:
            yield interface.Listed(MemoryAddress(image_id), image_id, info.size, info.modified)

    def probe(self, ctx: Context) -> interface.Probe:
        """Tell whether it is nearly full."""
        free = self.size - self.state.used
        status = interface.Status.DEGRADED if free * 20 < self.size else interface.Status.UP
        return interface.Probe(status, f"{free} of {self.size} bytes are free")

    def capacity(self, ctx: Context) -> interface.Capacity:
        """Return the room; what uploads under way hold counts as used."""
        used = self.state.used
        return interface.Capacity(self.size, self.size - used, used)

    def leftovers(self, ctx: Context) -> Iterator[Leftover]:
        """Yield the unfinished uploads; a dead one's writer is gone without having aborted it."""
        for uuid, each in [*self.state.unfinished.items()]:
            yield Leftover("unfinished upload", uuid, each.owner, each.active, alive=each.writer() is not None)

    def sweep(self, leftover: Leftover, ctx: Context) -> None:
        """Forget what a dead upload stored."""
        state = self.state
        with state.lock:
            if leftover.address not in state.unfinished:
                raise errors.NotFound("the upload has ended")
            if state.unfinished[leftover.address].writer() is not None:
                raise errors.InUse("somebody is writing to it")
            state.forget(leftover.address)

    def move(
        self, address: MemoryAddress, target: interface.Driver[Any], image_id: str, ctx: Context
    ) -> Committed[Any]:
        """Move the image into another memory store of this process."""
        if not isinstance(target, MemoryDriver):
            raise errors.CannotMigrate("images move between memory stores only")
        here, there = self.state, target.state
        with _sharing, here.lock, there.lock:
            runs, info = self.image(address)
            if image_id in there.images:
                raise errors.Duplicate(f"image {image_id} is there already")
            target.check_room(there, _size(runs))
            there.images[image_id] = runs, info
            there.used += _size(runs)
            here.used -= _size(runs)
            del here.images[address.image_id]
        return Committed(MemoryAddress(image_id), info)

    def signed_url(self, address: MemoryAddress, seconds: float, ctx: Context) -> str:
        """Return a URL that holds the image itself, hence is valid for ever; others must expire."""
        data = b"".join(MemoryDownload(*(found := self.image(address)), self.LIMITS).read(0, found[1].size))
        return f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"

    def backend_id(self) -> str | None:
        """Return a name of this process: its memory stores can copy from each other."""
        return f"memory:{os.getpid()}"

    def describe(self) -> Mapping[str, Any]:
        """Return the size of the store."""
        return {"size": self.size}

    def close(self) -> None:
        self._state.close()
