"""Who may sweep what: one policy above all drivers."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterable, Sequence

from store_lib import errors
from store_lib.interface import Leftover
from store_lib.runtime import is_alive, same_machine

__all__ = ["SweepResult", "may_go", "sweep"]


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """What a sweep did: what it removed (or would remove), what it kept, and what it could not remove and why."""

    removed: Sequence[Leftover]
    kept: Sequence[Leftover]
    failed: Sequence[tuple[Leftover, errors.StoreLibError]]


def may_go(leftover: Leftover, now: datetime.datetime, age: float) -> bool:
    """Whether `leftover` may be removed.

    A proven live writer keeps it.  What was given up goes, and what a process of this very machine left as soon as that
    process is gone; pids mean nothing across hosts, boots and pid namespaces, so all else goes only once the backend
    saw no activity for long.  So does what a living process failed to clear away without a word of it.

    :param now: by the backend's clock as well as it is known, UTC.
    :param age: seconds without activity.
    """
    if leftover.alive:
        return False
    if leftover.abandoned:
        return True
    if leftover.owner is not None and same_machine(leftover.owner) and not is_alive(leftover.owner):
        return True
    return leftover.last_activity is not None and (now - leftover.last_activity).total_seconds() > age


def sweep(
    leftovers: Iterable[Leftover], remove: Callable[[Leftover], None] | None, now: datetime.datetime, age: float
) -> SweepResult:
    """Remove what may go, and tell what became of each.

    :param remove: removes one; None only tells what would be removed.
    :param now: as in `may_go`, and `age`.
    """
    removed: list[Leftover] = []
    kept: list[Leftover] = []
    failed: list[tuple[Leftover, errors.StoreLibError]] = []
    for leftover in [*leftovers]:
        if not may_go(leftover, now, age):
            kept.append(leftover)
            continue
        try:
            if remove is not None:
                remove(leftover)
            removed.append(leftover)
        except (errors.InUse, errors.NotFound):
            kept.append(leftover)
        except errors.StoreLibError as error:
            failed.append((leftover, error))
    return SweepResult(removed, kept, failed)
