"""Reading and writing images in volumes."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from store_lib import errors
from store_lib.drivers._keystone import Caller
from store_lib.drivers.cinder import values
from store_lib.drivers.cinder.api import Api, Deadline, Volume, refused
from store_lib.drivers.cinder.attach import Attached, Readers
from store_lib.drivers.cinder.removal import remove_volume
from store_lib.drivers.cinder.retype import retype
from store_lib.drivers.cinder.values import CinderAddress
from store_lib.errors import Outcome
from store_lib.interface import (
    GIB,
    KIB,
    Address,
    Committed,
    Context,
    Download,
    Driver,
    Extent,
    Leftover,
    Limits,
    ObjectInfo,
    Part,
    Token,
    Upload,
)

if TYPE_CHECKING:
    from store_lib.drivers.cinder.driver import CinderDriver

__all__ = ["CinderDownload", "CinderUpload"]

LOG = logging.getLogger(__name__)

#: Statuses on the way to a volume that can be used.
_MAKING = ("creating", "downloading")
#: Statuses of a volume that is attached, or on the way there.
_ATTACHED = ("reserved", "attaching", "in-use", "detaching")
#: Seconds for removing the volume of a transfer that failed.
_CLEARING = 60.0
#: Looks for a volume whose making was not confirmed.
_LOOKS = 5


class CinderDownload(Download):
    """A volume attached for reading."""

    def __init__(self, readers: Readers, attached: Attached, volume: Volume, limits: Limits, info: ObjectInfo) -> None:
        self.info = info
        self.limits = limits
        self._readers = readers
        self._attached: Attached | None = attached
        self._volume = volume

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of the range."""
        attached = self._attached
        if attached is None:
            raise errors.StoreUnavailable("the image was closed", transient=False)
        yield from attached.device.read(offset, length)

    def extents(self, offset: int, length: int) -> Iterable[Extent] | None:
        """Return data and holes where the protocol tells them."""
        attached = self._attached
        return None if attached is None else attached.device.extents(offset, length)

    def close(self) -> None:
        """Detach the volume, if nobody else in this process reads it."""
        attached, self._attached = self._attached, None
        if attached is None:
            return
        with contextlib.suppress(Exception):  # it was logged, and a note of it stays for the next who wants the volume
            self._readers.leave(self._volume.id)


class CinderUpload(Upload[CinderAddress]):
    """A volume that an image is written into; its metadata tells that it is not complete."""

    def __init__(self, driver: CinderDriver, api: Api, image_id: str, size: int | None, ctx: Context) -> None:
        self.uuid = ctx.owner.upload
        self._driver = driver
        self._api = api
        self._image_id = image_id
        self._size = size
        self._ctx = ctx
        self._capacity = values.rounded(size or 0)
        self.limits = dataclasses.replace(driver.limits, capacity=self._capacity)
        self._volume: str | None = None
        self._attached: Attached | None = None
        self._lost = self._committing = False
        self._committed: Committed[CinderAddress] | None = None

    def _deadline(self) -> Deadline:
        return Deadline(self._ctx, self._driver.settings["cinder_state_transition_timeout"])

    def start(self) -> None:
        """Have a volume made, and attach it; another call goes on where one failed."""
        new = self._volume is None
        if new:
            self._create(self._capacity, self._driver.settings["cinder_volume_type"])
        assert self._volume is not None
        volume = self._api.wait(self._volume, ("available", *_ATTACHED), _MAKING, self._deadline(), asked=new)
        try:
            if volume.status != "available":
                self._free()
                volume = self._api.wait(self._volume, ("available",), _ATTACHED, self._deadline())
            self._attach(volume)
        except errors.StoreLibError as error:
            error.outcome = Outcome.NOT_DONE  # the volume is known: one more try leaves no second one
            raise

    def _free(self) -> None:
        """End what requests without an answer have left: nobody else knows of the volume.

        :raises Exception: this host still has the volume, by an attachment that must stay until it has not.
        """
        assert self._volume is not None
        self._driver.attacher.bury(self._api, self._volume)
        for each in self._api.attachments(self._volume):
            self._api.release(each.id)

    def _create(self, size: int, kind: str | None, source: str | None = None) -> None:
        project = Caller(self._ctx.caller).project
        store = self._driver.settings.id
        metadata = values.metadata_of(self._image_id, store, self._ctx.owner, project, self._size)
        try:
            self._volume = self._api.create(values.name_of(self._image_id), size, kind, metadata, source)
        except errors.StoreLibError as error:
            self._lost = error.outcome is Outcome.UNKNOWN
            raise

    def _attach(self, volume: Volume) -> None:
        self._attached = self._driver.attacher.attach(self._api, volume, True, self._ctx)
        seen = self._attached.device.size()
        if seen < self._capacity:
            raise errors.StoreUnavailable(f"the volume has {self._capacity} bytes, and this host sees {seen}")
        # Only now it is known what the volume holds where nothing is written.
        sparse = 64 * KIB if self._attached.connector.ZEROED else 0
        self.limits = dataclasses.replace(self.limits, sparse=sparse)

    def _writable(self) -> Attached:
        if self._attached is None:
            raise errors.BackendError("the upload has not begun, or has ended")
        return self._attached

    def write_part(self, part: Part) -> Token:
        """Write the bytes at their place."""
        self._writable().device.write(part.data, part.offset)
        return part.length

    # -- copying inside Cinder ----------------------------------------------------------------------------------------

    def copy_whole(self, source: Driver[Any], address: Address) -> None:
        """Have Cinder clone the volume, and bring the clone to the backend of this store where that is another."""
        self._forget()
        volume = self._driver.neighbour(source, address, self._ctx)
        kind = self._driver.kind(self._api)
        deadline = self._driver.deadline(self._ctx)
        try:
            self._clone(volume, kind)
            assert self._volume is not None
            made = self._api.wait(self._volume, ("available",), _MAKING, deadline, asked=True)
            retype(self._api, made, kind, deadline)
        except (errors.CannotMigrate, errors.BackendError, errors.StoreFull) as error:  # full may be the other backend
            self._forget()
            raise errors.CannotMigrate(f"Cinder does not clone volume {volume.id}: {error.message}") from error
        except errors.StoreLibError as error:
            if self._volume is not None:  # one more try removes it first
                error.outcome = Outcome.NOT_DONE
            raise

    def _forget(self) -> None:
        """Remove the clone that a try has left."""
        if self._volume is not None or self._lost:
            self._remove()
        self._volume, self._lost = None, False

    def _clone(self, volume: Volume, kind: str) -> None:
        try:
            self._create(volume.size, kind, volume.id)
        except errors.BackendError as error:
            if not refused(error) or volume.type in (None, kind):
                raise
            self._create(volume.size, volume.type, volume.id)  # a clone for another backend is first one for its own

    # -- growing ------------------------------------------------------------------------------------------------------

    def reserve(self, at_least: int) -> int:
        """Have the volume grow, by more than is needed, where there is room for that."""
        for size in dict.fromkeys((self._grown(at_least), values.rounded(at_least))):
            try:
                self._extend(size)
            except errors.StoreFull:
                if size == values.rounded(at_least):
                    raise
                continue
            self._capacity = size
            return size
        raise AssertionError("there always is a size to try")

    def _grown(self, at_least: int) -> int:
        settings = self._driver.settings
        share = self._capacity * settings["cinder_extend_percent"] // 100
        step = max(settings["cinder_extend_step"] * GIB, share)
        return values.rounded(max(at_least, self._capacity + step))

    def _extend(self, size: int) -> None:
        assert self._volume is not None
        if self._attached is not None and self._driver.extends_attached(self._attached.connector):
            try:
                self._api.extend(self._volume, size)
                after = self._api.wait(self._volume, ("in-use",), ("extending",), self._deadline(), asked=True)
                self._check_size(after, size)
                self._attached.grow(size)
                return
            except errors.BackendError as error:  # refused, or failed later: this kind of storage cannot, just now
                LOG.info("volume %s cannot be extended while it is attached: %s", self._volume, error.message)
        self._extend_detached(size)

    def _extend_detached(self, size: int) -> None:
        assert self._volume is not None
        if self._attached is not None:
            self._attached.device.flush()
        self._detach()
        # What failed to grow while it was attached comes back once it is not.
        passing = ("in-use", "detaching", "error_extending")
        before = self._api.wait(self._volume, ("available",), passing, self._deadline())
        if before.size >= size:  # what seemed to fail while it was attached has happened
            self._attach(before)
            return
        try:
            self._api.extend(self._volume, size)
            after = self._api.wait(self._volume, ("available",), ("extending",), self._deadline(), asked=True)
            self._check_size(after, size)
        except errors.StoreFull:
            if self._api.volume(self._volume).status == "available":  # a smaller step may do
                self._attach(before)
            raise
        self._attach(after)

    def _check_size(self, volume: Volume, size: int) -> None:
        """See that a volume has grown: where no backend has room, it just returns to the state that it was in."""
        if volume.size < size:
            raise self._api.problem(volume)

    def _detach(self) -> None:
        if self._attached is not None:
            self._attached.detach()
            self._attached = None

    # -- the end ------------------------------------------------------------------------------------------------------

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[CinderAddress]:
        """Detach the volume, make it read-only and have its metadata say that the image is complete."""
        if self._volume is None:
            raise errors.BackendError("the upload has not begun")
        if self._attached is not None:
            self._attached.device.flush()
        self._detach()
        self._api.seal(self._volume)
        self._committing = True
        self._api.note(self._volume, {values.SIZE: str(size), values.STATE: values.COMPLETE})
        return self._done(ObjectInfo(size, version=self._volume))

    def _done(self, info: ObjectInfo) -> Committed[CinderAddress]:
        assert self._volume is not None
        self._committed = Committed(CinderAddress(self._volume), info)
        return self._committed

    def outcome(self) -> Committed[CinderAddress] | None:
        """Look whether the metadata of this upload's volume says that it is complete."""
        if self._volume is None or not self._committing:
            return None
        try:
            volume = self._api.volume(self._volume)
        except errors.NotFound:
            return None
        return self._done(values.info_of(volume)) if values.is_complete(volume) else None

    def abort(self) -> Sequence[Leftover]:
        """Detach the volume, and delete it unless it holds the image."""
        try:
            self._detach_for_good()
            if self._committed is None and self._committing:
                self.outcome()
            if self._committed is None:
                self._remove()
        except Exception as error:
            if self._driver.translate(error) is None and not isinstance(error, errors.StoreLibError):
                raise  # a bug
            LOG.info("clearing away after image %s failed: %s", self._image_id, str(error))
            if self._volume is None:
                return ()
            return (Leftover("unfinished volume", ("volume", self._volume), self._ctx.owner),)
        return ()

    def _detach_for_good(self) -> None:
        try:
            self._detach()
        except Exception as error:
            LOG.info("volume %s is still attached: %s", self._volume, type(error).__name__)
            assert self._attached is not None
            attached, self._attached = self._attached, None
            attached.abandon()
            if attached.here:  # to try that once more at once would take as long: it is for a sweep
                raise

    def _remove(self) -> None:
        deadline = Deadline(self._ctx, _CLEARING)
        if self._volume is None and self._lost:
            self._find(deadline)
        if self._volume is None:
            return
        try:
            volume = self._api.volume(self._volume)
        except errors.NotFound:
            return
        if volume.status in _ATTACHED:
            self._free()
        else:
            self._driver.attacher.bury(self._api, volume.id)
        remove_volume(self._api, self._driver.attacher, volume, deadline)

    def _find(self, deadline: Deadline) -> None:
        """Look for the volume whose making was asked for without an answer."""
        for _ in range(_LOOKS):
            found = [*self._api.volumes({"metadata": {values.UPLOAD: self._ctx.owner.encode()}})]
            if found:
                self._volume = found[0].id
                return
            deadline.pause()
