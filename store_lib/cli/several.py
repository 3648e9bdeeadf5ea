"""Several transfers at once, ended together by Ctrl-C."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["at_once"]

T = TypeVar("T")
R = TypeVar("R")

_POLL = 0.2


def at_once(work: Callable[[T, threading.Event], R], items: Sequence[T], jobs: int) -> list[R]:
    """Return ``[work(item, cancel), ...]``, at most `jobs` of them at a time; a single one runs in this thread.

    The first error ends the others and is raised once they have cleared away; so does Ctrl-C.
    """
    cancel = threading.Event()
    if len(items) == 1:
        return [work(items[0], cancel)]
    with concurrent.futures.ThreadPoolExecutor(min(jobs, len(items))) as pool:
        futures = [pool.submit(work, item, cancel) for item in items]
        try:
            left = set(futures)
            while left:
                done, left = concurrent.futures.wait(left, _POLL, concurrent.futures.FIRST_EXCEPTION)
                for future in done:
                    future.result()
        except BaseException:
            cancel.set()
            for future in futures:
                future.cancel()
            raise
    return [future.result() for future in futures]
