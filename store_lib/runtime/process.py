"""What belongs to one process: its identity for leftovers, values made anew after a fork, fork itself."""

from __future__ import annotations

import functools
import os
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from store_lib.interface import Owner

__all__ = ["PerProcess", "PerThread", "generation", "is_alive", "new_owner", "on_fork", "same_machine"]

T = TypeVar("T")


class _Forkable(Protocol):
    def after_fork(self) -> None: ...


_forkables: weakref.WeakSet[Any] = weakref.WeakSet()


def on_fork(thing: _Forkable) -> None:
    """Have ``thing.after_fork()`` called in every child right after a fork, as long as `thing` lives.

    Threads are gone in the child and locks may be held for ever: `after_fork` makes new ones.
    """
    _forkables.add(thing)


_forks = 0


def generation() -> int:
    """Return a number that differs between this process and what it was forked from; costs no system call."""
    return _forks


def _after_fork() -> None:
    global _forks
    _forks += 1
    _identity.cache_clear()
    for thing in list(_forkables):
        thing.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """Return the start time of `pid` in clock ticks since boot (field 22 of proc(5)'s stat), None if it is gone."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    # A zombie (state Z) holds no descriptor and writes nothing any more.
    return int(fields[19]) if len(fields) > 19 and fields[0] not in ("Z", "X") else None


@functools.cache
def _identity() -> tuple[str, str, int, int, int]:
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    pid = os.getpid()
    boot = _read("/proc/sys/kernel/random/boot_id").strip()
    return socket.gethostname(), boot, namespace, pid, _started(pid) or 0


def new_owner() -> Owner:
    """Return the owner record of a new transfer of this process."""
    return Owner(os.urandom(16).hex(), *_identity())


def same_machine(owner: Owner) -> bool:
    """Whether `owner` ran on this host, in this boot and this pid namespace: only then its pid means anything here."""
    mine = new_owner()
    return _place(owner) == _place(mine) and bool(mine.boot)


def _place(owner: Owner) -> tuple[str, str, int]:
    # Through encode, since what was read from a backend went through it and lost some characters.
    same = Owner.decode(owner.encode())
    assert same is not None
    return same.host, same.boot, same.pid_namespace


def is_alive(owner: Owner) -> bool:
    """Whether the process of `owner`, who is of this machine, still runs."""
    return _started(owner.pid) == owner.started


class PerProcess(Generic[T]):
    """A value that is made at first use in each process.

    Handles inherited through a fork are parked, neither used nor closed: closing them would speak on the parent's
    connection.

    :param factory: makes the value; its errors reach the caller of `get`, and the next call tries again.
    :param close: ends it.
    :param forget: called in a child with what it inherited, to let go of it without a word to the other side; without
        it, the value is merely parked.
    """

    def __init__(
        self,
        factory: Callable[[], T],
        close: Callable[[T], None] = lambda value: None,
        forget: Callable[[T], None] = lambda value: None,
    ) -> None:
        self._factory = factory
        self._close = close
        self._forget = forget
        self._values: list[T] = []
        self._parked: list[T] = []
        self._lock = threading.Lock()
        on_fork(self)

    def after_fork(self) -> None:
        """Start anew in the child."""
        self._lock = threading.Lock()
        inherited, self._values = self._values, []
        self._parked += inherited
        for value in inherited:  # each once: a descriptor's number may be another one's in a grandchild
            self._forget(value)

    def get(self) -> T:
        """Return this process's value; made once, others wait for it."""
        with self._lock:
            if not self._values:
                self._values.append(self._factory())
            return self._values[0]

    def discard(self, value: T) -> None:
        """Forget `value` if it is still the current one, and close it."""
        with self._lock:
            if not self._values or self._values[0] is not value:
                return
            self._values.clear()
        self._close(value)

    def close(self) -> None:
        """Close this process's value, if there is one."""
        with self._lock:
            values, self._values = self._values, []
        for value in values:
            self._close(value)


class PerThread(Generic[T]):
    """A value for each thread of each process, for clients that only one thread may use.

    :param factory: makes the value.
    """

    def __init__(self, factory: Callable[[], T]) -> None:
        self._factory = factory
        self._local = threading.local()
        on_fork(self)

    def after_fork(self) -> None:
        """Start anew in the child; the thread that forked would else find its parent's value."""
        self._local = threading.local()

    def get(self) -> T:
        """Return this thread's value, made at its first call."""
        try:
            value: T = self._local.value
        except AttributeError:
            value = self._local.value = self._factory()
        return value
