"""Which bytes of a part need writing: all but the source's holes and, with thin provisioning, runs of zeroes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["data_runs"]

#: Comparing with a bytearray is a memcmp; comparing two memoryviews goes byte by byte.
_ZEROES = bytearray(1024 * 1024)

Run = tuple[int, int]


def data_runs(data: memoryview, holes: Sequence[Run], block: int, thin: bool) -> Iterator[Run]:
    """Yield ``(start, end)`` of the runs of `data` that are to be written, in order and as long as possible.

    :param holes: ``(start, end)`` of ranges that are holes of the source, in order.
    :param block: smallest hole worth leaving, in bytes.
    :param thin: whether blocks that hold nothing but zeroes are left out too.
    """
    begin: int | None = None
    end = 0
    for start, stop in _outside(len(data), holes, block):
        for low, high in _nonzero(data, start, stop, block) if thin else ((start, stop),):
            if begin is not None and low != end:
                yield begin, end
                begin = None
            begin = low if begin is None else begin
            end = high
    if begin is not None:
        yield begin, end


def _outside(length: int, holes: Sequence[Run], block: int) -> Iterator[Run]:
    at = 0
    for start, stop in holes:
        if stop - start < block and stop - start < length:
            continue
        if start > at:
            yield at, start
        at = max(at, stop)
    if at < length:
        yield at, length


def _nonzero(data: memoryview, start: int, stop: int, block: int) -> Iterator[Run]:
    block = min(block, len(_ZEROES))
    zeroes = memoryview(_ZEROES)[:block].obj if block == len(_ZEROES) else bytearray(block)
    for low in range(start, stop, block):
        high = min(low + block, stop)
        same = zeroes if high - low == block else bytearray(high - low)
        if same != data[low:high]:
            yield low, high
