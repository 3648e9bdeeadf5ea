"""The file store on tmpfs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.case import Case, Target
from benchmarks.measure import GIB, MIB, RandomStream, Result, measured
from benchmarks.sides import Ours, Peer, side

__all__ = ["CASES", "made_input", "stores_of"]

_BOTH = ["md5", "sha512"]


def stores_of(name: str, folder: Path) -> Ours | Peer:
    """Return a library with one file store in a folder of its own below `folder`."""
    return side(name)(
        {
            "DEFAULT": {"enabled_backends": "one:file"},
            "glance_store": {"default_backend": "one"},
            "one": {"filesystem_store_datadir": str(folder / name)},
        }
    )


def made_input(folder: Path, size: int) -> Path:
    """Return a file of random bytes, made once."""
    path = folder / f"input-{size}"
    if not path.exists():
        block = os.urandom(64 * MIB)
        with open(path, "wb") as file:
            for _ in range(0, size, len(block)):
                file.write(block)
            file.truncate(size)
    return path


def _add(digests: list[str], size: int, known: bool = True):
    def run(name: str, folder: Path) -> Result:
        path = made_input(folder, size)
        if name == "slowest digest":
            return _digest_alone(path, digests)
        stores = stores_of(name, folder)
        uris: list[str] = []

        def work() -> int:
            with open(path, "rb") as file:
                uris.append(stores.add("image", file, size if known else None, digests))
            return size

        stores.delete(stores.add("warm", iter([b"x"]), 1, digests))
        result = measured(work)
        stores.delete(uris[0])
        return result

    return run


def _digest_alone(path: Path, digests: list[str]) -> Result:
    """Time each digest over a buffer that is in memory already; return the slowest."""
    block = path.read_bytes()
    times = []
    for name in digests:
        began = time.perf_counter()
        hashlib.new(name, block).hexdigest()
        times.append(time.perf_counter() - began)
    return Result(max(times), len(block), 0.0)


def _get(size: int, offset: int = 0, length: int | None = None):
    def run(name: str, folder: Path) -> Result:
        stores = stores_of(name, folder)
        with open(made_input(folder, size), "rb") as file:
            uri = stores.add("image", file, size, ["sha512"])
        stores.get(uri, 0, MIB)
        result = measured(lambda: stores.get(uri, offset, length))
        assert result.size == (length or size)
        stores.delete(uri)
        return result

    return run


def _small_add(name: str, folder: Path) -> Result:
    """Return the mean of many adds of 64 KiB, known size."""
    stores = stores_of(name, folder)
    data = os.urandom(64 * 1024)
    count = 300

    def work() -> int:
        for number in range(count):
            import io

            stores.add(f"image-{number}", io.BytesIO(data), len(data), _BOTH)
        return 0

    result = measured(work)
    for number in range(count):
        stores.delete(f"file://{folder}/{name}/image-{number}")
    return Result(result.seconds / count, 0, result.memory)


def _memory(known: bool):
    def run(name: str, folder: Path) -> Result:
        size = 8 * GIB
        stores = stores_of(name, folder)
        stores.delete(stores.add("warm", iter([b"x"]), 1, _BOTH))
        uris: list[str] = []

        def work() -> int:
            uris.append(stores.add("image", RandomStream(size), size if known else None, _BOTH))
            return size

        result = measured(work)
        stores.delete(uris[0])
        return result

    return run


def _import(name: str, folder: Path) -> Result:
    """Time a fresh interpreter that imports the library, less one that imports nothing."""
    empty = _seconds_of("pass")
    return Result(_seconds_of(f"import {name}") - empty, 0, 0.0)


def _seconds_of(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def _ten_stores(name: str, folder: Path) -> Result:
    ids = [f"store{number}" for number in range(10)]
    sections = {
        "DEFAULT": {"enabled_backends": ", ".join(f"{each}:file" for each in ids)},
        "glance_store": {"default_backend": ids[0]},
        **{each: {"filesystem_store_datadir": str(folder / name / each)} for each in ids},
    }

    def work() -> int:
        side(name)(sections)
        return 0

    return measured(work)


CASES = [
    Case(
        "file-add-1g",
        "add 1 GiB, md5 + sha512",
        _add(_BOTH, GIB),
        ["slowest digest"],
        [Target("throughput", 2.0), Target("throughput", 0.85, "slowest digest")],
    ),
    Case(
        "file-add-1g-unknown",
        "add 1 GiB, md5 + sha512, size not known",
        _add(_BOTH, GIB, False),
        [],
        [Target("throughput", 2.0)],
    ),
    Case(
        "file-add-1g-sha512",
        "add 1 GiB, sha512 alone (the peer computes md5 as well)",
        _add(["sha512"], GIB),
        ["slowest digest"],
        [Target("throughput", 3.0), Target("throughput", 0.85, "slowest digest")],
    ),
    Case("file-get-1g", "read 1 GiB", _get(GIB), [], [Target("throughput", 1.0)]),
    Case(
        "file-get-range",
        "read 256 MiB from the middle of 1 GiB",
        _get(GIB, GIB // 3 + 7, GIB // 4),
        [],
        [Target("throughput", 1.0)],
    ),
    Case("file-add-64k", "add 64 KiB", _small_add, [], [Target("latency", 1.0)]),
    Case("file-add-8g", "add 8 GiB, size known", _memory(True), [], [Target("memory", 150)], rounds=1),
    Case("file-add-8g-unknown", "add 8 GiB, size not known", _memory(False), [], [Target("memory", 150)], rounds=1),
    Case("import", "import the library", _import, [], [Target("latency", 2.0)], rounds=7),
    Case("start-ten", "start ten stores", _ten_stores, [], [Target("latency", 2.0)], rounds=7),
]
