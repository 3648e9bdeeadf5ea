"""Drivers that get leftovers wrong."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator

from store_lib.conformance.broken import breaks
from store_lib.drivers.memory import MemoryDriver
from store_lib.interface import Context, Leftover


@breaks(70)
class WrongOwner(MemoryDriver):
    """Tells another process as the owner of what is being written."""

    def leftovers(self, ctx: Context) -> Iterator[Leftover]:
        for each in super().leftovers(ctx):
            if each.owner is not None and each.alive:
                each = dataclasses.replace(each, owner=dataclasses.replace(each.owner, pid=1))
            yield each


@breaks(71)
class SweepsNothing(MemoryDriver):
    """Says that it removed what a dead process left."""

    def sweep(self, leftover: Leftover, ctx: Context) -> None:
        found = self.state.unfinished.get(leftover.address)
        if found is None or found.writer() is not None:
            super().sweep(leftover, ctx)


@breaks(72)
class OthersAreDead(MemoryDriver):
    """Takes what another host writes for dead and old."""

    def leftovers(self, ctx: Context) -> Iterator[Leftover]:
        long_ago = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
        for each in super().leftovers(ctx):
            other = each.owner is not None and each.owner.host != ctx.owner.host
            yield dataclasses.replace(each, alive=False, last_activity=long_ago) if other else each


@breaks(73)
class SweepsTheLiving(MemoryDriver):
    """Does not look whether somebody is writing."""

    def sweep(self, leftover: Leftover, ctx: Context) -> None:
        if leftover.address in self.state.unfinished:
            self.state.forget(leftover.address)
        else:
            super().sweep(leftover, ctx)


@breaks(74)
class SweepsImages(MemoryDriver):
    """Removes what became an image meanwhile."""

    def sweep(self, leftover: Leftover, ctx: Context) -> None:
        for image_id, (_, info) in [*self.state.images.items()]:
            if info.version == leftover.address:
                del self.state.images[image_id]
                return
        super().sweep(leftover, ctx)
