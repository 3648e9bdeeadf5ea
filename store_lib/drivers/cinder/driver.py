"""The cinder store: images as volumes of OpenStack's block storage, each attached to this host while it moves.

A volume belongs to one image.  Its metadata tells which, how large it is, and whether it is complete; until then nobody
takes it for an image.  How a volume reaches this host is the business of its protocol's connector.

Location: ``cinder://STORE/VOLUME``, as glance_store writes it; ``cinder://VOLUME`` is read too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from store_lib import errors
from store_lib.drivers.cinder import failures, leftovers, options, values
from store_lib.drivers.cinder.api import Api, Deadline, Volume
from store_lib.drivers.cinder.attach import Attached, Attacher, Readers
from store_lib.drivers.cinder.base import Connector, protocol_of
from store_lib.drivers.cinder.clients import Clients
from store_lib.drivers.cinder.host import Host
from store_lib.drivers.cinder.removal import remove_volume
from store_lib.drivers.cinder.retype import move
from store_lib.drivers.cinder.transfer import CinderDownload, CinderUpload
from store_lib.drivers.cinder.values import CinderAddress
from store_lib.interface import (
    GIB,
    MIB,
    Address,
    Capacity,
    Committed,
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
from store_lib.location_forms import CinderForm
from store_lib.settings import StoreSettings

__all__ = ["CinderAddress", "CinderDriver"]

#: Seconds; where the operator sets no limit.
_FOR_EVER = 365 * 86400.0

_OWN_ONLY = Feature.LIST | Feature.LEFTOVERS | Feature.CAPACITY


class CinderDriver(Driver[CinderAddress]):
    """Images in volumes of Cinder."""

    OPTIONS = options.OPTIONS
    #: Making, exporting and extending a volume are one operation each here, and slow on many arrays.
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"operation_timeout": 900.0, "probe_timeout": 30.0}
    FEATURES = (
        Feature.WRITE
        | Feature.DELETE
        | Feature.RANGES
        | Feature.LIST
        | Feature.CAPACITY
        | Feature.LEFTOVERS
        | Feature.COPY
        | Feature.MOVE
    )
    SCHEMES = ("cinder",)

    def __init__(self, settings: StoreSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        self._clients = Clients(settings, runtime)
        self.attacher = Attacher(settings.id, Host(settings))
        self._readers = runtime.per_process(Readers, lambda readers: None, lambda readers: None)
        # A single store of a service is called like its driver, and its locations never named it.
        self._named = settings.id if settings.id != settings.driver else None

    @classmethod
    def check(cls, settings: StoreSettings) -> Iterable[errors.Mistake]:
        """Yield every mistake in the options."""
        return options.check(settings)

    @property
    def features(self) -> Feature:
        """Listing and counting need one project."""
        return self.FEATURES if self._clients.own else self.FEATURES & ~_OWN_ONLY

    @property
    def limits(self) -> Limits:
        """What serves volumes of every protocol; whether holes may stay unwritten is known once one is attached."""
        return Limits(part_size=8 * MIB, parallel=4, ranges=True, capacity=GIB, quiet_reserve=True, copy_whole=True)

    def translate(self, error: BaseException) -> errors.StoreLibError | None:
        """Return store_lib's error for one of the libraries below, which are imported only once they are needed."""
        return failures.translate(error)

    def extends_attached(self, connector: Connector) -> bool:
        """Whether a volume is extended while it is attached."""
        if self.settings.origin("cinder_do_extend_attached").by_operator:
            return connector.GROWS and bool(self.settings["cinder_do_extend_attached"])
        return connector.GROWS

    def _api(self, ctx: Context) -> Api:
        return Api(self._clients.get(ctx))

    # -- locations ----------------------------------------------------------------------------------------------------

    def parse(self, uri: str) -> CinderAddress:
        """Return the address of ``cinder://store/volume`` or ``cinder://volume``."""
        form = CinderForm.parse(uri)
        if form.store not in (None, self.settings.id):
            raise errors.ForeignLocation(f"{redact(uri)} is of the store {form.store}")
        return CinderAddress(form.volume.lower())

    def uri(self, address: CinderAddress) -> str:
        """Return the location, with the id of the store where there may be several."""
        return CinderForm(self._named, address.volume).clean()

    def prefix(self) -> str | None:
        """Return what locations begin with."""
        return f"cinder://{self._named}" if self._named else "cinder://"

    # -- single images ------------------------------------------------------------------------------------------------

    def _image(self, api: Api, address: CinderAddress) -> Volume:
        """Return the volume of an image.

        :raises ForeignLocation: it is somebody's volume, and no image.
        """
        volume = api.volume(address.volume)
        if values.image_of(volume) is None:
            raise errors.ForeignLocation(f"volume {volume.id} was not made for an image: its metadata names none")
        if not values.is_complete(volume):
            raise errors.NotFound(f"the image in volume {volume.id} is not complete")
        if self.settings.id in values.left_by(volume):
            raise errors.NotFound(f"the image in volume {volume.id} was moved to another store")
        if volume.status == "deleting":
            raise errors.NotFound(f"volume {volume.id} is being deleted")
        return volume

    def stat(self, address: CinderAddress, ctx: Context) -> ObjectInfo:
        return values.info_of(self._image(self._api(ctx), address))

    def open(self, address: CinderAddress, offset: int, length: int | None, ctx: Context) -> Download:
        """Attach the volume, unless this process has it attached for another reader."""
        api = self._api(ctx)
        volume = self._image(api, address)
        readers = self._readers.get()

        def attach() -> Attached:
            return self.attacher.attach(api, volume, False, ctx)

        attached = readers.enter(volume.id, attach)
        return CinderDownload(readers, attached, volume, self.limits, values.info_of(volume))

    def upload(self, image_id: str, size: int | None, ctx: Context) -> Upload[CinderAddress]:
        """Make nothing and look at nothing: a volume has no unique name, and Cinder counts its quota by itself."""
        return CinderUpload(self, self._api(ctx), image_id, size, ctx)

    def delete(self, address: CinderAddress, ctx: Context) -> Deletion:
        """Delete the volume and see what becomes of it for a while."""
        api = self._api(ctx)
        volume = self._image(api, address)
        return remove_volume(api, self.attacher, volume, Deadline(ctx, self.settings["cinder_delete_timeout"]))

    # -- from store to store ------------------------------------------------------------------------------------------

    def kind(self, api: Api) -> str:
        """Return the name of the type of this store's volumes."""
        return self.settings["cinder_volume_type"] or api.default_type()

    def deadline(self, ctx: Context) -> Deadline:
        """Return the end of waiting for what Cinder may do by copying a volume."""
        return Deadline(ctx, self.settings.base.operation_timeout or _FOR_EVER)

    def neighbour(self, source: Driver[Any], address: Address, ctx: Context) -> Volume:
        """Return the volume of an image of another store of the same cloud and project.

        :raises CannotMigrate: it is not that.
        """
        if not isinstance(source, CinderDriver) or not isinstance(address, CinderAddress):
            raise errors.CannotMigrate("the other store is none of Cinder")
        theirs = source._api(ctx)
        if self._api(ctx).place() != theirs.place():
            raise errors.CannotMigrate("the volumes of the two stores are not in one project of one cloud")
        return source._image(theirs, address)

    def move(
        self, address: CinderAddress, target: Driver[Any], image_id: str, ctx: Context
    ) -> Committed[CinderAddress]:
        """Have Cinder give the volume the type of the other store's; it keeps its id."""
        if not isinstance(target, CinderDriver):
            raise errors.CannotMigrate("the other store is none of Cinder")
        volume = target.neighbour(self, address, ctx)
        api = self._api(ctx)
        stores = (self.settings.id, target.settings.id)
        moved = move(api, self.attacher, volume, target.kind(api), stores, image_id, self.deadline(ctx))
        return Committed(CinderAddress(moved.id), values.info_of(moved))

    # -- the store ----------------------------------------------------------------------------------------------------

    def _volumes(self, api: Api) -> Iterator[Volume]:
        """Yield the volumes that hold or will hold images of this store."""
        kind = self.settings["cinder_volume_type"]
        for volume in api.volumes():
            store = volume.metadata.get(values.STORE)
            mine = kind in (None, volume.type) if store is None else store == self.settings.id
            if mine and values.image_of(volume) is not None:
                yield volume

    def list(self, ctx: Context) -> Iterator[Listed[CinderAddress]]:
        """Yield the complete images among the volumes of the project."""
        for volume in self._volumes(self._api(ctx)):
            if values.is_complete(volume) and not volume.status.startswith(("deleting", "error")):
                info = values.info_of(volume)
                yield Listed(CinderAddress(volume.id), _checked(volume), info.size, info.modified)

    def leftovers(self, ctx: Context) -> Iterator[Leftover]:
        """Yield unfinished volumes, and attachments."""
        api = self._api(ctx)
        return leftovers.find(api, self.attacher, self.settings.id, self._volumes(api))

    def sweep(self, leftover: Leftover, ctx: Context) -> None:
        """Remove an unfinished volume, or end an attachment."""
        leftovers.sweep(self._api(ctx), self.attacher, leftover, ctx)

    def probe(self, ctx: Context) -> Probe:
        """Log in, find Cinder in the catalog, and see that the volume type is there and a volume service is up."""
        self.attacher.host.directory()
        if not self._clients.own:
            return Probe(Status.UP, "requests carry the tokens of their callers: without one, nothing can be asked")
        api = self._api(ctx)
        kind = self.settings["cinder_volume_type"]
        names = api.types()
        if kind and kind not in names:
            known = ", ".join(sorted(names)) or "none"
            reason = f"there is no volume type {kind!r} for this project, only: {known}; see to cinder_volume_type"
            return Probe(Status.DOWN, reason)
        services = api.services()
        details: dict[str, Any] = {"volume_type": kind, "protocol": self.attacher.protocol}
        if services is not None:
            details["protocol"] = self.attacher.protocol or protocol_of(self._pools(api))
            up = [state == "up" for name, state in services if name == "cinder-volume"]
            details["volume_services_up"] = sum(up)
            if not any(up):
                return Probe(Status.DOWN, "no volume service of Cinder is up", details)
        return Probe(Status.UP, "", details)

    def capacity(self, ctx: Context) -> Capacity:
        """Return the room that the project's quota leaves, and the pools of the volume type where they may be seen."""
        api = self._api(ctx)
        quota = api.quota()
        rooms = [Capacity(quota[0], max(0, quota[0] - quota[1]), min(quota))] if quota else []
        rooms += self._rooms(api)
        known = [room for room in rooms if room.free is not None]
        return min(known, key=lambda room: room.free or 0) if known else Capacity(None, None, None)

    def _pools(self, api: Api) -> Sequence[Mapping[str, Any]]:
        """Return the pools that take volumes of the type, as far as they may be seen."""
        pools = api.pools()
        kind = self.settings["cinder_volume_type"]
        if not pools:
            return ()
        backend = api.specs(kind).get("volume_backend_name") if kind else None
        return [each for each in pools if backend in (None, each.get("volume_backend_name"))]

    def _rooms(self, api: Api) -> Iterable[Capacity]:
        """Return the room of the largest pool that takes volumes of the type; a volume lies in one pool."""
        rooms = [room for room in map(_room, self._pools(api)) if room.free is not None]
        return [max(rooms, key=lambda room: room.free or 0)] if rooms else ()

    def backend_id(self) -> str | None:
        """Return the cloud and the project, as the settings name them."""
        address = self.settings["cinder_store_auth_address"]
        if not self._clients.own:
            return None
        region = self.settings["cinder_os_region_name"] or ""
        return f"cinder:{str(address).rstrip('/').removesuffix('/v3')}:{region}"

    def describe(self) -> Mapping[str, Any]:
        """Return what services show of a cinder store."""
        return {
            "volume_type": self.settings["cinder_volume_type"],
            "use_multipath": self.settings["cinder_use_multipath"],
            "project": self.settings["cinder_store_project_name"],
        }

    def close(self) -> None:
        """Let go of the client; what is being read stays attached until it is closed."""
        self._clients.close()


def _room(pool: Mapping[str, Any]) -> Capacity:
    """Return the room of a pool, which may be told as ``unknown`` or ``infinite``."""
    try:
        total, free = (int(float(pool[f"{name}_capacity_gb"]) * GIB) for name in ("total", "free"))
    except (KeyError, TypeError, ValueError, OverflowError):
        return Capacity(None, None, None)
    return Capacity(total, min(free, total), max(0, total - free))


def _checked(volume: Volume) -> str | None:
    """Return the id of the image, None when it is none that a service may have given."""
    try:
        return check_image_id(values.image_of(volume) or "")
    except errors.BadImageId:
        return None
