"""The rbd store: images as block devices of a Ceph cluster, each with the protected snapshot that instances clone.

An image is written under the name of its owner, snapshotted and protected, and then renamed: nothing incomplete can be
met under an image's name.  The connection is kept; what librados would wait for without end is bounded.

Location: ``rbd://<fsid>/<pool>/<image id>/snap``, as glance_store writes it; in a namespace the pool is
``pool/namespace``.  ``rbd://<image id>`` is read too.
"""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from store_lib import errors
from store_lib.drivers import _rbd_delete, _rbd_opts
from store_lib.drivers._rbd_cluster import Cluster, Pool
from store_lib.drivers._rbd_image import RbdDownload, find_image, image_info, opened, snapshot_of
from store_lib.drivers._rbd_upload import RbdUpload
from store_lib.drivers._rbd_values import REQUEST, SNAPSHOT, TEMPORARY, RbdAddress, ceph_error
from store_lib.interface import (
    GIB,
    KIB,
    MIB,
    Address,
    Capacity,
    Context,
    Deletion,
    Download,
    Driver,
    Feature,
    Leftover,
    Limits,
    Listed,
    ObjectInfo,
    Probe,
    Runtime,
    Status,
    Upload,
)
from store_lib.location import check_image_id, redact
from store_lib.location_forms import RbdForm
from store_lib.settings import StoreSettings

__all__ = ["RbdAddress", "RbdDriver"]

#: Images looked at together in a listing.
_BATCH = 64
#: Images from this size on are only begun when the pool tells that they fit: filling a cluster stops all its clients.
_LARGE = 1 * GIB


class RbdDriver(Driver[RbdAddress]):
    """Images in a pool of a Ceph cluster."""

    OPTIONS = _rbd_opts.OPTIONS
    FEATURES = (
        Feature.WRITE
        | Feature.DELETE
        | Feature.RANGES
        | Feature.LIST
        | Feature.EXCLUSIVE
        | Feature.SPARSE
        | Feature.CAPACITY
        | Feature.LEFTOVERS
        | Feature.COPY
    )
    SCHEMES = ("rbd",)

    def __init__(self, settings: StoreSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        self.cluster = Cluster(settings, runtime)
        self.in_flight: int = settings["rbd_store_in_flight"]
        namespace = settings["rbd_store_namespace"]
        #: As locations name it.
        self.pool: str = settings["rbd_store_pool"] + (f"/{namespace}" if namespace else "")

    @classmethod
    def check(cls, settings: StoreSettings) -> Iterable[errors.Mistake]:
        """Yield every mistake in the options."""
        return _rbd_opts.check(settings)

    @property
    def limits(self) -> Limits:
        """As many parts at once as keep the wanted requests on their way; a part is no more than one of them.

        Where a part is two, its buffer waits for the later answer, and fewer are on their way: a tenth slower.
        """
        return self._limits(REQUEST)

    def _limits(self, part: int) -> Limits:
        """Return the limits of a transfer in parts of `part` bytes, unless the operator wants others."""
        return Limits(
            part_size=part,
            parallel=max(1, self.in_flight * REQUEST // (self.settings.base.part_size or part)),
            sparse=64 * KIB,
            thin=self.settings["rbd_thin_provisioning"],
            ranges=True,
            copy_max=64 * MIB,
        )

    def creation(self, pool: Pool) -> Mapping[str, Any]:
        """Return how new images are made: arguments of ``rbd.RBD.create``."""
        names = self.settings["rbd_store_image_features"]
        bits = sum(_rbd_opts.FEATURE_BITS[name] for name in {*names, "layering"}) if names else None
        return {
            "order": (self.settings["rbd_store_chunk_size"] * MIB).bit_length() - 1,
            "features": bits,
            "data_pool": self.settings["rbd_store_data_pool"] or None,
        }

    def translate(self, error: BaseException) -> errors.StoreLibError | None:
        """Map errors of the bindings, which are imported only once they are needed."""
        return ceph_error(error)

    # -- locations ----------------------------------------------------------------------------------------------------

    def parse(self, uri: str) -> RbdAddress:
        """Return the address of ``rbd://fsid/pool/image/snapshot`` or ``rbd://image``.

        The cluster is compared as soon as it was seen once.
        """
        form = RbdForm.parse(uri)
        if not f"{form.image}{form.snapshot or ''}".isprintable() or form.image.startswith(TEMPORARY):
            raise errors.BadLocation(f"{redact(uri)} names no image")
        if form.pool not in (None, self.pool):
            raise errors.ForeignLocation(f"{redact(uri)} lies in another pool than {self.pool}")
        address = RbdAddress(form.fsid, form.image, form.snapshot)
        self._check_cluster(address)
        return address

    def _check_cluster(self, address: RbdAddress) -> None:
        if None not in (address.fsid, self.cluster.fsid) and address.fsid != self.cluster.fsid:
            raise errors.ForeignLocation(f"the image lies in cluster {address.fsid}, not in {self.cluster.fsid}")

    def uri(self, address: RbdAddress) -> str:
        fsid = address.fsid or self.cluster.fsid
        return RbdForm(fsid if address.snapshot else None, self.pool, address.image, address.snapshot).clean()

    def image_id(self, address: RbdAddress) -> str | None:
        """Return the name of the image."""
        return address.image

    def prefix(self) -> str | None:
        """Return what locations begin with; None until the cluster's fsid is known."""
        fsid = self.cluster.fsid
        return f"rbd://{fsid}/{urllib.parse.quote(self.pool, safe='')}/" if fsid else None

    @contextlib.contextmanager
    def _in(self, address: RbdAddress) -> Iterator[None]:
        """Around what touches an image: the connection is there, and it is the image's cluster."""
        with self.cluster.pool():
            self._check_cluster(address)
            yield

    # -- reading ------------------------------------------------------------------------------------------------------

    def stat(self, address: RbdAddress, ctx: Context) -> ObjectInfo:
        """Return size and time of the image's snapshot."""
        with self._in(address):
            handle = find_image(self.cluster, address)
            try:
                with handle.use() as image:
                    return image_info(image, address)[0]
            finally:
                handle.close()

    def open(self, address: RbdAddress, offset: int, length: int | None, ctx: Context) -> Download:
        """Open the image at its snapshot."""
        with self._in(address):
            return self._download(address)

    def open_other(self, source: Driver[Any], address: Address) -> RbdDownload:
        """Open an image of another store for copying it into this one.

        :raises CannotMigrate: it does not lie in this cluster.
        """
        if not isinstance(source, RbdDriver) or not isinstance(address, RbdAddress):
            raise errors.CannotMigrate("the image lies in no Ceph cluster")
        with self.cluster.pool() as pool, source.cluster.pool() as other:
            if pool.fsid != other.fsid:
                raise errors.CannotMigrate("the image lies in another Ceph cluster")
            source._check_cluster(address)
            return source._download(address)

    def _download(self, address: RbdAddress) -> RbdDownload:
        limits = self._limits(2 * REQUEST)
        return RbdDownload(self.cluster, address, limits, max(2, self.in_flight // limits.parallel))

    def list(self, ctx: Context) -> Iterator[Listed[RbdAddress]]:
        """Yield the images that have the snapshot; the others are not complete."""
        with self.cluster.pool() as pool:
            names = [name for name in pool.images.list(pool.ioctx) if not name.startswith(TEMPORARY)]
        for start in range(0, len(names), _BATCH):
            for found in ctx.map(self._listed, names[start : start + _BATCH]):
                yield from found

    def _listed(self, name: str) -> Iterable[Listed[RbdAddress]]:
        with self.cluster.pool() as pool:
            try:
                with opened(self.cluster, name, read_only=True) as image:
                    size = snapshot_of(image)
            except pool.rbd.ImageNotFound:  # gone since, or half gone
                return ()
        if size is None or not name.isprintable():
            return ()
        with contextlib.suppress(errors.BadImageId):
            return (Listed(RbdAddress(self.cluster.fsid, name, SNAPSHOT), check_image_id(name), size),)
        return (Listed(RbdAddress(self.cluster.fsid, name, SNAPSHOT), None, size),)

    # -- writing ------------------------------------------------------------------------------------------------------

    def upload(self, image_id: str, size: int | None, ctx: Context) -> Upload[RbdAddress]:
        """See that the name is free, and of a large image that it fits."""
        with self.cluster.pool() as pool:
            if pool.id_of(image_id) is not None:
                raise errors.Duplicate(f"image {image_id} is there already")
        if size is not None and size >= _LARGE:
            free = self.capacity(ctx).free
            if free is not None and size > free and not self.limits.thin:
                raise errors.StoreFull(f"{size} bytes do not fit: {free} are free; make room or use another store")
        return RbdUpload(self, image_id, size, ctx.owner)

    def delete(self, address: RbdAddress, ctx: Context) -> Deletion:
        """Remove the image, or move it to the trash when clones need it or somebody has it open."""
        with self._in(address):
            return _rbd_delete.remove_image(self.cluster, address.image, self.settings["rbd_store_trash_deferment"])

    # -- the store itself ---------------------------------------------------------------------------------------------

    def probe(self, ctx: Context) -> Probe:
        """See whether a monitor and an OSD answer, and whether the pool is there."""
        with self.cluster.pool() as pool:
            pool.ask_osd(ctx.timeout or self.settings.base.probe_timeout)
            room = self.capacity(ctx)
            pool.prove()
        details = {"fsid": pool.fsid, "pool": self.pool}
        if room.total and room.free is not None and room.free * 20 < room.total:
            return Probe(Status.DEGRADED, f"only {room.free} bytes are free", details)
        return Probe(Status.UP, "", details)

    def capacity(self, ctx: Context) -> Capacity:
        """Return the room of the pool that takes the data, within its quota."""
        name = self.settings["rbd_store_data_pool"] or self.settings["rbd_store_pool"]
        with self.cluster.pool() as pool:
            pools = pool.ask("df", detail="detail")["pools"]
        found = [each["stats"] for each in pools if each["name"] == name]
        if not found:  # a new pool is counted only after some seconds
            return Capacity(None, None, None)
        used, free = int(found[0]["stored"]), int(found[0]["max_avail"])
        quota = int(found[0].get("quota_bytes", 0))
        if quota:
            free = min(free, max(0, quota - used))
        return Capacity(used + free, free, used)

    def backend_id(self) -> str | None:
        """Return the cluster, as far as it is known."""
        return f"ceph:{self.cluster.fsid}" if self.cluster.fsid else None

    def describe(self) -> Mapping[str, Any]:
        """Return what services show of an rbd store."""
        return {
            "pool": self.pool,
            "data_pool": self.settings["rbd_store_data_pool"],
            "chunk_size": self.settings["rbd_store_chunk_size"] * MIB,
            "thin_provisioning": self.settings["rbd_thin_provisioning"],
        }

    def leftovers(self, ctx: Context) -> Iterator[Leftover]:
        """Yield unfinished images, and images that wait in the trash."""
        return _rbd_delete.find_leftovers(self.cluster)

    def sweep(self, leftover: Leftover, ctx: Context) -> None:
        """Remove an unfinished image that nobody writes, or one from the trash that nothing needs any more."""
        _rbd_delete.sweep(self.cluster, leftover)

    def close(self) -> None:
        """End the connection."""
        self.cluster.close()
