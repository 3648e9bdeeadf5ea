"""Copies and moves between two file stores on one file system, against ``cp``."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.case import Case, Target
from benchmarks.file_cases import made_input
from benchmarks.measure import GIB, MIB, Result, measured

__all__ = ["CASES"]


def _cp(folder: Path, size: int) -> Result:
    """Copy a file of `folder` the way an operator would without the library, bytes brought to the disk."""
    source, target = made_input(folder, size), folder / "copied"
    began = time.perf_counter()
    subprocess.run(["cp", "--reflink=never", str(source), str(target)], check=True)
    subprocess.run(["sync", str(target)], check=True)
    seconds = time.perf_counter() - began
    target.unlink()
    return Result(seconds, size, 0.0)


def _ours(folder: Path, size: int, delete_source: bool) -> Result:
    from oslo_config import cfg

    from benchmarks.sides import configured
    from store_lib import Stores

    sections = {
        "DEFAULT": {"enabled_backends": "one:file, two:file"},
        "glance_store": {"default_backend": "one"},
        "one": {"filesystem_store_datadir": str(folder / "one")},
        "two": {"filesystem_store_datadir": str(folder / "two")},
    }
    with Stores.from_config(configured(cfg.ConfigOpts(), sections)) as stores:
        with open(made_input(folder, size), "rb") as file:
            location = stores["one"].add("image", file, size, digests=["md5"]).location
        copied = []

        def work() -> int:
            copied.append(stores.copy(location, "two", delete_source=delete_source))
            return size

        result = measured(work)
        stores["two"].delete(copied[0].location)
        if not delete_source:
            stores["one"].delete(location)
    return result


def _migrate(name: str, folder: Path) -> Result:
    return _cp(folder, GIB) if name == "cp" else _ours(folder, GIB, True)


@contextlib.contextmanager
def _xfs(folder: Path) -> Iterator[Path]:
    """Mount a new XFS, which can share blocks between files, from a file on disk."""
    image, point = folder / "xfs.img", folder / "xfs"
    point.mkdir()
    with open(image, "wb") as file:
        file.truncate(max(4 * GIB, 512 * MIB))
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(point)], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)
        image.unlink()
        point.rmdir()


def _reflink(name: str, folder: Path) -> Result:
    with _xfs(folder) as point:
        result = _cp(point, GIB) if name == "cp" else _ours(point, GIB, False)
        gc.collect()  # what still holds its directory open
        return result


CASES = [
    Case(
        "copy-migrate-1g",
        "migrate 1 GiB between two stores of one file system, the source deleted",
        _migrate,
        ["cp"],
        [Target("throughput", 20.0, "cp")],
        peer=False,
    ),
    Case(
        "copy-reflink-1g",
        "copy 1 GiB between two stores of one XFS",
        _reflink,
        ["cp"],
        [Target("throughput", 20.0, "cp")],
        rounds=3,
        peer=False,
    ),
]
