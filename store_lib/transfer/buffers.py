"""The buffers of one upload: granted whole before it starts, given back as soon as nobody looks at them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from store_lib import errors
from store_lib.interface import Driver, Limits
from store_lib.runtime import Deadline, StoreRuntime
from store_lib.settings import BaseSettings
from store_lib.transfer.flow import Flow, Slot
from store_lib.transfer.plan import Plan, plan

__all__ = ["SHARE", "Buffers", "affordable"]

#: Share of the store's memory that one transfer takes at most, so that others run beside it.
SHARE = 4


def affordable(size: int | None, limits: Limits, base: BaseSettings) -> Plan:
    """Return how an image is cut while nothing else takes the store's memory: with a share of it, or two parts.

    :param size: of the image in bytes, None when not known.
    :raises BadRequest: the image cannot be cut so that it fits the limits.
    """
    two = min(base.memory_limit, 2 * (base.part_size or limits.part_size))  # one is filled while one is written
    try:
        return _plan(size, limits, base, max(base.memory_limit // SHARE, two))
    except errors.BadRequest:
        return _plan(size, limits, base, base.memory_limit)  # parts so large that only few fit into all of it


def _plan(size: int | None, limits: Limits, base: BaseSettings, memory: int) -> Plan:
    return plan(size, limits, memory, part_size=base.part_size, parallel=base.parallel)


class Buffers:
    """Buffers for the parts of one image; used by the thread that reads its source.

    :param flow: of the transfer; knows who looks at which buffer.
    """

    def __init__(self, driver: Driver[Any], runtime: StoreRuntime, flow: Flow) -> None:
        self._source = driver.buffers
        self._runtime = runtime
        self._flow = flow
        self._blocks: list[memoryview] = []
        self._block_size = 0

    @contextlib.contextmanager
    def planned(self, size: int | None, limits: Limits, reading: int = 0) -> Iterator[tuple[Plan, int]]:
        """Yield the plan once its memory is granted, and the bytes granted for reading ahead; give all of it back.

        :param size: of the image in bytes, None when not known.
        :param reading: bytes that the source would take for reading ahead, in the same grant; it gets all or none.
        :raises Busy: no memory became free in time.
        :raises BadRequest: the image cannot be cut so that it fits the limits.
        """
        base, budget = self._runtime.base, self._runtime.budget
        wanted = affordable(size, limits, base)
        least = wanted.memory if wanted.known and wanted.window > 1 else min(wanted.memory, 2 * wanted.part_size)
        reading = reading if wanted.memory + reading <= budget.limit else 0
        deadline = Deadline(base.queue_timeout, self._runtime.clock)
        with budget.acquire(wanted.memory + reading, least, deadline, self._flow.check) as grant:
            lent = reading if grant.size >= wanted.memory + reading else 0
            try:
                yield (wanted if grant.size >= wanted.memory else _plan(size, limits, base, grant.size)), lent
            finally:
                self._flow.end()
                self.release()

    def slot(self, made: Plan, index: int) -> Slot:
        """Return a free buffer for part `index`, waiting for one if need be."""
        size = made.part_at(index)
        if size != self._block_size:
            if self._blocks:
                self._flow.drain()
            self.release()
            self._allocate(size, made.window if index == 0 else 1, made.buffers_at(index))
        return self._flow.take_slot(self._allocate_one)

    def whole(self, size: int) -> memoryview:
        """Return the first `size` bytes of the parts of the window, which lie side by side."""
        return self._blocks[0][:size]

    def _allocate(self, size: int, window: int, count: int) -> None:
        first = self._allocate_one(size * window)
        views = [first[start : start + size] for start in range(0, size * window, size)]
        self._flow.add_slots(views + [self._allocate_one(size) for _ in range(count - window)])
        self._block_size = size

    def _allocate_one(self, size: int) -> memoryview:
        block = self._source.allocate(size)
        self._blocks.append(block)
        return block

    def release(self) -> None:
        """Give the buffers back, but for those that somebody may still look at: they go with the last reference."""
        lost = self._flow.drop_slots()
        blocks, self._blocks = self._blocks, []
        if not lost:
            for block in blocks:
                self._source.release(block)
