"""Who may sweep what: one policy above all drivers."""

from __future__ import annotations

import datetime

from store_lib.interface import Leftover
from store_lib.runtime import is_alive, same_machine

__all__ = ["may_go"]


def may_go(leftover: Leftover, now: datetime.datetime, age: float) -> bool:
    """Whether `leftover` may be removed.

    A proven live writer keeps it.  What a process of this very machine left goes as soon as that process is gone; pids
    mean nothing across hosts, boots and pid namespaces, so all else goes only once the backend saw no activity for
    long.  So does what a living process failed to clear away.

    :param now: by the backend's clock as well as it is known, UTC.
    :param age: seconds without activity.
    """
    if leftover.alive:
        return False
    if leftover.owner is not None and same_machine(leftover.owner) and not is_alive(leftover.owner):
        return True
    return leftover.last_activity is not None and (now - leftover.last_activity).total_seconds() > age
