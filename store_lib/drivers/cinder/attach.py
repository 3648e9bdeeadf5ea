"""Attaching volumes: the cycle with Cinder, conflicts with others, readers that share, what the dead have left."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from store_lib import errors
from store_lib.drivers.cinder import failures
from store_lib.drivers.cinder.api import Api, Deadline, Volume, refused
from store_lib.drivers.cinder.base import Connector, Device, connector_of
from store_lib.drivers.cinder.host import Host
from store_lib.drivers.cinder.notes import Note, Notes
from store_lib.interface import Context

__all__ = ["Attached", "Attacher", "Readers"]

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Statuses in which a volume may be free in a while.
_OCCUPIED = {
    *("creating", "reserved", "attaching", "detaching", "in-use", "extending", "maintenance", "backing-up"),
    *("restoring-backup", "retyping", "uploading", "downloading", "awaiting-transfer"),
}


class Attached:
    """A volume that is attached to this host, or on its way there.

    :param note: of this attachment.
    """

    connector: Connector
    device: Device

    def __init__(self, attacher: Attacher, api: Api, volume: Volume, note: Note) -> None:
        self._attacher = attacher
        self._api = api
        self._volume = volume
        self._note = note
        self._lock = threading.Lock()
        self._connection: Mapping[str, Any] = {}
        self._reached = self._ended = False
        self._own = True  # this process has attached it
        self._process = os.getpid()

    def __del__(self) -> None:
        if self._process == os.getpid():
            with contextlib.suppress(Exception):  # nobody is left to be told
                self.abandon()

    @property
    def here(self) -> bool:
        """Whether this host has it, or may have, in whole or in part."""
        return self._reached

    def attach(self) -> None:
        """Bring the volume here and open it."""
        host, notes = self._attacher.host, self._attacher.notes
        notes.write(self._note)
        self._connection = self._api.export(self._note.attachment, host.properties())
        self.connector = connector_of(host, str(self._connection["driver_volume_type"]))
        self._attacher.protocol = self.connector.protocol
        self._note = dataclasses.replace(self._note, protocol=self.connector.protocol)
        notes.write(self._note)
        with self._held():
            self._reached = True
            self.device = self.connector.attach(self._connection, self._note.writable)
        self._note = dataclasses.replace(self._note, info=self.device.info)
        notes.write(self._note)
        self._api.complete(self._note.attachment)

    def recall(self, connection: Mapping[str, Any]) -> None:
        """Take over what a dead process had attached, for detaching it."""
        self._connection = connection
        self.connector = connector_of(self._attacher.host, self._note.protocol)
        self._reached, self._own = True, self._note.own

    def grow(self, size: int) -> None:
        """Have this host see that the volume has grown to `size` bytes."""
        self.connector.grow(self._connection, self.device, size)

    def detach(self) -> None:
        """Close and detach it, whatever came of attaching it; harmless when repeated.

        :raises Exception: a step failed; another call tries what failed, and what had to wait for it, once more.
        """
        problems: list[Exception] = []

        def attempt(step: Callable[[], Any]) -> None:
            try:
                step()
            except Exception as error:
                problems.append(error)

        with self._lock:
            if self._ended:
                return
            if hasattr(self, "device"):
                attempt(self.device.close)
            attempt(self._let_go)
            if not problems:
                attempt(lambda: self._attacher.notes.remove(self._note.attachment))
            self._ended = not problems
        for problem in problems:
            LOG.warning("volume %s could not be detached cleanly: %s", self._volume.id, str(problem))
        if problems:
            raise problems[0]

    def leave(self) -> None:
        """Detach it; what fails of that is left to others.

        :raises Exception: as `detach`.
        """
        try:
            self.detach()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Leave what could not be detached to the next who wants the volume, or to a sweep; harmless when repeated."""
        with self._lock:
            if self._ended:
                return
            notes, note = self._attacher.notes, self._note
            if not self._reached:  # this host let go of it already, which counts only once
                note = dataclasses.replace(note, info={})
            elif not note.dead:  # that of another process stays what it is
                note = dataclasses.replace(note, stuck=True)
            if note != self._note:
                with contextlib.suppress(OSError):  # a full disk; dropped it is all the same
                    notes.write(note)
            notes.drop(note.attachment)
            self._ended = True

    def _let_go(self) -> None:
        """Disconnect this host from the volume, if nobody else on it uses it, and then end the attachment.

        Not before: Cinder takes the export away beneath the device, and forgets what it would be detached by.
        """
        with contextlib.ExitStack() as held:
            if self._reached:
                self._disconnect(held)
            _several(lambda: self._api.release(self._note.attachment))
            self._reached = False

    def _disconnect(self, held: contextlib.ExitStack) -> None:
        """Take the device away from this host, unless others on it use it.

        :param held: gets the lock of the device.
        :raises StoreLibError: it stays, or may stay; says what to do.
        """
        try:
            held.enter_context(self._held())
            if not _several(self._others):
                self.connector.detach(self._connection, self._note.info, self._own)
                self._reached = False
        except Exception as error:
            known = _known(error)
            if known is None:  # a bug
                raise
            known.message = (
                f"volume {self._volume.id} stays attached: {known.message}; once that is mended, 'store-lib store "
                f"sweep {self._note.store}' on this host detaches it, and so does the next who uses it here"
            )
            if known is error:
                raise
            raise known from error

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the volume's device, where the attachments of this host share one."""
        if not self.connector.SHARED:
            yield
            return
        with self._attacher.host.locked("volume", self._volume.id):
            yield

    def _others(self) -> bool:
        """Whether another attachment of this host uses the device as well."""
        if not (self.connector.SHARED and self._volume.multiattach):
            return False
        here = self._attacher.host.properties()["host"]
        return any(
            each.id != self._note.attachment
            and (each.to_dict().get("connection_info") or {}).get("attached_host", here) == here
            for each in self._api.attachments(self._volume.id)
        )


class Attacher:
    """Attaches volumes to this host for one store.  Safe for threads."""

    def __init__(self, store: str, host: Host) -> None:
        self._store = store
        self.host = host
        self.notes = Notes(host)
        #: Of the volume that was attached last; None when there was none.
        self.protocol: str | None = None

    def attach(self, api: Api, volume: Volume, writable: bool, ctx: Context) -> Attached:
        """Attach a volume and open it, waiting for others that have it attached.

        :raises Busy: they have it for longer than is waited.
        """
        deadline = Deadline(ctx, self.host.patience)
        self.host.properties()  # what they cost is not to be spent while the volume is reserved
        attachment = self._reserve(api, volume, writable, deadline)
        note = Note(attachment, volume.id, self._store, "", ctx.owner.encode(), {}, writable)
        attached = Attached(self, api, volume, note)
        try:
            attached.attach()
        except BaseException as error:
            with contextlib.suppress(Exception):  # the first error is the one to tell; this one is logged
                attached.leave()
            known = _known(error) if attached.here else None
            if known is None:
                raise
            known.transient = False  # another try had to detach it first, and failing that would tell of that
            if known is error:
                raise
            raise known from error
        LOG.debug("volume %s is attached by %s", volume.id, attached.connector.protocol)
        return attached

    def _reserve(self, api: Api, volume: Volume, writable: bool, deadline: Deadline) -> str:
        while True:
            try:
                return api.reserve(volume.id, writable)
            except errors.BackendError as error:
                if not refused(error):
                    raise
                self._until_free(api, volume.id, deadline, error)

    def _until_free(self, api: Api, volume_id: str, deadline: Deadline, error: errors.BackendError) -> None:
        """Return once it is worth while to try again to reserve a volume, which Cinder refused just now.

        Looking is cheaper for Cinder than refusing.
        """
        looked = False
        while True:
            now = api.volume(volume_id)
            free = now.status == "available"
            if not (free or now.status in _OCCUPIED):
                raise api.problem(now) from error
            if deadline.over:
                raise errors.Busy(
                    f"volume {volume_id} is {now.status} for longer than {deadline.seconds:g} s; a volume type "
                    "with multiattach lets several hosts read an image at once"
                ) from error
            if (free and looked) or self.bury(api, volume_id):
                return
            deadline.pause()
            if free or now.multiattach:
                return
            looked = True

    @staticmethod
    def _volume(api: Api, volume_id: str) -> Volume | None:
        try:
            return api.volume(volume_id)
        except errors.NotFound:
            return None

    # -- what the dead have left --------------------------------------------------------------------------------------

    def bury(self, api: Api, volume_id: str) -> bool:
        """Detach what dead processes of this host have left of a volume; return whether there was something.

        :raises Exception: some of it could not be detached; its note stays.
        """
        found = [note for note in self.notes.all() if note.volume == volume_id and note.dead]
        for note in found:
            self.end(api, note)
        return bool(found)

    def end(self, api: Api, note: Note) -> None:
        """Detach what a dead process has left; where Cinder knows of no such attachment, only the note goes.

        :raises Exception: it could not be detached; the note stays.
        """
        with self.host.locked("attachment", note.attachment):
            if all(each.attachment != note.attachment or not each.dead for each in self.notes.all()):
                return  # another process was faster
            volume = self._volume(api, note.volume)
            connection = api.connection(note.attachment) if volume is not None else None
            if volume is not None and connection and note.protocol:
                attached = Attached(self, api, volume, note)
                attached.recall(connection)
                attached.detach()
            else:
                if path := note.info.get("path"):
                    LOG.warning("Cinder does not know that this host has volume %s: look at %s", note.volume, path)
                api.release(note.attachment)
                self.notes.remove(note.attachment)
        LOG.info("volume %s, which a dead process had attached, was detached", note.volume)


def _known(error: BaseException) -> errors.StoreLibError | None:
    """Return store_lib's error for what failed on this host; None for a bug, and for an interrupt."""
    return error if isinstance(error, errors.StoreLibError) else failures.translate(error)


def _several(step: Callable[[], T]) -> T:
    """Return what a step returns that must not be left undone: done again at once if it fails for a passing reason."""
    for _ in range(2):
        try:
            return step()
        except errors.StoreLibError as error:
            if not error.transient:
                raise
    return step()


@dataclasses.dataclass
class _Shared:
    attached: Attached | None = None
    users: int = 0
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


class Readers:
    """Volumes that this process reads: each is attached once, for all who read it at the same time."""

    def __init__(self) -> None:
        self._volumes: dict[str, _Shared] = {}
        self._lock = threading.Lock()

    def enter(self, volume_id: str, attach: Callable[[], Attached]) -> Attached:
        """Return the volume attached for reading; `leave` must follow."""
        with self._lock:
            shared = self._volumes.setdefault(volume_id, _Shared())
            shared.users += 1
        try:
            with shared.lock:  # the second waits for the first
                if shared.attached is None:
                    shared.attached = attach()
                return shared.attached
        except BaseException:
            self._count_out(volume_id, shared)
            raise

    def leave(self, volume_id: str) -> None:
        """Undo one `enter`; the last one detaches."""
        with self._lock:
            shared = self._volumes[volume_id]
        attached = self._count_out(volume_id, shared)
        if attached is not None:
            attached.leave()

    def _count_out(self, volume_id: str, shared: _Shared) -> Attached | None:
        with self._lock:
            shared.users -= 1
            if shared.users:
                return None
            self._volumes.pop(volume_id, None)
            attached, shared.attached = shared.attached, None
            return attached
