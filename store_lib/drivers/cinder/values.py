"""Values of the cinder store: addresses, and what the metadata of its volumes says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from store_lib.drivers.cinder.api import Volume
from store_lib.interface import GIB, Address, ObjectInfo, Owner

__all__ = [
    *("IMAGE", "CinderAddress", "image_of", "info_of", "is_complete", "left_by", "metadata_of", "moved", "name_of"),
    *("owner_of", "rounded"),
]

#: Metadata that glance_store and Cinder itself know.
IMAGE, SIZE, OWNER = "glance_image_id", "image_size", "image_owner"
#: Metadata of store_lib: who writes the volume, how far it is, which store it is of, and which ones it has left: a
#: volume that is moved keeps its id, by which its old locations name it.
UPLOAD, STATE, STORE, LEFT = "store_lib_upload", "store_lib_state", "store_lib_store", "store_lib_left"
UPLOADING, COMPLETE = "uploading", "complete"
#: Longest name and longest value that Cinder takes.
_LONGEST = 255


@dataclasses.dataclass(frozen=True)
class CinderAddress(Address):
    """A volume.

    :param volume: its id.
    """

    volume: str


def name_of(image_id: str) -> str:
    """Return the name of the volume of an image."""
    return f"image-{image_id}"[:_LONGEST]


def metadata_of(image_id: str, store: str, owner: Owner, project: str | None, size: int | None) -> dict[str, str]:
    """Return the metadata of a volume that an image is being written into."""
    told = {IMAGE: image_id, STORE: store, UPLOAD: owner.encode(), STATE: UPLOADING}
    if project:
        told[OWNER] = project
    if size is not None:
        told[SIZE] = str(size)
    return told


def image_of(volume: Volume) -> str | None:
    """Return the id of the image that a volume is made for, None when it is for none."""
    return volume.metadata.get(IMAGE)


def is_complete(volume: Volume) -> bool:
    """Whether the image is there, not on its way."""
    return volume.metadata.get(STATE, COMPLETE) == COMPLETE


def left_by(volume: Volume) -> tuple[str, ...]:
    """Return the ids of the stores that the image was moved away from."""
    return tuple(filter(None, volume.metadata.get(LEFT, "").split(",")))


def moved(volume: Volume, image_id: str, store: str, target: str) -> dict[str, str]:
    """Return the metadata of a volume whose image goes from one store to another."""
    left = [each for each in (*left_by(volume), store) if each != target]
    while len(",".join(dict.fromkeys(left))) > _LONGEST:  # who has known it longest is the least likely to ask for it
        del left[0]
    return {IMAGE: image_id, STORE: target, LEFT: ",".join(dict.fromkeys(left))}


def owner_of(metadata: Mapping[str, str]) -> Owner | None:
    """Return who made a volume."""
    return Owner.decode(metadata.get(UPLOAD, ""))


def info_of(volume: Volume) -> ObjectInfo:
    """Return what is told of an image."""
    told = volume.metadata.get(SIZE, "")
    size = int(told) if told.isdecimal() else volume.size
    return ObjectInfo(min(size, volume.size), volume.modified, version=volume.id)


def rounded(size: int) -> int:
    """Return the size in bytes of the smallest volume that holds `size` bytes."""
    return max(1, -(-size // GIB)) * GIB
