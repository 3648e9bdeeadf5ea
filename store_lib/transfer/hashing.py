"""Digests of an image that is stored: read once, all digests at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from store_lib import errors
from store_lib.interface import HEAP, MIB
from store_lib.runtime import Bandwidth, Deadline, StoreRuntime
from store_lib.transfer.digest import Digests
from store_lib.transfer.download import ImageReader
from store_lib.transfer.filler import Filler
from store_lib.transfer.flow import Flow
from store_lib.transfer.plan import DEPTH
from store_lib.transfer.progress import Progress, ProgressFunction
from store_lib.transfer.source import open_source

__all__ = ["hash_image"]

_BUFFER = 4 * MIB


def hash_image(
    reader: ImageReader,
    names: Iterable[str],
    runtime: StoreRuntime,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
    write: Callable[[memoryview, int, bool], None] | None = None,
) -> dict[str, str]:
    """Return ``{name: hex}`` of what is left of `reader`; holes are not read from the storage.

    :param names: hashlib's names, checked.
    :param write: called in this thread with each piece of the bytes, its offset, and whether it is a hole.
    """
    seen = Progress(progress, reader.length, runtime.clock)
    done = 0

    def check() -> None:
        if cancel is not None and cancel.is_set():
            raise errors.Cancelled("the transfer was cancelled")

    flow = Flow(runtime.clock, check, lambda: seen.show(done), None)
    digests = Digests(names)
    digests.spread(runtime.digest_pool, flow)
    size = max(1, min(_BUFFER, reader.length))
    count = min(1 + DEPTH, -(-reader.length // size) or 1)
    deadline = Deadline(runtime.base.queue_timeout, runtime.clock)
    with runtime.budget.acquire(count * size, size, deadline, check) as grant:
        blocks = [HEAP.allocate(size) for _ in range(max(1, grant.size // size))]
        flow.add_slots(blocks)
        free = Bandwidth(0, runtime.clock)  # the reader keeps the store's limit
        filler = Filler(open_source(reader, check), reader.length, free, flow.check)
        try:
            ended = False
            while not ended:
                slot = flow.take_slot(HEAP.allocate)
                piece = filler.fill(slot.block)
                flow.hold(slot, len(digests) + 1)
                digests.put(piece.data, slot)
                if write is not None:
                    for start, end, hole in piece.runs():
                        write(piece.data[start:end], done + start, hole)
                flow.let_go(slot)
                done += len(piece.data)
                ended = piece.ended
            flow.drain()
        finally:
            flow.end()
            for block in blocks:
                HEAP.release(block)
    seen.end(done)
    return digests.result()
