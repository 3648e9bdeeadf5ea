"""Where the processors' time goes while the file store adds an image.

The pieces of the work are metered in the threads that do them, by what the kernel counts for each thread; what is left
of the process's time is the engine's own.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.file_cases import made_input, stores_of
from benchmarks.measure import GIB, MIB, measured

__all__ = ["PROFILES", "profiled"]

#: Digests and size in bytes of what can be profiled, by the name of the case.
PROFILES: dict[str, tuple[Sequence[str], int]] = {
    "file-add-1g": (["md5", "sha512"], GIB),
    "file-add-1g-sha512": (["sha512"], GIB),
}
_READING, _WRITING = "reading the source", "writing into the file"


class _Meter:
    """Seconds of processor time by kind of work; safe for threads."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = collections.defaultdict(float)
        self._lock = threading.Lock()

    def metered(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` with the time of its calls counted."""

        @functools.wraps(function)
        def work(*arguments: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*arguments)
            finally:
                with self._lock:
                    self.spent[kind] += time.thread_time() - began

        return work


class _Hash:
    """A digest whose updates are metered."""

    def __init__(self, made: Any, meter: _Meter) -> None:
        self._made = made
        self.update = meter.metered(made.name, made.update)

    def hexdigest(self) -> str:
        return str(self._made.hexdigest())


def _metered(meter: _Meter) -> None:
    """Have this process's store_lib count where its time goes."""
    from store_lib.drivers._file_transfer import FileUpload
    from store_lib.transfer import digest, source

    new_hash = digest.new_hash
    digest.new_hash = lambda name: _Hash(new_hash(name), meter)
    for kind, owner, name in ((_READING, source._Regular, "read_into"), (_WRITING, FileUpload, "write_part")):
        setattr(owner, name, meter.metered(kind, getattr(owner, name)))


def profiled(case: str, folder: Path) -> Iterator[str]:
    """Add an image once and yield the lines that tell where the time went."""
    digests, size = PROFILES[case]
    path = made_input(folder, size)
    alone = {name: _alone(name, path) for name in digests}
    stores = stores_of("store_lib", folder)
    stores.delete(stores.add("warm", iter([b"x"]), 1, list(digests)))
    meter = _Meter()
    _metered(meter)
    uris: list[str] = []

    def work() -> int:
        with open(path, "rb") as file:
            uris.append(stores.add("image", file, size, list(digests)))
        return size

    result = measured(work)
    stores.delete(uris[0])
    return _lines(meter, alone, result.seconds, result.processor, size)


def _alone(name: str, path: Path) -> float:
    """Return the seconds that a digest takes over bytes that are in memory already, nothing else being done."""
    data = path.read_bytes()
    began = time.perf_counter()
    hashlib.new(name, data, usedforsecurity=False).hexdigest()
    return time.perf_counter() - began


def _lines(meter: _Meter, alone: dict[str, float], seconds: float, processor: float, size: int) -> Iterator[str]:
    yield f"{size // MIB} MiB, {' + '.join(alone)}"
    rows = sorted(meter.spent.items(), key=lambda each: each[1], reverse=True)
    rows.append(("everything else", processor - sum(meter.spent.values())))
    for kind, spent in [*rows, ("in all", processor)]:
        yield f"  {kind:24} {spent:6.2f} s of a processor  {spent / processor:4.0%}"
    count = len(os.sched_getaffinity(0))
    slowest = max(alone, key=lambda name: alone[name])
    least = max(processor / count, meter.spent[slowest])
    yield f"  {'took':24} {seconds:6.2f} s"
    yield f"  {f'at best, {count} processors':24} {least:6.2f} s                {least / seconds:4.0%} of that reached"
    for name, each in alone.items():
        yield f"  {f'{name} alone':24} {each:6.2f} s                {each / seconds:4.0%} of its speed reached"
    yield f"  {f'most of {slowest} alone':24} {min(1.0, alone[slowest] / least):6.0%}   that {count} processors allow"
