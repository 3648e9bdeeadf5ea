"""Values of the rbd store: addresses, names, what Ceph's errors mean."""

from __future__ import annotations

import dataclasses
import errno
import sys

from store_lib import errors
from store_lib.errors import Outcome
from store_lib.interface import MIB, Address, Owner

__all__ = [
    "REQUEST",
    "SNAPSHOT",
    "TEMPORARY",
    "RbdAddress",
    "ceph_error",
    "is_ceph",
    "of_unfinished",
    "unfinished_name",
]

#: What the names of unfinished images begin with.  No image id begins with a dot.
TEMPORARY = ".store_lib-"
#: The snapshot that services clone from.
SNAPSHOT = "snap"
#: Bytes of one request to an OSD: large enough to be efficient, small enough that several OSDs work for one part.
REQUEST = 2 * MIB


@dataclasses.dataclass(frozen=True)
class RbdAddress(Address):
    """An image of the store's pool.

    :param fsid: of the cluster; None in short locations and before the first connection.
    :param snapshot: None in short locations: then the image is read as it is.
    """

    fsid: str | None
    image: str
    snapshot: str | None


def unfinished_name(owner: Owner, image_id: str) -> str:
    """Return the name that an image has until it is complete: it tells who makes it, and what it will be."""
    return f"{TEMPORARY}{owner.encode()}={image_id}"


def of_unfinished(name: str) -> tuple[Owner, str] | None:
    """Return what `unfinished_name` wrote, or None when `name` is another one."""
    owner, _, image_id = name.removeprefix(TEMPORARY).partition("=")
    found = Owner.decode(owner) if name.startswith(TEMPORARY) else None
    return (found, image_id) if found is not None and image_id else None


def is_ceph(error: BaseException) -> bool:
    """Whether `error` is one of Ceph's bindings; imports nothing, since it can't be one before they are imported."""
    kinds = tuple(sys.modules[name].Error for name in ("rados", "rbd") if name in sys.modules)
    return isinstance(error, kinds)


def ceph_error(error: BaseException) -> errors.StoreLibError | None:
    """Map by errno; whoever can tell a missing image from a missing pool does so before."""
    if not is_ceph(error):
        return None
    number = getattr(error, "errno", None)
    text = str(error)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return errors.StoreFull(f"the pool has no room, or its quota is used up: {text}")
    if number in (errno.EACCES, errno.EPERM):
        return errors.Forbidden(f"the cluster refuses the user, or the pool is gone: {text}")
    if number == errno.ETIMEDOUT:
        return errors.OperationTimeout(f"the cluster did not answer in time: {text}")
    if number == errno.EBUSY:
        return errors.InUse(f"the image is in use: {text}")
    if number == errno.EEXIST:
        return errors.Duplicate("an image of that id is there already")
    if number == errno.ENOENT:
        return errors.StoreUnavailable(f"the cluster misses something: {text}")
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ERANGE, errno.EDOM):
        return errors.BackendError(f"the cluster refuses the request: {text}")
    # EROFS and EBADMSG come in the middle of an outage, ESHUTDOWN when the cluster has cut this client off.
    return errors.StoreUnavailable(f"the cluster fails: {text}", outcome=Outcome.UNKNOWN)
