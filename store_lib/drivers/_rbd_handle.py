"""Handles of a C library: closed only once nobody is inside a call, and never in a forked child."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from store_lib import errors

__all__ = ["Handle", "never_free"]

T = TypeVar("T")


class Handle(Generic[T]):
    """Something that crashes the process when it is closed under a call that is still going on.

    :param value: the library's object.
    :param close: ends it; called once, by `close` or by whoever leaves last.
    """

    def __init__(self, value: T, close: Callable[[T], None]) -> None:
        self._value = value
        self._close = close
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._users = 0
        self._closing = False

    @contextlib.contextmanager
    def use(self) -> Iterator[T]:
        """Yield the object, which stays open meanwhile.

        :raises StoreUnavailable: it was closed, or belongs to the process that this one was forked from.
        """
        self.enter()
        try:
            yield self._value
        finally:
            self.leave()

    def enter(self) -> T:
        """Return the object, which stays open until `leave`; raises as `use`."""
        if self._process != os.getpid():
            raise errors.StoreUnavailable("this was opened before a fork; open it again", transient=False)
        with self._lock:
            if self._closing:
                raise errors.StoreUnavailable("the connection was closed meanwhile")
            self._users += 1
        return self._value

    def leave(self) -> None:
        """Undo one `enter`."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._users -= 1
            last = self._closing and not self._users
        if last:
            self._close(self._value)

    def close(self) -> None:
        """Let nobody in any more and end it once everybody is out; harmless when repeated and in a forked child."""
        if self._process != os.getpid():
            return
        with self._lock:
            if self._closing:
                return
            self._closing = True
            last = not self._users
        if last:
            self._close(self._value)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # nobody is left to be told
            self.close()


def never_free(value: Any) -> None:
    """Keep `value`, which a fork left to this child, until the process ends.

    Freeing it would wait for threads that only the parent has.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
