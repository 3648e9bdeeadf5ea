"""The S3 store on Ceph's gateway over TLS, which `tools/services/rgw` starts in .services/rgw and which stays there.

``bare`` is loopback, where two processors are the limit; ``30 MiB/s`` is a relay that lets no connection go faster.
The sides of `benchmarks.s3_sides.PLAIN` compute no digests of the image.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Target
from benchmarks.file_cases import made_input
from benchmarks.measure import GIB, MIB, RandomStream, Result, measured
from benchmarks.s3_sides import BUCKET, PLAIN, Gateway
from benchmarks.sides import configured

__all__ = ["CASES"]

_BOTH = ["md5", "sha512"]
_THROTTLED = 30 * MIB
#: Another one in each run: one that failed may have left its own.
_IMAGE = f"image-{os.getpid()}"


@contextlib.contextmanager
def _side(name: str, rate: int | None = None, **options: str) -> Iterator[Any]:
    gateway = Gateway(rate)
    try:
        yield gateway.side(name, **options)
    finally:
        gateway.close()


def _add(digests: list[str], known: bool, rate: int | None = None, size: int = GIB) -> Callable[[str, Path], Result]:
    def run(name: str, folder: Path) -> Result:
        path = made_input(folder, size)
        none = {} if digests else {"s3_store_content_md5": "false"}  # of parts neither
        with _side(name, rate, **none) as stores:
            stores.delete(stores.add("warm", io.BytesIO(b"x"), 1, digests))
            uris: list[str] = []

            def work() -> int:
                with open(path, "rb") as file:
                    uris.append(stores.add(_IMAGE, file, size if known else None, digests))
                return size

            result = _measured(stores, work)
            stores.delete(uris[0])
            return result

    return run


def _measured(stores: Any, work: Callable[[], int]) -> Result:
    """Measure `work`; of a side that is a command the memory is the command's."""
    result = measured(work)
    memory = getattr(stores, "memory", None)
    return result if memory is None else dataclasses.replace(result, memory=memory)


def _get(rate: int | None = None, size: int = GIB) -> Callable[[str, Path], Result]:
    def run(name: str, folder: Path) -> Result:
        with _side("boto3") as filler, open(made_input(folder, size), "rb") as file:
            filler.add(_IMAGE, file, size, [])
        with _side(name, rate) as stores:
            uri = stores.add("warm", io.BytesIO(b"x"), 1, ["sha512"])
            result = _measured(stores, lambda: stores.get(uri.removesuffix("warm") + _IMAGE))
            assert result.size == size
            for image_id in ("warm", _IMAGE):
                stores.delete(uri.removesuffix("warm") + image_id)
            return result

    return run


def _small_add(name: str, folder: Path) -> Result:
    """Return the mean of adds of 64 KiB, known size."""
    data, count = os.urandom(64 * 1024), 30
    with _side(name) as stores:
        uris = [stores.add("warm", io.BytesIO(b"x"), 1, _BOTH)]

        def work() -> int:
            uris.extend(stores.add(f"image-{number}", io.BytesIO(data), len(data), _BOTH) for number in range(count))
            return 0

        result = measured(work)
        for uri in uris:
            stores.delete(uri)
        return Result(result.seconds / count, 0, result.memory)


def _slow_server(name: str, folder: Path, size: int = GIB) -> Result:
    """Add from a fast source to a server that takes 25 MiB/s over ten connections: the peak of memory counts."""
    with _side(name, 25 * MIB // 10) as stores:
        stores.delete(stores.add("warm", io.BytesIO(b"x"), 1, _BOTH))
        uris: list[str] = []

        def work() -> int:
            uris.append(stores.add(_IMAGE, RandomStream(size), size, _BOTH))
            return size

        result = measured(work)
        stores.delete(uris[0])
        return result


def _copy(name: str, folder: Path, size: int = GIB) -> Result:
    """Copy into another bucket of the same server: inside it, or by the bytes."""
    with contextlib.closing(Gateway()) as gateway:
        gateway.make_bucket(f"{BUCKET}-2")
        return _copied(gateway, name, folder, size)


def _copied(gateway: Gateway, name: str, folder: Path, size: int) -> Result:
    from oslo_config import cfg

    from store_lib import Stores

    by_bytes = {"disabled_features": "copy"} if name == "streamed" else {}
    sections = {
        "DEFAULT": {"enabled_backends": "one:s3, two:s3"},
        "glance_store": {"default_backend": "one"},
        "one": gateway.section() | by_bytes,
        "two": gateway.section(f"{BUCKET}-2") | by_bytes,
    }
    with Stores.from_config(configured(cfg.ConfigOpts(), sections)) as stores:
        with open(made_input(folder, size), "rb") as file:
            location = stores["one"].add("image", file, size, digests=["md5"]).location
        copied = []

        def work() -> int:
            copied.append(stores.copy(location, "two"))
            return size

        result = measured(work)
        stores["two"].delete(copied[0].location)
        stores["one"].delete(location)
        return result


_OTHERS = list(PLAIN)
_FASTEST = [Target("throughput", 0.9, name) for name in _OTHERS]

CASES = [
    Case(
        "s3-add-1g",
        "add 1 GiB to S3, bare",
        _add(_BOTH, True),
        _OTHERS,
        [Target("throughput", 1.3)],
        rounds=3,
    ),
    Case(
        "s3-add-1g-slow",
        "add 1 GiB to S3, 30 MiB/s a connection",
        _add(_BOTH, True, _THROTTLED),
        _OTHERS,
        [Target("throughput", 1.0)],
        rounds=3,
    ),
    Case(
        "s3-add-1g-unknown",
        "add 1 GiB to S3, size not known",
        _add(_BOTH, False),
        _OTHERS,
        [Target("throughput", 3.0)],
        rounds=3,
    ),
    Case(
        "s3-add-1g-unknown-slow",
        "add 1 GiB to S3, size not known, 30 MiB/s a connection",
        _add(_BOTH, False, _THROTTLED),
        _OTHERS,
        [Target("throughput", 3.0)],
        rounds=3,
    ),
    Case(
        "s3-add-1g-bare-digests",
        "add 1 GiB to S3 without digests",
        _add([], True),
        _OTHERS,
        _FASTEST,
        rounds=3,
        peer=False,
    ),
    Case(
        "s3-add-1g-slow-no-digests",
        "add 1 GiB to S3 without digests, 30 MiB/s a connection",
        _add([], True, _THROTTLED),
        _OTHERS,
        _FASTEST,
        rounds=3,
        peer=False,
    ),
    Case("s3-get-1g", "read 1 GiB from S3, bare", _get(), _OTHERS, [Target("throughput", 1.3)], rounds=3),
    Case(
        "s3-get-1g-slow",
        "read 1 GiB from S3, 30 MiB/s a connection",
        _get(_THROTTLED),
        _OTHERS,
        [Target("throughput", 3.0)],
        rounds=3,
    ),
    Case("s3-add-64k", "add 64 KiB to S3", _small_add, [], [Target("latency", 2.0)], rounds=3),
    Case("s3-add-1g-memory", "add 1 GiB to a slow S3", _slow_server, [], [Target("memory", 150)], rounds=1),
    Case(
        "s3-copy-1g",
        "copy 1 GiB between two buckets of a server",
        _copy,
        ["streamed"],
        [Target("throughput", 3.0, "streamed")],
        rounds=3,
        peer=False,
    ),
]
