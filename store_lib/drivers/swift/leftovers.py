"""What dead transfers left in a container: segments without a manifest, marks, claims."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Iterator

from store_lib import errors
from store_lib.drivers.swift.claim import expired
from store_lib.drivers.swift.client import Account, Listing
from store_lib.drivers.swift.names import CLAIMS, SEGMENTS, peer_segment
from store_lib.drivers.swift.segments import is_dynamic, remove
from store_lib.drivers.swift.upload import UPLOAD
from store_lib.interface import Context, Leftover, Owner

__all__ = ["Remains", "find", "images", "sweep"]


@dataclasses.dataclass(frozen=True)
class Remains:
    """Where a leftover is.

    :param container: of the segments.
    :param images: the container of the image.
    :param prefix: what the names begin with; digits alone may follow where it does not end with a slash.
    """

    container: str
    images: str
    image_id: str
    prefix: str


def images(entries: Iterable[Listing]) -> Iterator[Listing]:
    """Yield what of a container's listing is an image: not the segments of glance_store, whose image is there too."""
    manifests: set[str] = set()  # each is listed before its segments
    for entry in entries:
        owner = peer_segment(entry.name, certain=False)
        if owner in manifests or peer_segment(entry.name, certain=True):
            continue
        if entry.size == 0:  # a dynamic manifest has no bytes of its own
            manifests.add(entry.name)
        yield entry


def find(account: Account, container: str, images_in: str, ctx: Context) -> Iterator[Leftover]:
    """Yield the leftovers of a container.

    :param images_in: the container of the images whose segments these are.
    """
    groups: dict[str, list[Listing]] = {}
    for entry in account.objects(ctx, container, SEGMENTS):
        groups.setdefault(entry.name.rpartition("/")[0] + "/", []).append(entry)
    for prefix, entries in groups.items():
        _, image_id, owner = prefix.rstrip("/").split("/", 2)
        remains = Remains(container, images_in, image_id, prefix)
        yield from _told(account, "unfinished upload", remains, Owner.decode(owner), entries, ctx)
    for answer, page in account.pages(ctx, container, CLAIMS):
        for claim in page:
            if expired(claim, answer):
                _, image_id, owner = claim.name.split("/", 2)
                remains = Remains(container, images_in, image_id, claim.name)
                yield Leftover("claim", remains, Owner.decode(owner), claim.modified, 0)
    yield from _of_the_peer(account, container, ctx)


def _of_the_peer(account: Account, container: str, ctx: Context) -> Iterator[Leftover]:
    groups: dict[str, list[Listing]] = {}
    for entry in account.objects(ctx, container, delimiter="/"):
        image_id = peer_segment(entry.name, certain=True)
        if image_id is not None:
            groups.setdefault(image_id, []).append(entry)
    for image_id, entries in groups.items():
        remains = Remains(container, container, image_id, f"{image_id}-")
        yield from _told(account, "segments without a manifest", remains, None, entries, ctx)


def _told(
    account: Account, kind: str, remains: Remains, owner: Owner | None, entries: list[Listing], ctx: Context
) -> Iterator[Leftover]:
    if not _used(account, remains, ctx):
        last: datetime.datetime = max(entry.modified for entry in entries)
        yield Leftover(kind, remains, owner, last, sum(entry.size for entry in entries))


def _used(account: Account, remains: Remains, ctx: Context) -> bool:
    """Whether the image is there and consists of these segments."""
    answer = account.request(ctx, "HEAD", remains.images, remains.image_id)
    if answer.status == 404:
        return False
    answer.check()
    manifest = is_dynamic(answer)
    if manifest is not None and manifest == f"{remains.container}/{remains.prefix}":
        return True
    if remains.prefix.startswith(SEGMENTS):
        owner = Owner.decode(remains.prefix.rstrip("/").rpartition("/")[2])
        return owner is not None and answer.headers.get(UPLOAD.lower()) == owner.upload
    return not remains.prefix.startswith(CLAIMS)  # somebody may have made an image of them that is not known here


def sweep(account: Account, leftover: Leftover, bulk: int, ctx: Context) -> None:
    """Remove a leftover; see `store_lib.interface.Driver.sweep`."""
    remains: Remains = leftover.address
    if _used(account, remains, ctx):
        raise errors.InUse("an image consists of these segments")
    names = [
        (remains.container, entry.name)
        for entry in account.objects(ctx, remains.container, remains.prefix)
        if remains.prefix.startswith((SEGMENTS, CLAIMS)) or peer_segment(entry.name, certain=True) == remains.image_id
    ]
    if not names:
        raise errors.NotFound("it is gone")
    remove(account, names, bulk, ctx)
