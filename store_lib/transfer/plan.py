"""How an image is cut: a pure function of its size, the backend's limits and the memory at hand."""

from __future__ import annotations

import dataclasses

from store_lib import errors
from store_lib.interface import Limits

__all__ = ["DEPTH", "Plan", "fits", "plan"]

#: Buffers beyond those on their way: one is filled, two are digested.  With one less the reader waits for the slowest
#: digest (30 to 45 % slower when tried), with more nothing is gained.
DEPTH = 3
#: A size that is not known is met by parts that double each time this share of ``limits.max_parts`` is used up.
_STEPS = 10


@dataclasses.dataclass(frozen=True)
class Plan:
    """How one image is cut.

    :param part_size: bytes of the first part; later ones may be larger, see `part_at`.
    :param parallel: parts on their way at once at most.
    :param buffers: parts in memory at once at most.
    :param window: parts that are held back until it is clear whether the image goes in one request.
    :param memory: bytes that the transfer takes, and never more.
    :param known: whether the size is.
    """

    part_size: int
    parallel: int
    buffers: int
    window: int
    memory: int
    limits: Limits
    known: bool

    @property
    def small(self) -> bool:
        """Whether one buffer holds the whole image for sure: then nothing runs in another thread."""
        return self.known and self.buffers == 1

    def part_at(self, index: int) -> int:
        """Return the size in bytes of part `index`.

        :raises BadRequest: an image of unknown size turns out larger than the backend takes in that many parts.
        """
        limits = self.limits
        if limits.max_parts is not None and index >= limits.max_parts:
            raise errors.BadRequest(
                f"the image is larger than the {limits.max_parts} parts that the storage takes, with the memory "
                "granted; say its size beforehand, or raise part_size and memory_limit"
            )
        if self.known or limits.equal_parts or limits.max_parts is None:
            return self.part_size
        step = index // max(1, limits.max_parts // _STEPS)
        largest = min(self.memory, limits.max_part or self.memory) // limits.align * limits.align
        return max(self.part_size, min(self.part_size << step, largest))

    def buffers_at(self, index: int) -> int:
        """Return how many parts of the size of part `index` fit into the granted memory."""
        return max(1, min(self.buffers, self.memory // self.part_at(index)))


def plan(
    size: int | None,
    limits: Limits,
    budget: int,
    *,
    part_size: int | None = None,
    parallel: int | None = None,
    depth: int = DEPTH,
) -> Plan:
    """Return how to cut an image of `size` bytes (None: not known).

    :param budget: bytes of memory at most.
    :param part_size: what the operator asks for, in bytes.
    :param parallel: what the operator asks for; an upper bound.
    :raises BadRequest: the image cannot be cut so that a part fits into `budget` and its parts into the limits.
    """
    if size is not None and fits(size, limits, budget, part_size):
        return Plan(max(1, size), 1, 1, 1, max(1, size), limits, True)
    least, part = _part_sizes(size, limits, part_size or limits.part_size)
    part = max(least, min(part, budget // limits.align * limits.align))
    if part > budget:
        raise errors.BadRequest(
            f"parts of {part} bytes, which the image needs here, do not fit into the {budget} bytes of memory that a "
            "transfer may take; raise memory_limit"
        )
    ways = min(limits.parallel, parallel or limits.parallel)
    buffers = max(1, min(ways + depth, budget // part))
    if size is None:
        window = max(1, min(limits.whole_max, buffers * part) // part)
        if limits.max_parts is not None and not limits.equal_parts:
            window = min(window, max(1, limits.max_parts // _STEPS))  # its buffers lie side by side, all of one size
    else:
        count = -(-size // part)
        # A known size that goes in one request needs all its bytes in memory; else nothing is held back.
        window = count if size <= limits.whole_max and count * part <= budget else 1
        buffers = window if window > 1 else min(buffers, count)
    return Plan(part, max(1, min(ways, buffers)), buffers, window, buffers * part, limits, size is not None)


def fits(size: int, limits: Limits, budget: int, part_size: int | None = None) -> bool:
    """Return whether one buffer holds all of an image of `size` bytes; arguments and errors as of `plan`."""
    return size <= budget and size <= _part_sizes(size, limits, part_size or limits.part_size)[1]


def _part_sizes(size: int | None, limits: Limits, wanted: int) -> tuple[int, int]:
    """Return the smallest size of a part that serves, and the one that is wanted."""
    align = limits.align
    least = limits.min_part
    if size is not None and limits.max_parts is not None:
        least = max(least, -(-size // limits.max_parts))
    least = -(-least // align) * align
    part = max(least, -(-wanted // align) * align)
    if limits.max_part is not None:
        part = min(part, limits.max_part // align * align)
    if size is not None and limits.max_parts is not None and part * limits.max_parts < size:
        raise errors.BadRequest(
            f"an image of {size} bytes is larger than the storage takes: {limits.max_parts} parts of {part} bytes"
        )
    return least, part
