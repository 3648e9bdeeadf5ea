"""What dead transfers left: unfinished volumes, and attachments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from store_lib import errors
from store_lib.drivers.cinder import values
from store_lib.drivers.cinder.api import Api, Deadline, Volume, moment
from store_lib.drivers.cinder.attach import Attacher
from store_lib.drivers.cinder.removal import remove_volume
from store_lib.interface import Context, Leftover, Owner

__all__ = ["find", "sweep"]

#: Statuses of a volume that somebody has attached, or wants to.
_ATTACHED = ("reserved", "attaching", "in-use", "detaching")
#: Seconds for removing one volume.
_REMOVING = 60.0


def find(api: Api, attacher: Attacher, store: str, volumes: Iterator[Volume]) -> Iterator[Leftover]:
    """Yield unfinished volumes, and attachments of volumes with images, alive ones included.

    :param volumes: of the project, which hold or will hold images of the store.
    """
    notes = {note.attachment: note for note in attacher.notes.all() if note.store == store}
    unfinished = set()
    told = set()
    for volume in volumes:
        if not values.is_complete(volume):
            unfinished.add(volume.id)
            owner = values.owner_of(volume.metadata)
            ours = [note for note in notes.values() if note.volume == volume.id]
            alive, stuck = any(not note.dead for note in ours), any(note.stuck for note in ours)
            address = ("volume", volume.id)
            yield Leftover("unfinished volume", address, owner, volume.modified, volume.size, alive, stuck)
        elif volume.status in _ATTACHED:
            for each in api.attachments(volume.id):
                told.add(each.id)
                yield _attachment(each, volume, notes.get(each.id))
    for note in notes.values():
        if note.attachment not in told and note.volume not in unfinished:
            place = ("attachment", note.attachment, note.volume)
            yield Leftover("attachment", place, Owner.decode(note.owner), alive=not note.dead, abandoned=note.stuck)


def _attachment(attachment: Any, volume: Volume, note: Any) -> Leftover:
    attached = moment(getattr(attachment, "attached_at", None)) or volume.modified  # one that never came so far
    owner = Owner.decode(note.owner) if note is not None else None
    alive, stuck = (not note.dead, note.stuck) if note is not None else (False, False)
    place = ("attachment", attachment.id, volume.id)
    return Leftover("attachment", place, owner, attached, alive=alive, abandoned=stuck)


def sweep(api: Api, attacher: Attacher, leftover: Leftover, ctx: Context) -> None:
    """Remove an unfinished volume, or end an attachment; looks once more before."""
    kind, name = leftover.address[:2]
    if kind == "volume":
        _sweep_volume(api, attacher, name, ctx)
        return
    note = next((each for each in attacher.notes.all() if each.attachment == name), None)
    if note is not None and not note.dead:
        raise errors.InUse(f"volume {note.volume} is being used by another process of this host")
    if note is not None:
        attacher.end(api, note)
        return
    if api.connection(name) is None:
        raise errors.NotFound(f"the attachment {name} is gone")
    api.release(name)


def _sweep_volume(api: Api, attacher: Attacher, name: str, ctx: Context) -> None:
    volume = api.volume(name)
    if values.is_complete(volume):
        raise errors.InUse(f"volume {name} holds an image")
    notes = [each for each in attacher.notes.all() if each.volume == name]
    if any(not each.dead for each in notes):
        raise errors.InUse(f"volume {name} is being written by another process of this host")
    attacher.bury(api, name)
    for each in api.attachments(name):
        api.release(each.id)
    remove_volume(api, attacher, volume, Deadline(ctx, _REMOVING))
