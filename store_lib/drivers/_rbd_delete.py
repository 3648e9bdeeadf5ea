"""Removing images from an rbd store: at once where nothing needs them, by the trash where something still does."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Iterator
from typing import Any

from store_lib import errors
from store_lib.drivers._rbd_cluster import Cluster, Pool
from store_lib.drivers._rbd_image import missing, opened
from store_lib.drivers._rbd_values import SNAPSHOT, of_unfinished
from store_lib.interface import Deletion, Leftover, Owner

__all__ = ["find_leftovers", "remove_image", "remove_unfinished", "sweep"]

#: Metadata of images that this library moved to the trash; what others put there is theirs.
_MARK = "store_lib.deleted"
_UNFINISHED, _TRASHED = "unfinished image", "image in the trash"
_NAMED = 5  # clones that an error names


def remove_image(cluster: Cluster, name: str, deferment: int) -> Deletion:
    """Remove the image of that name; one that is cut off half-way can be repeated.

    :param deferment: seconds for which what goes to the trash stays there at least.
    :returns: DEFERRED when clones, snapshots of others or somebody who has it open still need it.
    :raises InUse: clones of the old kind need it under its name; it was not touched.
    """
    with cluster.pool() as pool:
        try:
            with opened(cluster, name) as image:
                deferred = not _release(pool, image)
        except pool.rbd.ImageNotFound:
            deferred = False  # it is not there, or only what a cut-off removal left of it
        with contextlib.suppress(pool.rbd.ImageHasSnapshots, pool.rbd.ImageBusy):
            if not deferred:
                return _remove(pool, name)
        try:
            pool.images.trash_move(pool.ioctx, name, deferment)
        except pool.rbd.ImageNotFound as error:
            raise _not_removed(pool, name) from error
    return Deletion.DEFERRED


def _remove(pool: Pool, name: str) -> Deletion:
    try:
        pool.images.remove(pool.ioctx, name)
    except pool.rbd.ImageNotFound as error:
        raise _not_removed(pool, name) from error
    return Deletion.DELETED


def _not_removed(pool: Pool, name: str) -> errors.StoreLibError:
    """Return what it means that Ceph did not find the image: in a full pool it says so of one that is there."""
    image_id = pool.id_of(name)
    if image_id is None or pool.name_of(image_id) != name:
        return missing(pool, name)
    return errors.StoreUnavailable(f"Ceph does not remove image {name}, which is still there; is the cluster full?")


def _release(pool: Pool, image: Any) -> bool:
    """Take the snapshot away; return whether nothing stands against removing the image.

    :raises InUse: it has clones that need the snapshot protected.
    """
    alone = len([*image.watchers_list()]) < 2  # one is this handle's
    if _has_snapshot(image):
        try:
            image.unprotect_snap(SNAPSHOT)
        except pool.rbd.InvalidArgument:
            pass  # it is not protected
        except pool.rbd.ImageBusy as error:
            raise errors.InUse(f"the image has clones: {_children(image)}") from error
        if alone:  # who has the image open may be reading the snapshot
            with contextlib.suppress(pool.rbd.ImageNotFound):
                image.remove_snap(SNAPSHOT)
    if alone and not [*image.list_snaps()]:
        return True
    image.metadata_set(_MARK, datetime.datetime.now(datetime.UTC).isoformat())
    return False


def _has_snapshot(image: Any) -> bool:
    return any(each["name"] == SNAPSHOT for each in image.list_snaps())


def _children(image: Any) -> str:
    image.set_snap(SNAPSHOT)
    found = [f"{each['pool']}/{each['image']}" for each in image.list_children2()]
    image.set_snap(None)
    shown = ", ".join(found[:_NAMED])
    return f"{shown} and {len(found) - _NAMED} more" if len(found) > _NAMED else shown


def remove_unfinished(cluster: Cluster, name: str) -> bool:
    """Remove an image that was never completed; return whether it was there.

    :raises InUse: somebody has it open.
    """
    with cluster.pool() as pool:
        image_id = pool.id_of(name)
        if image_id is not None and pool.name_of(image_id) not in (None, name):
            pool.free(name, image_id)  # it is complete, and only its old name was left
            return False
        with contextlib.suppress(pool.rbd.ImageNotFound), opened(cluster, name) as image:
            if len([*image.watchers_list()]) > 1:
                raise errors.InUse("somebody is writing to it")
            known = of_unfinished(name)
            if known is not None and image_id is not None:
                pool.free(known[1], image_id)  # it had been given its name, and nobody was told
            if _has_snapshot(image):
                with contextlib.suppress(pool.rbd.InvalidArgument):
                    image.unprotect_snap(SNAPSHOT)
                image.remove_snap(SNAPSHOT)
        with contextlib.suppress(pool.rbd.ImageNotFound):
            pool.images.remove(pool.ioctx, name)
            return True
    return False


def find_leftovers(cluster: Cluster) -> Iterator[Leftover]:
    """Yield the unfinished images, those under way included, and the images that this library moved to the trash."""
    with cluster.pool() as pool:
        names = pool.images.list(pool.ioctx)
        trashed = [*pool.images.trash_list(pool.ioctx)]
    for name in names:
        known = of_unfinished(name)
        if known is not None:
            yield _unfinished(cluster, name, known[0])
    for each in trashed:
        found = _trashed(cluster, each)
        if found is not None:
            yield found


def _unfinished(cluster: Cluster, name: str, owner: Owner) -> Leftover:
    address = (_UNFINISHED, name)
    with cluster.pool() as pool:
        try:
            with opened(cluster, name, read_only=True) as image:
                alive = bool([*image.watchers_list()])
                # Local time without saying so, unlike every other time of librbd.
                written = image.modify_timestamp().astimezone(datetime.UTC)
                return Leftover(_UNFINISHED, address, owner, written, image.size(), alive)
        except pool.rbd.ImageNotFound:
            pass  # a removal was cut off half-way; its name says when it began
        try:
            _, changed = pool.ioctx.stat(f"rbd_id.{name}")
        except pool.rados.ObjectNotFound:
            return Leftover(_UNFINISHED, address, owner)
        written = datetime.datetime.fromtimestamp(time.mktime(changed), datetime.UTC)
        return Leftover(_UNFINISHED, address, owner, written)


def _trashed(cluster: Cluster, entry: dict[str, Any]) -> Leftover | None:
    address = (_TRASHED, entry["id"])
    due = entry["deferment_end_time"].replace(tzinfo=datetime.UTC)
    with cluster.pool() as pool, contextlib.suppress(pool.rbd.ImageNotFound):
        with opened(cluster, None, image_id=entry["id"], read_only=True) as image:
            try:
                image.metadata_get(_MARK)
            except KeyError:
                return None
            return Leftover(_TRASHED, address, None, due, image.size(), bool([*image.watchers_list()]))
    return None


def sweep(cluster: Cluster, leftover: Leftover) -> None:
    """Remove one of `find_leftovers`.

    :raises InUse: somebody has it open, it has clones, or its deferment is not over.
    """
    kind, name = leftover.address
    if kind == _UNFINISHED and of_unfinished(name):
        if not remove_unfinished(cluster, name):
            raise errors.NotFound("it is gone")
    elif kind == _TRASHED:
        _purge(cluster, name)
    else:
        raise errors.BadRequest("this is no leftover of an rbd store")


def _purge(cluster: Cluster, image_id: str) -> None:
    with cluster.pool() as pool:
        try:
            with opened(cluster, None, image_id=image_id) as image:
                if not _release(pool, image):
                    raise errors.InUse("it has clones or snapshots, or somebody has it open")
            pool.images.trash_remove(pool.ioctx, image_id)
        except pool.rbd.ImageNotFound as error:
            raise errors.NotFound("it is gone") from error
        except (pool.rbd.ImageHasSnapshots, pool.rbd.PermissionError) as error:
            raise errors.InUse("it has snapshots, or its time in the trash is not over") from error
