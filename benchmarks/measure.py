"""What a benchmark's process measures about itself."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterator

__all__ = ["GIB", "MIB", "SCALE", "RandomStream", "Result", "measured", "rss_mib", "tell"]

#: Name of the environment variable by which ``--scale`` reaches the processes of the sides.
SCALE = "STORE_LIB_BENCH_SCALE"
MIB = 1024 * 1024
#: What the cases count their sizes in: a GiB, unless they are to be quick.
GIB = 1024 * MIB // int(os.environ.get(SCALE, "1"))


@dataclasses.dataclass
class Result:
    """One run: seconds, bytes moved (0: a latency), and memory beyond the idle process in MiB.

    :param processor: seconds that processors spent on this process and on the commands that it ran.
    :param others: seconds that they spent on everything else of this machine meanwhile: on the servers, if it is quiet.
    """

    seconds: float
    size: int
    memory: float
    processor: float = 0.0
    others: float = 0.0


def _status(name: str) -> float:
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
    raise KeyError(name)


def _busy() -> float:
    """Return the seconds that this machine's processors have worked since it started."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _wait, irq, softirq = (int(field) for field in file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def rss_mib() -> float:
    """Return the memory of this process now, MiB."""
    return _status("VmRSS")


def measured(work: Callable[[], int]) -> Result:
    """Run `work`, which returns the bytes it moved, and measure time and peak memory."""
    idle = rss_mib()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the peak counts from here on
    began, spent, busy = time.perf_counter(), sum(os.times()[:4]), _busy()
    size = work()
    seconds = time.perf_counter() - began
    spent, busy = sum(os.times()[:4]) - spent, _busy() - busy
    return Result(seconds, size, max(0.0, _status("VmHWM") - idle), spent, max(0.0, busy - spent))


def tell(result: Result) -> None:
    """Print `result` for the process that started this one."""
    sys.stdout.write("RESULT " + json.dumps(dataclasses.asdict(result)) + "\n")
    sys.stdout.flush()


class RandomStream:
    """A source of `size` bytes that nobody can compress and that take no memory: only ``read(n)``, as services give."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._block = memoryview(os.urandom(8 * MIB))
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`."""
        count = min(size, self._left, len(self._block) - self._at)
        piece = self._block[self._at : self._at + count]
        self._at = (self._at + count) % len(self._block)
        self._left -= count
        return piece.tobytes()

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(65536):
            yield piece
