"""Drivers that get threads, processes, and telling of themselves wrong."""

from __future__ import annotations

import dataclasses
import datetime
import io
import os
import uuid
import weakref
from collections.abc import Mapping
from typing import Any

from store_lib import errors
from store_lib.conformance.broken import breaks
from store_lib.drivers.memory import MemoryAddress, MemoryDriver, MemoryUpload
from store_lib.interface import Capacity, Context, Download, Feature, ObjectInfo, Probe, Runtime, Status, Upload
from store_lib.settings import StoreSettings

#: What `Leaks` leaves open.
leaked: list[io.TextIOWrapper] = []


@breaks(90)
class FewWriters(MemoryUpload):
    """Has eight connections for writing."""

    def start(self) -> None:
        if len(self._state.unfinished) >= 8:
            raise errors.BackendError("too many connections")
        super().start()


@breaks(92)
class ClosesOnce(MemoryDriver):
    """Can be closed once."""

    def close(self) -> None:
        if getattr(self, "_closed", False):
            raise errors.BackendError("it is closed")
        self._closed = True
        super().close()


@breaks(93)
class Leaks(MemoryDriver):
    """Leaves a connection open with each probe."""

    def probe(self, ctx: Context) -> Probe:
        leaked.append(open(os.devnull))  # noqa: SIM115
        return super().probe(ctx)


@breaks(94)
class ConnectsAtOnce(MemoryDriver):
    """Connects when it is made."""

    def __init__(self, settings: StoreSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        connection = os.open(os.devnull, os.O_RDONLY)
        weakref.finalize(self, os.close, connection)


@breaks(95)
class OneProcess(MemoryDriver):
    """Works in the process that used it first."""

    def upload(self, image_id: str, size: int | None, ctx: Context) -> Upload[MemoryAddress]:
        self._process = getattr(self, "_process", os.getpid())
        if self._process != os.getpid():
            raise errors.BackendError("the connection belongs to another process")
        return super().upload(image_id, size, ctx)


@breaks(100)
class Undecided(MemoryDriver):
    """Does not say whether it is usable."""

    def probe(self, ctx: Context) -> Probe:
        return Probe(Status.UNKNOWN)


@breaks(101)
class ProbesByWriting(MemoryDriver):
    """Probes by an image that it leaves."""

    def probe(self, ctx: Context) -> Probe:
        self.state.images[f"probe-{uuid.uuid4().hex}"] = {}, ObjectInfo(0)
        return super().probe(ctx)


@breaks(102)
class ObjectsInHealth(MemoryDriver):
    """Tells details that are no JSON."""

    def probe(self, ctx: Context) -> Probe:
        return dataclasses.replace(super().probe(ctx), details={"at": datetime.datetime.now(datetime.UTC)})


@breaks(103)
class OpensForWriting(MemoryDriver):
    """Opens images for writing, even to read them."""

    def open(self, address: MemoryAddress, offset: int, length: int | None, ctx: Context) -> Download:
        if self.settings.base.read_only:
            raise errors.Forbidden("the store is read-only")
        return super().open(address, offset, length, ctx)


@breaks(104)
class ObjectsInProperties(MemoryDriver):
    """Tells properties that are no JSON."""

    def describe(self) -> Mapping[str, Any]:
        return {"size": {self.size}}


@breaks(105)
class MoreThanAll(MemoryDriver):
    """Has more free than there is."""

    def capacity(self, ctx: Context) -> Capacity:
        found = super().capacity(ctx)
        return dataclasses.replace(found, free=(found.total or 0) + 1)


@breaks(106)
class NeedsRanges(MemoryDriver):
    """Does not read at all where reading ranges was switched off."""

    def open(self, address: MemoryAddress, offset: int, length: int | None, ctx: Context) -> Download:
        if Feature.RANGES in self.settings.base.disabled_features:
            raise errors.BackendError("ranges are switched off")
        return super().open(address, offset, length, ctx)


@breaks(107)
class SecretInBackend(MemoryDriver):
    """Names its backend by its password."""

    def backend_id(self) -> str | None:
        return f"memory-{self.settings['memory_store_password']}"


@breaks(108)
class AnotherBackendEachTime(MemoryDriver):
    """Takes every store object for a backend of its own."""

    def backend_id(self) -> str | None:
        return f"memory-{id(self)}"
