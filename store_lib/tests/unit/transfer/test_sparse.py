"""Which bytes are written: what is left out is all zeroes."""

import itertools

import hypothesis
from hypothesis import strategies as st

from store_lib.transfer.sparse import data_runs

PIECES = st.lists(st.tuples(st.sampled_from(["zero", "data", "hole"]), st.integers(1, 300)), max_size=12)


def build(pieces):
    """Return bytes and the holes in them, joined where they touch."""
    data = b""
    holes: list[tuple[int, int]] = []
    for kind, length in pieces:
        if kind == "hole":
            if holes and holes[-1][1] == len(data):
                holes[-1] = (holes[-1][0], len(data) + length)
            else:
                holes.append((len(data), len(data) + length))
        data += b"\x07" * length if kind == "data" else bytes(length)
    return data, holes


@hypothesis.given(pieces=PIECES, block=st.integers(1, 200), thin=st.booleans())
def test_written_runs_and_zeroes_make_up_the_image(pieces, block, thin):
    data, holes = build(pieces)
    runs = list(data_runs(memoryview(data), holes, block, thin))
    again = bytearray(len(data))
    for start, end in runs:
        again[start:end] = data[start:end]
    assert again == data
    assert all(start < end for start, end in runs)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(runs)), "runs are as long as can be"


@hypothesis.given(pieces=PIECES, block=st.integers(1, 200))
def test_holes_large_enough_are_left_out(pieces, block):
    data, holes = build(pieces)
    runs = list(data_runs(memoryview(data), holes, block, thin=False))
    for start, end in holes:
        if end - start >= block:
            assert not any(low < end and start < high for low, high in runs)


def test_zeroes_are_written_unless_thin_provisioning_is_on():
    data = memoryview(b"x" * 100 + bytes(1000) + b"y" * 100)
    assert list(data_runs(data, [], 100, thin=False)) == [(0, 1200)]
    assert list(data_runs(data, [], 100, thin=True)) == [(0, 100), (1100, 1200)]


def test_a_part_of_holes_alone_is_not_written_however_short():
    assert list(data_runs(memoryview(bytes(10)), [(0, 10)], 4096, thin=False)) == []


def test_large_blocks_are_looked_at_in_pieces():
    size = 3 * 1024 * 1024 + 5
    data = bytearray(size)
    data[-1] = 1
    runs = list(data_runs(memoryview(data), [], 4 * 1024 * 1024, thin=True))
    assert runs[-1][1] == size
    assert sum(end - start for start, end in runs) <= 1024 * 1024
