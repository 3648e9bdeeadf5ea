"""The memory store: images in the memory of one process, for tests and as the example of a driver.

It does in small what every driver does: parts may come in any order and more than once, an image becomes visible in
one step, and clearing away goes by the upload's identity, never by the final name alone.  Images are gone when the
store is closed or the process ends; a forked child starts empty.
"""

from __future__ import annotations

import dataclasses
import datetime
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

    def forget(self, uuid: str) -> None:
        """Remove what an upload has stored, if it has not ended."""
        with self.lock:
            found = self.unfinished.pop(uuid, None)
            self.used -= _size(found.runs) if found else 0


def _size(runs: Runs) -> int:
    return sum(map(len, runs.values()))


class MemoryDriver(interface.Driver[MemoryAddress]):
    """Images in memory.  Derived classes may set `LIMITS` to behave like another kind of storage."""

    OPTIONS: ClassVar[Sequence[cfg.Opt]] = (
        cfg.IntOpt("memory_store_size", default=256 * MIB, min=0, help="Most bytes that all images take together."),
    )
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"operation_timeout": 0}
    FEATURES = ~(Feature.COPY | Feature.MOVE | Feature.ACLS | Feature.SIGNED_URLS)
    SCHEMES = ("memory",)
    LIMITS: ClassVar[Limits] = Limits(parallel=2, whole_max=64 * KIB, sparse=4 * KIB, ranges=True)

    def __init__(self, settings: StoreSettings, runtime: interface.Runtime) -> None:
        super().__init__(settings, runtime)
        self.size: int = settings["memory_store_size"]
        self._state = runtime.per_process(State, lambda state: None)

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

    def _image(self, address: MemoryAddress) -> tuple[Runs, ObjectInfo]:
        try:
            return self._state.get().images[address.image_id]
        except KeyError:  # the place itself is always there
            raise errors.NotFound(f"there is no image {address.image_id}") from None

    def stat(self, address: MemoryAddress, ctx: Context) -> ObjectInfo:
        return self._image(address)[1]

    def open(self, address: MemoryAddress, offset: int, length: int | None, ctx: Context) -> interface.Download:
        """Open the image; deleting it does not disturb who reads it."""
        return MemoryDownload(*self._image(address), self.LIMITS)

    def upload(self, image_id: str, size: int | None, ctx: Context) -> interface.Upload[MemoryAddress]:
        """See that the id is free and the size fits."""
        state = self._state.get()
        if image_id in state.images:
            raise errors.Duplicate(f"image {image_id} is there already")
        self.check_room(state, size or 0)
        return MemoryUpload(self, state, MemoryAddress(image_id), ctx.owner)

    def check_room(self, state: State, size: int) -> None:
        """Raise StoreFull when `size` bytes more do not fit."""
        if size > self.size - state.used:
            raise errors.StoreFull(f"{size} bytes do not fit: {state.used} of {self.size} are in use")

    def delete(self, address: MemoryAddress, ctx: Context) -> interface.Deletion:
        state = self._state.get()
        with state.lock:
            state.used -= _size(self._image(address)[0])
            del state.images[address.image_id]
        return interface.Deletion.DELETED

    def list(self, ctx: Context) -> Iterator[interface.Listed[MemoryAddress]]:
        for image_id, (_, info) in [*self._state.get().images.items()]:
            yield interface.Listed(MemoryAddress(image_id), image_id, info.size, info.modified)

    def probe(self, ctx: Context) -> interface.Probe:
        """Tell whether it is nearly full."""
        free = self.size - self._state.get().used
        status = interface.Status.DEGRADED if free * 20 < self.size else interface.Status.UP
        return interface.Probe(status, f"{free} of {self.size} bytes are free")

    def capacity(self, ctx: Context) -> interface.Capacity:
        """Return the room; what uploads under way hold counts as used."""
        used = self._state.get().used
        return interface.Capacity(self.size, self.size - used, used)

    def leftovers(self, ctx: Context) -> Iterator[Leftover]:
        """Yield the unfinished uploads; a dead one's writer is gone without having aborted it."""
        for uuid, each in [*self._state.get().unfinished.items()]:
            yield Leftover("unfinished upload", uuid, each.owner, each.active, alive=each.writer() is not None)

    def sweep(self, leftover: Leftover, ctx: Context) -> None:
        """Forget what a dead upload stored."""
        state = self._state.get()
        with state.lock:
            if leftover.address not in state.unfinished:
                raise errors.NotFound("the upload has ended")
            if state.unfinished[leftover.address].writer() is not None:
                raise errors.InUse("somebody is writing to it")
            state.forget(leftover.address)

    def close(self) -> None:
        self._state.close()


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

    def __init__(self, driver: MemoryDriver, state: State, address: MemoryAddress, owner: interface.Owner) -> None:
        self.limits = driver.LIMITS
        self.uuid = owner.upload
        self._driver = driver
        self._state = state
        self._address = address
        self._stored = Unfinished(owner, {}, driver.runtime.wall(), weakref.ref(self))

    def start(self) -> None:
        """Note the upload and its owner."""
        self._state.unfinished[self.uuid] = self._stored

    def write_part(self, part: Part) -> interface.Token:
        """Keep a copy of the bytes; the same part once more takes the place of the first."""
        with self._state.lock:
            self._check_unfinished()
            more = part.length - len(self._stored.runs.get(part.offset, b""))
            self._driver.check_room(self._state, more)
            self._state.used += more
            self._stored.runs[part.offset] = part.bytes()
            self._stored.active = self._driver.runtime.wall()
        return None if self.limits.sparse else zlib.crc32(part.data)

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
