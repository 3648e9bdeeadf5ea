"""Drivers that the tests of the surface have installed."""

from typing import Any, ClassVar

from store_lib.drivers.memory import MemoryDriver
from store_lib.interface import Committed, Feature


class Scripted(MemoryDriver):
    """Images in memory; fails as a test says, and remembers what it was told."""

    FEATURES = MemoryDriver.FEATURES | Feature.ACLS
    failures: ClassVar[dict[str, BaseException]] = {}
    told: ClassVar[list[tuple[Any, ...]]] = []

    def _next(self, verb, *details):
        self.told.append((verb, *details))
        if verb in self.failures:
            raise self.failures[verb]

    def stat(self, address, ctx):
        self._next("stat", ctx.caller)
        return super().stat(address, ctx)

    def open(self, address, offset, length, ctx):
        self._next("open", ctx.caller)
        return super().open(address, offset, length, ctx)

    def upload(self, image_id, size, ctx):
        self._next("upload", image_id, size, ctx.caller)
        return super().upload(image_id, size, ctx)

    def delete(self, address, ctx):
        self._next("delete", ctx.caller)
        return super().delete(address, ctx)

    def probe(self, ctx):
        self._next("probe")
        return super().probe(ctx)

    def set_acls(self, address, public, read_tenants, write_tenants, ctx):
        self._next("set_acls", public, read_tenants, write_tenants, ctx.caller)


class Nameless(MemoryDriver):
    """Has forgotten to say which locations it reads."""

    SCHEMES: ClassVar[tuple[str, ...]] = ()  # type: ignore[assignment]


class Talkative(MemoryDriver):
    """Tells services more of its locations than they can keep."""

    def upload(self, image_id, size, ctx):
        made: Any = super().upload(image_id, size, ctx)
        commit, whole = made.commit, made.write_whole
        made.commit = lambda size, parts: _with_metadata(commit(size, parts))
        made.write_whole = lambda part: _with_metadata(whole(part))
        return made


def _with_metadata(committed):
    return Committed(committed.address, committed.info, {"share": {"hosts": ["a", "b"]}})


class Forward(MemoryDriver):
    """Reads from the beginning only, and its images cannot be deleted."""

    FEATURES = MemoryDriver.FEATURES & ~(Feature.RANGES | Feature.DELETE)
