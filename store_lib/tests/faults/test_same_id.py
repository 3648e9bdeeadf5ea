"""One id, many writers."""

import mmap
import struct
import threading
import time

import pytest

from store_lib import errors
from store_lib.tests import support

MIB = support.MIB
ROUNDS = 3
THREADS = 32
PROCESSES = 8


def _judge(store, folder, told):
    """See that one of ``(writer, digest or None)`` won, that its bytes are there, and nothing else."""
    winners = [digest for digest in told if digest is not None]
    assert len(winners) == 1
    assert support.names(folder) == ["same"]
    store.verify(f"file://{folder}/same", f"sha512:{winners[0]}")
    assert not list(store.leftovers())


@pytest.mark.parametrize("size", [1000, MIB])
@pytest.mark.parametrize("late", [False, True])
def test_threads(make_file_store, tmp_path, temporary, size, late):
    """Adds one id from 32 threads at once, several rounds; `late`: all have found the name free before one is done."""
    store = make_file_store(part_size=256 * 1024)  # there is memory for all of them at once
    for turn in range(ROUNDS):
        barrier = threading.Barrier(THREADS)
        told: list[str | None] = []

        def add(number, barrier=barrier, told=told, turn=turn):
            data = support.payload(size, number % 4 + 10 * turn) + bytes([number])

            def source():
                if late:
                    barrier.wait(60)
                yield data

            if not late:
                barrier.wait(60)
            try:
                told.append(store.add("same", source(), digests=["sha512"]).digests["sha512"])
                assert told[-1] == support.sha512(data)
            except errors.Duplicate:
                told.append(None)

        threads = [threading.Thread(target=add, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(told) == THREADS
        _judge(store, tmp_path / "images", told)
        store.delete(f"file://{tmp_path}/images/same")


class Gate:
    """Lets processes go on once all of them have come."""

    def __init__(self, count):
        self._memory = mmap.mmap(-1, 8 * count)
        self._count = count

    def wait(self, number):
        self._memory[8 * number : 8 * number + 8] = struct.pack("q", 1)
        while sum(struct.unpack(f"{self._count}q", self._memory[:])) < self._count:
            time.sleep(0)

    def close(self):
        self._memory.close()


def _add_in_process(store, gate, number, late):
    data = support.payload(2 * MIB, number) + bytes([number])

    def source():
        yield data[:1000]
        if late:
            gate.wait(number)
        yield data[1000:]

    if not late:
        gate.wait(number)
    try:
        return store.add("same", source(), digests=["sha512"]).digests["sha512"]
    except errors.Duplicate:
        return None


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_processes(make_file_store, tmp_path, temporary, late, several):
    """Adds one id from 8 processes at once, several rounds, into one directory and into one of three."""
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "c"] if several else [tmp_path / "a"]
    # The processes prefer different directories.
    stores = [
        make_file_store(
            part_size=256 * 1024,
            filesystem_store_datadirs=[f"{each}:{(index + turn) % 3}" for index, each in enumerate(folders)],
        )
        for turn in range(3)
    ]
    for _ in range(ROUNDS):
        gate = Gate(PROCESSES)
        children = [
            support.Child(_add_in_process, stores[number % 3], gate, number, late) for number in range(PROCESSES)
        ]
        told = []
        for child in children:
            with child:
                told.append(child.result())
        gate.close()
        holding = [folder for folder in folders if support.names(folder)]
        assert len(holding) == 1
        _judge(stores[0], holding[0], told)
        stores[0].delete(f"file://{holding[0]}/same")


def test_winners_and_deletes(store, tmp_path, temporary):
    """Adds and deletes one id from many threads for a while: whoever reads it gets one writer's whole bytes."""
    end = time.monotonic() + 2
    whole = {support.sha512(support.payload(200_000, number)) for number in range(6)}
    seen: set[str] = set()
    wrong = []

    def write(number):
        while time.monotonic() < end:
            try:
                record = store.add("same", support.payload(200_000, number))
                store.delete(record.location, missing_ok=True)
            except errors.Duplicate:
                pass

    def read():
        while time.monotonic() < end:
            try:
                seen.add(support.sha512(support.content(store, f"file://{tmp_path}/images/same")))
            except errors.NotFound:
                pass

    def run(function, *arguments):
        try:
            function(*arguments)
        except BaseException as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=run, args=(write, number)) for number in range(6)]
    threads += [threading.Thread(target=run, args=(read,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert seen
    assert seen <= whole
    assert set(support.names(tmp_path / "images")) <= {"same"}
