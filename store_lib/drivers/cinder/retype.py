"""Images that change their store inside one cloud: Cinder gives their volumes another type and brings them there."""

from __future__ import annotations

from store_lib import errors
from store_lib.drivers.cinder import values
from store_lib.drivers.cinder.api import Api, Deadline, Volume, refused
from store_lib.drivers.cinder.attach import Attacher
from store_lib.errors import Outcome

__all__ = ["move", "retype"]

#: Looks for the new type once a volume has left the state of getting it, and how often a last request is sent.
_LOOKS, _TRIES = 3, 4


def retype(api: Api, volume: Volume, kind: str, deadline: Deadline) -> Volume:
    """Have a volume get another type, and wait until it has it; it keeps id and metadata.

    Cinder asks the backend, or copies the volume by itself where that cannot, and mostly loses the read-only flag then.
    What goes wrong it does not tell: the volume is then as it was.

    :param volume: that nobody uses.
    :param kind: name of the type.
    :raises CannotMigrate: it stays what it was.
    :raises OperationTimeout: Cinder is still at it.
    """
    if volume.type != kind and volume.status != "retyping":
        try:
            api.retype(volume.id, kind)
        except (errors.BackendError, errors.Forbidden, errors.StoreFull) as error:  # a policy, a quota of that type
            if isinstance(error, errors.BackendError) and not refused(error):
                raise
            raise errors.CannotMigrate(f"volume {volume.id} does not get the type {kind}: {error.message}") from error
        deadline.pause()
    now = _settled(api, volume, kind, deadline)
    for _ in range(_LOOKS):
        if now.type == kind:
            return now
        deadline.pause()
        now = _settled(api, volume, kind, deadline)
    reason = api.problem(now).message
    raise errors.CannotMigrate(f"Cinder did not give volume {volume.id} the type {kind}, it has {now.type}: {reason}")


def _settled(api: Api, volume: Volume, kind: str, deadline: Deadline) -> Volume:
    """Return the volume once it has the type, or does not get it any more."""
    while True:
        now = api.volume(volume.id)
        if now.status == "available":
            return now
        if now.status != "retyping":
            raise api.problem(now)
        if deadline.over:
            raise errors.OperationTimeout(
                f"after {deadline.seconds:g} s Cinder is still giving volume {volume.id} the type {kind}, and goes on; "
                "ask for it once more later, or set operation_timeout to what a volume of this size takes",
                transient=False,
                outcome=Outcome.NOT_DONE,
            )
        deadline.pause()


def move(
    api: Api, attacher: Attacher, volume: Volume, kind: str, stores: tuple[str, str], image_id: str, deadline: Deadline
) -> Volume:
    """Bring the image of a volume from one store into another and return the volume.

    Until the last step it is an image of the first store, wherever its bytes lie; by that it has left it.  Repeatable.

    :param kind: type of the volumes of the second store.
    :param stores: ids of the first and the second store.
    :param image_id: that it has from then on.
    :raises CannotMigrate: Cinder cannot, and the image is where it was.
    """
    try:
        free = _free(api, attacher, volume)
        now = retype(api, free, kind, deadline)
        name = values.name_of(image_id)
        if now.name != name:
            api.rename(now.id, name)
        api.seal(now.id)
    except errors.StoreLibError as error:
        error.outcome = Outcome.NOT_DONE  # all of it may be asked for again
        raise
    _note(api, now, values.moved(now, image_id, *stores), deadline)
    return now  # as it was just before: what failed from here on would be told as if the image were nowhere


def _free(api: Api, attacher: Attacher, volume: Volume) -> Volume:
    """Return the volume as it is now that no dead process has it attached.

    :raises CannotMigrate: others use it, or it cannot be used.
    """
    if volume.status in ("reserved", "attaching", "in-use") and attacher.bury(api, volume.id):
        volume = api.volume(volume.id)
    if volume.status not in ("available", "retyping"):
        raise errors.CannotMigrate(f"volume {volume.id} is {volume.status}")
    return volume


def _note(api: Api, volume: Volume, told: dict[str, str], deadline: Deadline) -> None:
    """Write the metadata by which the image changes its store, and see that they are written.

    :raises StoreLibError: outcome unknown: the image is in one of the two stores.
    """
    for attempt in range(1, _TRIES + 1):
        try:
            api.note(volume.id, told)
            return
        except errors.StoreLibError as error:
            if not error.transient or attempt == _TRIES or deadline.over:
                error.outcome = Outcome.UNKNOWN
                raise
        deadline.pause()
