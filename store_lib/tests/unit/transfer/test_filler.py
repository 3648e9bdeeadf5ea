"""Filling buffers: sizes, holes, one byte ahead."""

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from store_lib import errors
from store_lib.runtime import Bandwidth, Clock
from store_lib.transfer.filler import Filler
from store_lib.transfer.source import Source, open_source

FREE = Bandwidth(0, Clock())


class Runs(Source):
    """A source with holes, given as ``(is a hole, length)``."""

    def __init__(self, runs):
        self.runs = [list(run) for run in runs]
        self.data = b"".join(bytes(length) if hole else b"\x03" * length for hole, length in runs)

    def read_into(self, view):
        if not self.runs:
            return 0
        size = min(len(view), self.runs[0][1])
        view[:size] = b"\x03" * size
        self.skip(size)
        return size

    def hole(self):
        return self.runs[0][1] if self.runs and self.runs[0][0] else 0

    def skip(self, length):
        self.runs[0][1] -= length
        if not self.runs[0][1]:
            self.runs.pop(0)


def fill_all(filler, size):
    """Return every filled buffer of `size` bytes."""
    found: list[Any] = []
    while not found or not found[-1][2]:
        block = memoryview(bytearray(b"\xff" * size))
        piece = filler.fill(block)
        found.append((bytes(piece.data), list(piece.runs()), piece.ended))
    return found


@hypothesis.given(
    runs=st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=8),
    size=st.integers(1, 40),
    known=st.booleans(),
)
def test_buffers_are_full_but_for_the_last_which_says_so(runs, size, known):
    source = Runs(runs)
    whole = source.data
    filler = Filler(source, len(whole) if known else None, FREE, lambda: None)
    found = fill_all(filler, size)
    assert b"".join(data for data, _, _ in found) == whole
    assert all(len(data) == size and not ended for data, _, ended in found[:-1])
    assert len(found) == max(1, -(-len(whole) // size)), "no empty buffer at the end"
    assert filler.total == len(whole)
    for data, runs_, _ in found:
        assert sum(end - start for start, end, _ in runs_) == len(data)
        assert all(data[start:end].strip(b"\0") == b"" for start, end, hole in runs_ if hole)


@hypothesis.given(size=st.integers(0, 60), more=st.integers(-20, 20), buffer=st.integers(1, 30))
def test_the_declared_size_is_exact(size, more, buffer):
    hypothesis.assume(more and size + more >= 0)
    filler = Filler(open_source(bytes(size), lambda: None), size + more, FREE, lambda: None)
    with pytest.raises(errors.SizeMismatch, match="longer" if more < 0 else "ended after"):
        fill_all(filler, buffer)


def test_a_hole_that_is_longer_than_the_declared_size():
    filler = Filler(Runs([(True, 50)]), 20, FREE, lambda: None)
    with pytest.raises(errors.SizeMismatch):
        fill_all(filler, 100)


def test_the_check_is_asked_between_pieces():
    calls = []
    filler = Filler(open_source(iter([b"x"] * 20), lambda: None), None, FREE, lambda: calls.append(1))
    fill_all(filler, 100)
    assert len(calls) >= 20
