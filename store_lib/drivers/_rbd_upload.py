"""An image on its way into an rbd store: under a name of its own until it is complete."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from store_lib import errors
from store_lib.drivers._rbd_cluster import Pool
from store_lib.drivers._rbd_delete import remove_unfinished
from store_lib.drivers._rbd_image import OpenImage, RbdDownload, open_image, write
from store_lib.drivers._rbd_values import REQUEST, SNAPSHOT, RbdAddress, unfinished_name
from store_lib.interface import MIB, Address, Committed, Driver, Leftover, ObjectInfo, Owner, Part, Token, Upload

if TYPE_CHECKING:
    from store_lib.drivers.rbd import RbdDriver

__all__ = ["RbdUpload"]

#: Bytes that an image of unknown size has room for at first.
_FIRST = 16 * MIB


class RbdUpload(Upload[RbdAddress]):
    """Writes into an image that is named after its owner, snapshots and protects it, and renames it.

    The image stays open until the end: its watcher tells others that somebody is writing.
    """

    def __init__(self, driver: RbdDriver, image_id: str, size: int | None, owner: Owner) -> None:
        self.uuid = owner.upload
        self._driver = driver
        self._cluster = driver.cluster
        self._image_id = image_id
        self._owner = owner
        self._temporary = unfinished_name(owner, image_id)
        self._capacity = _FIRST if size is None else size
        self.limits = dataclasses.replace(driver.limits, capacity=self._capacity)
        self._most = max(1, driver.in_flight // self.limits.parallel)
        self._handle: OpenImage | None = None
        self._id = ""
        self._begun = self._naming = False
        self._committed: Committed[RbdAddress] | None = None
        self._lock = threading.Lock()
        self._source: RbdDownload | None = None

    def start(self) -> None:
        """Make the image under the name of its owner, and open it."""
        self._begun = True
        with self._cluster.pool() as pool:
            pool.make_trash()
            with contextlib.suppress(pool.rbd.ImageExists):  # by a try of this very upload
                pool.images.create(
                    pool.ioctx, self._temporary, self._capacity, old_format=False, **self._driver.creation(pool)
                )
            self._handle = open_image(self._cluster, self._temporary)
            with self._handle.use() as image:
                self._id = image.id()

    @contextlib.contextmanager
    def _image(self) -> Iterator[Any]:
        if self._handle is None:
            raise errors.BackendError("the upload has not begun, or has ended")
        with self._handle.use() as image:
            yield image

    def reserve(self, at_least: int) -> int:
        """Let the image grow, to twice its size at least, so that this happens rarely."""
        capacity = max(at_least, 2 * self._capacity)
        with self._image() as image:
            image.resize(capacity)
        self._capacity = capacity
        return capacity

    def write_part(self, part: Part) -> Token:
        """Write the bytes at their place."""
        if self._handle is None:
            raise errors.BackendError("the upload has not begun, or has ended")
        pieces = ((part.offset + at, part.data[at : at + REQUEST].tobytes()) for at in range(0, part.length, REQUEST))
        with self._cluster.pool() as pool:
            write(pool.rbd, self._handle, pieces, self._most)
        return None

    def copy_part(self, source: Driver[Any], address: Address, index: int, offset: int, length: int) -> Token:
        """Copy from another store of the same cluster: only what was written there, and without a look at it.

        RADOS moves no bytes between pools by itself; they pass through this process once, in large requests.
        """
        opened = self._open_source(source, address)
        if self._handle is None:
            raise errors.BackendError("the upload has not begun, or has ended")
        with self._cluster.pool() as pool:
            write(pool.rbd, self._handle, _written(opened, offset, length), self._most)
        return None

    def _open_source(self, source: Driver[Any], address: Address) -> RbdDownload:
        with self._lock:
            if self._source is None:
                self._source = self._driver.open_other(source, address)
            return self._source

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[RbdAddress]:
        """Trim, snapshot and protect the image, then give it its name; each step may be repeated.

        Claiming the name is the moment at which the image becomes visible; what follows only tidies up.
        """
        with self._cluster.pool() as pool, self._image() as image:
            if self._capacity != size:
                image.resize(size)
                self._capacity = size
            image.flush()
            stored = image.size()  # now: asked after the snapshot, it would read the header again
            with contextlib.suppress(pool.rbd.ImageExists):
                image.create_snap(SNAPSHOT)
            try:
                image.protect_snap(SNAPSHOT)
            except pool.rbd.ImageBusy:
                if not image.is_protected_snap(SNAPSHOT):
                    raise
            self._naming = True
            if not pool.claim(self._image_id, self._id):
                raise errors.Duplicate(f"image {self._image_id} is there already")
            return self._listed(pool, stored)

    def _listed(self, pool: Pool, size: int) -> Committed[RbdAddress]:
        """Complete the renaming: the name stands for the image, and readers may have met it."""
        if not pool.list_as(self._id, self._temporary, self._image_id):
            pool.free(self._image_id, self._id)
            self._naming = False
            problem = f"the pool lists an image {self._image_id} of which only a part is left; delete it once more"
            raise errors.Duplicate(problem)
        return self._done(size)

    def _done(self, size: int) -> Committed[RbdAddress]:
        address = RbdAddress(self._cluster.fsid, self._image_id, SNAPSHOT)
        self._committed = Committed(address, ObjectInfo(size))
        return self._committed

    def outcome(self) -> Committed[RbdAddress] | None:
        """Look whether the name stands for this very image; a renaming that was cut off half-way is completed."""
        if not self._naming:
            return None
        with self._cluster.pool() as pool, self._image() as image:
            return self._listed(pool, image.size()) if pool.id_of(self._image_id) == self._id else None

    def abort(self) -> Sequence[Leftover]:
        """Remove the unfinished image; a committed one, and one of which that can't be told, is only let go of."""
        try:
            if self._source is not None:
                self._source.close()
            if self._committed is None and self._naming:
                self.outcome()
            if self._handle is not None:
                self._handle.close()
            if self._begun and self._committed is None:
                remove_unfinished(self._cluster, self._temporary)
        except Exception as error:
            if self._driver.translate(error) is None and not isinstance(error, errors.StoreLibError):
                raise  # a bug
            if self._handle is not None:
                self._handle.close()
            self._cluster.renew()
            return (Leftover("unfinished image", ("unfinished image", self._temporary), self._owner),)
        return ()


def _written(source: RbdDownload, offset: int, length: int) -> Iterable[tuple[int, bytes]]:
    """Yield what was ever written of a range, each run in requests, with its offset."""
    for extent in source.extents(offset, length):
        if not extent.hole:
            at = extent.offset
            for chunk in source.read(extent.offset, extent.length):
                yield at, chunk
                at += len(chunk)
