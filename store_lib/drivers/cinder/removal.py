"""Deleting volumes, and seeing what became of it: Cinder answers before it is done."""

from __future__ import annotations

from store_lib import errors
from store_lib.drivers.cinder.api import Api, Deadline, Volume, refused
from store_lib.drivers.cinder.attach import Attacher
from store_lib.interface import Deletion

__all__ = ["remove_volume"]

#: Statuses that pass by themselves soon, after which a volume can be deleted.
_PASSING = ("creating", "detaching", "extending", "attaching", "reserved")
#: Seconds in which a reader that has come to its end lets go of a volume: who got all of an image may delete it.
_LEAVING = 10.0


def remove_volume(api: Api, attacher: Attacher, volume: Volume, deadline: Deadline) -> Deletion:
    """Delete a volume; a dead process's attachment does not stand in the way.

    :param deadline: of the whole; a volume that is still being deleted then is DEFERRED.
    :raises InUse: Cinder refuses, or gave up: snapshots, clones or attachments need the volume.
    :raises BackendError: Cinder failed to delete it, now or before.
    """
    leaving = deadline.within(_LEAVING)
    freed = False  # after a refusal it was seen to be free: it may have become so since
    while True:
        try:
            api.delete(volume.id)
            deadline.pause()  # it cannot be gone yet
            return _watch(api, volume, deadline)
        except errors.NotFound:
            return Deletion.DELETED
        except errors.BackendError as error:
            if not refused(error):
                raise
            now = _now(api, volume.id)
            if now is None:
                return Deletion.DELETED
            if now.status == "deleting":
                return _watch(api, volume, deadline)
            if now.status == "error_deleting":  # Cinder takes no second order
                raise api.problem(now) from error
            if not attacher.bury(api, volume.id):
                passes = now.status in _PASSING or (now.status == "in-use" and not leaving.over)
                once_more = now.status == "available" and not freed
                if not (passes or once_more) or deadline.over:
                    raise errors.InUse(f"volume {volume.id} is {now.status}; {error.message}") from error
                freed = now.status == "available"
                deadline.pause()


def _now(api: Api, volume_id: str) -> Volume | None:
    try:
        return api.volume(volume_id)
    except errors.NotFound:
        return None


def _watch(api: Api, volume: Volume, deadline: Deadline) -> Deletion:
    while True:
        now = _now(api, volume.id)
        if now is None:
            return Deletion.DELETED
        if now.status == "error_deleting":
            raise api.problem(now)
        if now.status != "deleting":
            raise errors.InUse(
                f"Cinder could not delete volume {volume.id}, which is {now.status} again: a clone or a client of the "
                "storage still uses it"
            )
        if deadline.over:
            return Deletion.DEFERRED
        deadline.pause()
