"""Sources: every kind gives the same bytes."""

import array
import io
import mmap
import os
import socket
import threading
import time

import hypothesis
import pytest
from hypothesis import strategies as st

from store_lib.interface import Extent
from store_lib.tests.support import payload
from store_lib.transfer.source import open_source

DATA = payload(300_000)


def drain(source, size=4096):
    """Return all bytes of a source, read into buffers of one size, with its holes skipped as the engine does."""
    found = bytearray()
    view = memoryview(bytearray(size))
    while True:
        hole = source.hole()
        if hole:
            source.skip(hole)
            found += bytes(hole)
            continue
        got = source.read_into(view)
        assert got <= size
        if got == 0:
            source.finish()
            return bytes(found)
        if got > 0:
            found += view[:got]


def nothing():
    """Stand in for the check of a cancellation."""


class Short:
    """Reads are shorter than asked for."""

    def __init__(self, data):
        self.file = io.BytesIO(data)

    def read(self, size):
        return self.file.read(max(1, size // 3))


class Long:
    """Reads are longer than asked for."""

    def __init__(self, data):
        self.file = io.BytesIO(data)

    def read(self, size):
        return self.file.read(size + 12345)


class Hesitant:
    """A non-blocking file: now and then it has nothing."""

    def __init__(self, data):
        self.file = io.BytesIO(data)
        self.calls = 0

    def read(self, size):
        self.calls += 1
        return None if self.calls % 3 == 1 else self.file.read(min(size, 100_000))


def pipe(data):
    """Return the reading end of a pipe into which a thread writes."""
    reading, writing = os.pipe()

    def write():
        with open(writing, "wb") as file:
            for start in range(0, len(data), 5000):
                file.write(data[start : start + 5000])

    threading.Thread(target=write, daemon=True).start()
    return reading


def mapped(path):
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def sock(data):
    left, right = socket.socketpair()

    def write():
        with left:
            left.sendall(data)

    threading.Thread(target=write, daemon=True).start()
    with right:
        return right.makefile("rb")


def opened(path, mode="rb", buffering=-1):
    return open(path, mode, buffering)  # the test closes it


KINDS = {
    "bytes": lambda path: DATA,
    "bytearray": lambda path: bytearray(DATA),
    "memoryview": lambda path: memoryview(DATA),
    "array": lambda path: memoryview(array.array("I", DATA)),
    "BytesIO": lambda path: io.BytesIO(DATA),
    "file": lambda path: opened(path),
    "unbuffered file": lambda path: opened(path, buffering=0),
    "file for update": lambda path: opened(path, "r+b"),
    "mmap": mapped,
    "short reads": lambda path: Short(DATA),
    "long reads": lambda path: Long(DATA),
    "nothing yet": lambda path: Hesitant(DATA),
    "pipe": lambda path: opened(pipe(DATA)),
    "unbuffered pipe": lambda path: opened(pipe(DATA), buffering=0),
    "socket": lambda path: sock(DATA),
    "list": lambda path: [DATA[:10], b"", DATA[10:200_000], bytearray(DATA[200_000:])],
    "iterator": lambda path: iter([DATA[:1], DATA[1:]]),
    "generator": lambda path: (DATA[start : start + 999] for start in range(0, len(DATA), 999)),
    "empty chunks": lambda path: iter([b"", b"", DATA, b""]),
    "None chunks": lambda path: iter([None, DATA[:5], None, None, DATA[5:], None]),
    "one huge chunk": lambda path: iter([DATA]),
    "chunks of words": lambda path: iter([array.array("I", DATA)]),
}


@pytest.mark.parametrize("size", [1000, 65536, 1_000_000])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_bytes(tmp_path, kind, size):
    path = tmp_path / "file"
    path.write_bytes(DATA)
    given = KINDS[kind](path)
    try:
        assert drain(open_source(given, nothing), size) == DATA
    finally:
        if hasattr(given, "close"):
            given.close()


@hypothesis.given(chunks=st.lists(st.binary(max_size=50)), size=st.integers(1, 60))
def test_chunks_of_any_size_come_out_in_order(chunks, size):
    assert drain(open_source(iter(chunks), nothing), size) == b"".join(chunks)


@hypothesis.given(runs=st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=8), size=st.integers(1, 200_000))
def test_a_sparse_file_of_any_shape(tmp_path_factory, runs, size):
    path = tmp_path_factory.mktemp("sparse") / "file"
    length = 0
    with open(path, "wb") as file:
        for data, blocks in runs:
            if data:
                file.seek(length)
                file.write(b"\x05" * (blocks * 4096))
            length += blocks * 4096
        file.truncate(length)
    with open(path, "rb") as file:
        assert drain(open_source(file, nothing), size) == path.read_bytes()


def test_holes_of_a_file_are_told_from_where_they_begin(tmp_path):
    path = tmp_path / "file"
    with open(path, "wb") as file:
        file.write(b"x" * 4096)
        file.seek(100 * 4096)
        file.write(b"y" * 4096)
        file.truncate(200 * 4096)
    with open(path, "rb") as file:
        source = open_source(file, nothing)
        view = memoryview(bytearray(1_000_000))
        assert source.hole() == 0
        assert source.read_into(view) == 4096
        assert source.hole() == 99 * 4096


@pytest.mark.parametrize("buffering", [-1, 0])
def test_a_file_is_read_from_its_position_and_left_behind_what_was_read(tmp_path, buffering):
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with open(path, "rb", buffering=buffering) as file:
        file.read(10)
        source = open_source(file, nothing)
        view = memoryview(bytearray(100))
        assert source.read_into(view) == 100
        assert bytes(view) == DATA[10:110]
        source.finish()
        assert file.tell() == 110


def test_what_was_written_before_through_the_same_file_is_seen(tmp_path):
    with open(tmp_path / "file", "w+b") as file:
        file.write(DATA)
        file.seek(0)
        file.write(b"begin")
        file.seek(0)
        assert drain(open_source(file, nothing)) == b"begin" + DATA[5:]


def test_a_class_derived_from_a_file_keeps_its_own_read(tmp_path):
    class Counting(io.FileIO):
        count = 0

        def read(self, size=-1):
            data = super().read(size)
            Counting.count += len(data)
            return data

    path = tmp_path / "file"
    path.write_bytes(DATA)
    with Counting(path) as file:
        assert drain(open_source(file, nothing)) == DATA
    assert Counting.count == len(DATA)


class Image(io.RawIOBase):
    """A reader that knows its holes."""

    def __init__(self, runs):
        self.data = b"".join(b"\x09" * length if data else bytes(length) for data, length in runs)
        self.runs = runs
        self.at = 0
        self.read_zeroes = 0

    def extents(self):
        at = 0
        for data, length in self.runs:
            yield Extent(at, length, not data)
            at += length

    def tell(self):
        return self.at

    def seek(self, offset, whence=io.SEEK_SET):
        assert whence == io.SEEK_CUR
        self.at += offset
        return self.at

    def readinto(self, view):
        piece = self.data[self.at : self.at + len(view)]
        view[: len(piece)] = piece
        self.read_zeroes += piece.count(0)
        self.at += len(piece)
        return len(piece)


@hypothesis.given(runs=st.lists(st.tuples(st.booleans(), st.integers(1, 500)), max_size=8), size=st.integers(1, 700))
def test_holes_of_another_image_are_not_read(runs, size):
    image = Image(runs)
    assert drain(open_source(image, nothing), size) == image.data
    assert image.read_zeroes == 0


@pytest.mark.parametrize("buffering", [-1, 0])
def test_a_stalled_pipe_can_be_given_up(buffering):
    reading, writing = os.pipe()
    os.write(writing, b"abc")
    began = time.monotonic()

    class Enough(Exception):
        pass

    def check():
        if time.monotonic() - began > 0.3:
            raise Enough

    with open(reading, "rb", buffering=buffering) as file:
        source = open_source(file, check)
        view = memoryview(bytearray(10))
        assert source.read_into(view) == 3
        with pytest.raises(Enough):
            source.read_into(view)
    os.close(writing)


def test_a_pipe_that_python_has_buffered_loses_nothing():
    reading, writing = os.pipe()
    os.write(writing, b"abcdef")
    os.close(writing)
    with open(reading, "rb") as file:
        assert file.read(2) == b"ab"
        assert drain(open_source(file, nothing), 3) == b"cdef"


@pytest.mark.parametrize("wrong", [None, 5, object(), 1.5])
def test_what_is_no_source(wrong):
    with pytest.raises(TypeError, match="binary file"):
        open_source(wrong, nothing)


@pytest.mark.parametrize("wrong", ["text", ["text"], io.StringIO("text"), [5]])
def test_text_is_no_image(wrong):
    with pytest.raises(TypeError):
        drain(open_source(wrong, nothing))
