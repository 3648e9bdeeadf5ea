"""Holes, both ways."""

import os
import subprocess

import pytest

from store_lib.tests import support

MIB = support.MIB


def _holes(path):
    """Return ``(start, end)`` of the data of a file."""
    found = []
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        at = 0
        while at < size:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start, at))
    return found


def _taken(path):
    return os.stat(path).st_blocks * 512


#: (size, [(offset, length) of data]): holes at the start, between, at the end, across parts, everywhere and nowhere.
SHAPES = {
    "hole at the end": (20 * MIB, [(0, MIB)]),
    "hole at the start": (20 * MIB + 4096, [(20 * MIB, 4096)]),
    "in the middle": (17 * MIB, [(3 * MIB, MIB), (11 * MIB, 2 * MIB)]),
    "nothing but a hole": (25 * MIB, []),
    "hole within the first part": (2 * MIB, [(MIB, 4096)]),
    "odd size with a hole at the end": (17 * MIB + 123, [(5 * MIB, 4096)]),
    "hole up to the end of a part": (8 * MIB, [(0, 4 * MIB)]),
    "data up to the end of a part": (8 * MIB, [(4 * MIB, 4 * MIB)]),
    "no hole": (9 * MIB, [(0, 9 * MIB)]),
}


@pytest.fixture(params=SHAPES)
def sparse_file(request, tmp_path):
    """Return the path of a sparse file and the data it should hold."""
    size, runs = SHAPES[request.param]
    path = tmp_path / "source.img"
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, length in runs:
            file.seek(offset)
            file.write(support.payload(length, offset))
    return path


@pytest.mark.parametrize("known", [True, False])
def test_a_sparse_file_stays_sparse(store, tmp_path, sparse_file, known):
    """Adds sparse files: the same bytes, the same holes, the exact size."""
    data = sparse_file.read_bytes()
    with open(sparse_file, "rb") as source:
        record = store.add("one", source, len(data) if known else None)
        assert source.tell() == len(data)
    stored = tmp_path / "images" / "one"
    assert stored.read_bytes() == data
    assert record.size == stored.stat().st_size == len(data)
    assert record.digests["sha512"] == support.sha512(data)
    assert _holes(stored) == _holes(sparse_file)
    assert _taken(stored) <= _taken(sparse_file)


def test_without_thin_provisioning_zeroes_are_written(store, tmp_path):
    """Adds zeroes from memory: written as they are."""
    store.add("one", bytes(9 * MIB))
    assert _taken(tmp_path / "images" / "one") >= 9 * MIB


@pytest.mark.parametrize("known", [True, False])
def test_thin_provisioning_leaves_zeroes_out(make_file_store, tmp_path, known):
    """Adds zeroes and data from memory with filesystem_thin_provisioning."""
    store = make_file_store(filesystem_thin_provisioning="true")
    data = bytes(5 * MIB) + support.payload(8192) + bytes(13 * MIB) + b"x" + bytes(6 * MIB + 77)
    record = store.add("one", support.pieces(data, 100_000), len(data) if known else None)
    stored = tmp_path / "images" / "one"
    assert stored.read_bytes() == data
    assert record.size == len(data)
    assert record.digests["sha512"] == support.sha512(data)
    assert 8192 <= _taken(stored) <= 64 * 1024


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 4 * MIB, 12 * MIB + 1])
def test_thin_provisioning_of_nothing_but_zeroes(make_file_store, tmp_path, size):
    """Adds zeroes only: no room is taken, and the size is exact."""
    store = make_file_store(filesystem_thin_provisioning="true")
    store.add("one", bytes(size))
    assert (tmp_path / "images" / "one").read_bytes() == bytes(size)
    assert _taken(tmp_path / "images" / "one") == 0


def test_a_read_tells_its_extents(store, sparse_file):
    """Opens sparse images: data and holes follow each other without a gap, and are those of the file."""
    with open(sparse_file, "rb") as source:
        record = store.add("one", source)
    with store.open(record.location) as reader:
        extents = list(reader.extents())
        at = 0
        for extent in extents:
            assert extent.offset == at
            assert extent.length > 0
            at += extent.length
        assert at == record.size
        data = [(each.offset, each.offset + each.length) for each in extents if not each.hole]
    assert data == _holes(sparse_file)


def test_the_extents_of_a_range(store, tmp_path):
    """Opens a range that begins and ends inside a hole: offsets count from its start."""
    path = tmp_path / "source.img"
    with open(path, "wb") as file:
        file.seek(8 * MIB)
        file.write(support.payload(MIB))
        file.truncate(20 * MIB)
    with open(path, "rb") as source:
        record = store.add("one", source)
    with store.open(record.location, 5 * MIB, 10 * MIB) as reader:
        found = [(each.offset, each.length, each.hole) for each in reader.extents()]
    assert found == [(0, 3 * MIB, True), (3 * MIB, MIB, False), (4 * MIB, 6 * MIB, True)]


def test_from_store_to_store_holes_stay_holes(make_file_store, tmp_path, sparse_file):
    """Adds what another store's open() returned: holes cross over without being read."""
    one = make_file_store(filesystem_store_datadir=tmp_path / "one")
    two = make_file_store(filesystem_store_datadir=tmp_path / "two")
    with open(sparse_file, "rb") as source:
        first = one.add("image", source)
    with one.open(first.location) as reader:
        second = two.add("image", reader, first.size)
    assert second.digests == first.digests
    assert _holes(tmp_path / "two" / "image") == _holes(sparse_file)


def test_a_source_that_is_read_from_its_middle(store, tmp_path):
    """Adds a sparse file of which some was read before: only the rest is the image."""
    path = tmp_path / "source.img"
    with open(path, "wb") as file:
        file.write(b"header")
        file.truncate(30 * MIB)
    with open(path, "rb") as source:
        source.read(3)
        record = store.add("one", source)
    assert (tmp_path / "images" / "one").read_bytes() == b"der" + bytes(30 * MIB - 6)
    assert record.size == 30 * MIB - 3


def test_a_hole_larger_than_memory(make_file_store, tmp_path):
    """Adds a file that is all hole but for its ends and far larger than the memory granted: it takes no room."""
    store = make_file_store(memory_limit=12 * MIB)
    path = tmp_path / "source.img"
    with open(path, "wb") as file:
        file.write(b"begin")
        file.seek(400 * MIB - 3)
        file.write(b"end")
    with open(path, "rb") as source:
        record = store.add("one", source, digests=[])
    assert record.size == 400 * MIB
    assert subprocess.run(["cmp", path, tmp_path / "images" / "one"]).returncode == 0
    assert _taken(tmp_path / "images" / "one") <= MIB
