"""What a benchmark case is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import Result

__all__ = ["Case", "Target"]


@dataclasses.dataclass(frozen=True)
class Target:
    """What is asked of store_lib.

    :param kind: ``throughput`` or ``latency``: at least `value` times as good as `against`; ``memory``: at most `value`
        MiB over the idle process.
    """

    kind: str
    value: float
    against: str = "glance_store"


@dataclasses.dataclass(frozen=True)
class Case:
    """One comparison.

    :param run: called in a process of its own with the side's name and a folder on tmpfs.
    :param others: what runs in turn beside the two libraries.
    :param rounds: how often each side runs; medians count.
    :param peer: whether glance_store can do it at all.
    """

    name: str
    title: str
    run: Callable[[str, Path], Result]
    others: Sequence[str] = ()
    targets: Sequence[Target] = ()
    rounds: int = 5
    peer: bool = True

    @property
    def sides(self) -> list[str]:
        """Everything that runs."""
        return [*(["glance_store"] if self.peer else []), "store_lib", *self.others]
