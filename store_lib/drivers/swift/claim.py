"""Who may make an image visible: writers of one id agree by claims.

Swift takes two writers of one name: the later one wins, and ``If-None-Match`` is looked at when a request begins.
So who commits first puts an empty object below ``.claims/ID/`` and lists what is there.  Alone, he goes on; with
others, the oldest stays and waits until he is alone, the rest give way.  The claim of a writer who died counts for
nothing once it is old.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Iterator

from store_lib import errors
from store_lib.drivers.swift.client import Account, Answer, Listing
from store_lib.drivers.swift.names import CLAIMS
from store_lib.drivers.swift.place import Place
from store_lib.interface import Context, Owner, Runtime

__all__ = ["EXPIRY", "claimed", "expired"]

#: After that many seconds, by the server's clock, a claim is a dead writer's: no commit takes so long.
EXPIRY = 120.0
_NAP = 0.2
#: Claims on one page of a listing: there is rarely more than one.
_PAGE = 10


@contextlib.contextmanager
def claimed(place: Place, image_id: str, owner: Owner, runtime: Runtime, ctx: Context) -> Iterator[None]:
    """Hold the claim to `image_id`; inside, nobody else makes that image visible.

    :raises Duplicate: somebody else is about to add it.
    :raises StoreUnavailable: it could not be found out in time.
    """
    name = f"{CLAIMS}{image_id}/{owner.encode()}"
    try:
        place.put(ctx, place.segments, name).check()
        _be_alone(place.account, place.segments, image_id, name, runtime, ctx)
        yield
    finally:
        # It expires by itself; whoever is waiting waits a little longer then.
        with contextlib.suppress(Exception):
            place.account.request(ctx, "DELETE", place.segments, name)


def _be_alone(account: Account, container: str, image_id: str, name: str, runtime: Runtime, ctx: Context) -> None:
    until = time.monotonic() + min(EXPIRY, ctx.timeout or EXPIRY)
    while True:
        live = [claim for claim in _live(account, container, image_id, ctx) if not _dead(claim, runtime)]
        if all(claim.name == name for claim in live):
            return  # the listing may be late for one's own
        first = min(live, key=lambda claim: (claim.modified, claim.name))
        if first.name != name:
            raise errors.Duplicate(f"another writer is about to add image {image_id}")
        if time.monotonic() > until:
            raise errors.StoreUnavailable(f"another writer of image {image_id} does not give way")
        time.sleep(_NAP)


def _live(account: Account, container: str, image_id: str, ctx: Context) -> list[Listing]:
    found: list[Listing] = []
    for answer, page in account.pages(ctx, container, f"{CLAIMS}{image_id}/", limit=_PAGE):
        found += [claim for claim in page if not expired(claim, answer)]
    return found


def expired(claim: Listing, answer: Answer) -> bool:
    """Whether a claim is so old, by the server's clock, that its writer must be dead."""
    now = answer.date or datetime.datetime.now(datetime.UTC)
    return (now - claim.modified).total_seconds() > EXPIRY


def _dead(claim: Listing, runtime: Runtime) -> bool:
    owner = Owner.decode(claim.name.rpartition("/")[2])
    return owner is not None and runtime.gone(owner)
