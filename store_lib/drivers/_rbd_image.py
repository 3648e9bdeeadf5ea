"""Open images and the requests on them: several on their way at once, every answer looked at."""

from __future__ import annotations

import collections
import contextlib
import datetime
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from store_lib import errors
from store_lib.drivers._rbd_cluster import Cluster, Pool
from store_lib.drivers._rbd_handle import Handle, never_free
from store_lib.drivers._rbd_values import REQUEST, SNAPSHOT, RbdAddress, ceph_error, is_ceph
from store_lib.interface import Download, Extent, Limits, ObjectInfo

__all__ = ["OpenImage", "RbdDownload", "Requests", "find_image", "image_info", "missing", "open_image", "write"]

#: Zeroes that stand for a hole.
_ZEROES = bytes(REQUEST)

#: Requests whose bytes are kept back together, until it is seen that their image is still there.
_HELD = 4

#: An open rbd.Image; the connection it belongs to stays open as long as it is.
OpenImage = Handle[Any]


def open_image(cluster: Cluster, name: str | None, snapshot: str | None = None, **how: Any) -> OpenImage:
    """Return the image opened, as ``rbd.Image`` does: for writing unless ``read_only``; by name or ``image_id``."""
    with cluster.pool() as pool:
        connection = cluster.enter()
        connection.enter()
        try:
            image = pool.rbd.Image(pool.ioctx, name, snapshot=snapshot, **how)
        except BaseException:
            connection.leave()
            raise

        def close(image: Any) -> None:
            try:
                image.close()
            finally:
                pool.opened.discard(image)
                connection.leave()

        pool.opened.add(image)
        return Handle(image, close)


def missing(pool: Pool, name: str) -> errors.NotFound:
    """Return the error for an image that is not there, once the pool is known to be.

    :raises StoreUnavailable: the pool is not there either.
    """
    pool.prove()
    return errors.NotFound(f"there is no image {name} in pool {pool.name}")


def find_image(cluster: Cluster, address: RbdAddress) -> OpenImage:
    """Return the image of `address` opened for reading.

    :raises NotFound: the pool is there, and the image or its snapshot is not.
    """
    with cluster.pool() as pool:
        try:
            return open_image(cluster, address.image, address.snapshot, read_only=True)
        except pool.rbd.ImageNotFound as error:
            raise missing(pool, address.image) from error


def image_info(image: Any, address: RbdAddress) -> tuple[ObjectInfo, int | None]:
    """Return what the backend tells of an open image, and the number of the snapshot that it is opened at."""
    number = None
    if address.snapshot is not None:
        # Taking it from the list asks nobody: opening has read the snapshots.
        found = [each for each in image.list_snaps() if each["name"] == address.snapshot]
        number = found[0]["id"] if found else None
    # Both are UTC without saying so.
    written = image.create_timestamp() if number is None else image.get_snap_timestamp(number)
    identity = image.stat()["block_name_prefix"]
    version = (identity, number if address.snapshot is not None else str(image.modify_timestamp()))
    return ObjectInfo(image.size(), written.replace(tzinfo=datetime.UTC), version=version), number


class Requests:
    """Requests of one caller on one image: at most `most` on their way at once, answered in order.

    Leaving it waits for those on their way, which the connection's time-outs bound; not so in a forked child, where
    nobody is left who would answer them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._process = os.getpid()
        self._waiting: collections.deque[tuple[Any, list[bytes | None]]] = collections.deque()

    def __enter__(self) -> Requests:
        return self

    def __exit__(self, *details: object) -> None:
        while self._waiting:
            completion, _ = self._waiting.popleft()
            if self._process == os.getpid():
                completion.wait_for_complete_and_cb()
            else:
                never_free(completion)

    @property
    def full(self) -> bool:
        """Whether an answer must be taken before the next request."""
        return len(self._waiting) >= self._most

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, send: Callable[[Callable[..., None]], Any]) -> None:
        """Send one more; ``send(callback)`` returns its completion."""
        got: list[bytes | None] = []

        def answered(completion: Any, data: bytes | None = None) -> None:
            got.append(data)

        self._waiting.append((send(answered), got))

    def take(self, rbd: Any) -> bytes:
        """Wait for the oldest request and return the bytes that came; raises what a plain call would."""
        completion, got = self._waiting.popleft()
        completion.wait_for_complete_and_cb()
        code = completion.get_return_value()
        if code < 0:
            raise _raised(rbd, code)
        return got[0] or b""


def _raised(rbd: Any, code: int) -> BaseException:
    """Return the error of a request, which is only told as a number."""
    error = rbd.OSError("a request on the image failed", errno=-code)
    known = ceph_error(error)
    return known if known is not None else error


def write(rbd: Any, handle: OpenImage, pieces: Iterable[tuple[int, bytes]], most: int) -> None:
    """Write each of ``(offset, bytes)``, `most` of them on their way at once; returns when all are stored.

    :param pieces: bytes, since the binding takes nothing else; each of at most `REQUEST`.
    """
    with handle.use() as image, Requests(most) as requests:
        for at, piece in pieces:
            if requests.full:
                requests.take(rbd)
            requests.add(lambda done, piece=piece, at=at: image.aio_write(piece, at, done))  # type: ignore[misc]
            del piece  # librbd has copied it, and waiting takes as much memory for each caller else
        while requests:
            requests.take(rbd)


class RbdDownload(Download):
    """An image opened at its snapshot."""

    def __init__(self, cluster: Cluster, address: RbdAddress, limits: Limits, most: int) -> None:
        self.limits = limits
        self._cluster = cluster
        self._address = address
        self._most = most
        self._lock = threading.Lock()
        self._runs: list[Extent] | None = None
        self._handle = find_image(cluster, address)
        try:
            with self._handle.use() as image:
                self.info, self._snapshot = image_info(image, address)
                self._id: str | None = None if image.old_format() else image.id()
                #: Bytes that lie in one object.
                self._object: int = min(image.stripe_unit(), image.stat()["obj_size"])
                # What an image has from the one it was cloned of is not in its own list of objects.
                self._dense = image.old_format() or _has_parent(image) or self.info.size <= REQUEST
        except BaseException:
            self._handle.close()
            raise

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of the range; what was never written is not asked for."""
        held: list[bytes] = []
        for chunk, hole in self._chunks(offset, length):
            if not held and (hole or not self._may_be_gone(offset, chunk)):
                yield chunk
            else:
                held.append(chunk)
            offset += len(chunk)
            if len(held) == _HELD:
                self._check_there()
                yield from held
                held.clear()
        if held:
            self._check_there()
            yield from held

    def _may_be_gone(self, offset: int, chunk: bytes) -> bool:
        """Return whether there are only zeroes where an object should be: that is how one reads that is not there."""
        start = 0
        while start < len(chunk):
            stop = min(len(chunk), start + self._object - (offset + start) % self._object)
            # Nearly always the first byte tells.
            if not chunk[start] and not chunk[stop - 1] and chunk.startswith(_ZEROES[: stop - start], start):
                return True
            start = stop
        return False

    def _chunks(self, offset: int, length: int) -> Iterator[tuple[bytes, bool]]:
        """Yield the bytes of the range in requests, and whether they are a known hole."""
        with self._cluster.pool() as pool, Requests(self._most) as requests:
            for extent in self.extents(offset, length):
                for at in range(extent.offset, extent.offset + extent.length, REQUEST):
                    size = min(REQUEST, extent.offset + extent.length - at)
                    if extent.hole:
                        while requests:
                            yield requests.take(pool.rbd), False
                        yield _ZEROES[:size], True
                        continue
                    if requests.full:
                        yield requests.take(pool.rbd), False
                    with self._handle.use() as image:
                        requests.add(lambda done, at=at, size=size: image.aio_read(at, size, done))  # type: ignore[misc]
            while requests:
                yield requests.take(pool.rbd), False

    def _check_there(self) -> None:
        """Make sure that the image was there until now: of one that is being removed, zeroes are read and no error."""
        if self._id is None or self._snapshot is None:
            return
        with self._cluster.pool() as pool:
            if not pool.has_snapshot(self._id, self._snapshot):
                pool.prove()
                raise errors.NotFound(f"image {self._address.image} was removed while it was read")

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """Return data and holes of the range, to the size of an object."""
        end = offset + length
        at = offset
        for run in self._data():
            start, stop = max(run.offset, at), min(run.offset + run.length, end)
            if stop <= start:
                continue
            if start > at:
                yield Extent(at, start - at, True)
            yield Extent(start, stop - start, False)
            at = stop
        if at < end:
            yield Extent(at, end - at, True)

    def _data(self) -> list[Extent]:
        with self._lock:
            if self._runs is None:
                size = self.info.size
                runs = [Extent(0, size, False)] if self._dense and size else self._written()
                if not self._dense:  # of an image that is gone all would be a hole
                    self._check_there()
                self._runs = runs
            return self._runs

    def _written(self) -> list[Extent]:
        runs: list[Extent] = []

        def note(offset: int, length: int, exists: bool) -> None:
            if exists and runs and runs[-1].offset + runs[-1].length == offset:
                runs[-1] = Extent(runs[-1].offset, runs[-1].length + length, False)
            elif exists:
                runs.append(Extent(offset, length, False))

        with self._cluster.pool() as pool, self._handle.use() as image:
            fast = bool(image.features() & pool.rbd.RBD_FEATURE_FAST_DIFF)
            fast = fast and not image.flags() & pool.rbd.RBD_FLAG_FAST_DIFF_INVALID
            # With fast-diff the list of objects tells; without, each object is asked what of it was written.
            image.diff_iterate(0, self.info.size, None, note, False, fast)
        return runs

    def close(self) -> None:
        self._handle.close()


def _has_parent(image: Any) -> bool:
    try:
        image.parent_info()
    except Exception as error:
        if is_ceph(error) and getattr(error, "errno", None) == errno.ENOENT:
            return False
        raise
    return True


def snapshot_of(image: Any) -> int | None:
    """Return the size of the snapshot that makes an image complete, None when it has none."""
    for each in image.list_snaps():
        if each["name"] == SNAPSHOT and not each.get("namespace"):
            size: int = each["size"]
            return size
    return None


@contextlib.contextmanager
def opened(cluster: Cluster, name: str | None, **how: Any) -> Iterator[Any]:
    """Yield the image, open; see `open_image`."""
    try:
        handle = open_image(cluster, name, **how)
        try:
            with handle.use() as image:
                yield image
        finally:
            handle.close()
    except Exception as error:
        if is_ceph(error) and getattr(error, "errno", None) == errno.ETIMEDOUT and not how.get("read_only"):
            cluster.renew()
        raise
