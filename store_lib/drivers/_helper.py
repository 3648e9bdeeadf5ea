"""Helper processes: file operations that can be given up.

A dead file server hangs calls in the kernel for minutes, and no thread can be taken out of there; a process can be
killed.  So the functions of `_posix` run in small processes which are reached through a socket, with the bytes of
images in memory that both sides see.  This process then holds no descriptor on the file system in question.

A helper serves any number of open files, one call at a time.
"""

from __future__ import annotations

import array
import collections
import contextlib
import functools
import itertools
import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from store_lib import errors
from store_lib.drivers import _posix, _posix_copy
from store_lib.drivers._helper_memory import SharedMap, address_of
from store_lib.drivers._posix import Span

__all__ = ["Helper", "others_hang", "renew", "soonest", "together"]

_MAIN = str(Path(__file__).with_name("_helper_main.py"))
#: Length of the pickled request, number of a block whose descriptor comes along (0: none).
_HEADER = struct.Struct("!II")
_ANSWER = struct.Struct("!I")
#: Most bytes of an answer that are taken at once; nearly all are shorter.
_PIECE = 65536
#: Largest piece that is read in one call, bytes.
_READ = 1024 * 1024
#: Seconds for the process to start, which the first opening of a directory may take beyond the time of one call.
_START = 0.5


class _Bound(threading.local):
    """Until when this thread's calls have to end, where that was said for several of them."""

    until: float | None = None
    seconds = 0.0


_BOUND = _Bound()


@contextlib.contextmanager
def together(timeout: float) -> Iterator[None]:
    """Have this thread's calls inside, all together and with waiting for a helper, take no longer than one may.

    Else each step of an operation would have the time of one call.  An outer `together` stays in force.

    :param timeout: seconds for one call.
    """
    if _BOUND.until is not None:
        yield
        return
    _BOUND.seconds = timeout + _START
    _BOUND.until = time.monotonic() + _BOUND.seconds
    try:
        yield
    finally:
        _BOUND.until = None


def renew() -> None:
    """Count the time of `together` anew, after something that took its own time."""
    if _BOUND.until is not None:
        _BOUND.until = time.monotonic() + _BOUND.seconds


def soonest(deadline: float) -> float:
    """Return `deadline`, or until when this thread's calls have to end if that is sooner; by time.monotonic()."""
    return deadline if _BOUND.until is None else min(deadline, _BOUND.until)


class Helper:
    """One helper process.  Every function of `_posix` and `_posix_copy` is a method of it; several threads take turns.

    :param timeout: seconds that one call may take; then the process is killed.
    :param changed: called, by any thread, when it may have become idle, has opened a directory or was killed.
    :raises StoreUnavailable: a process cannot be started.
    """

    killable = True

    def __init__(self, timeout: float, changed: Callable[[], None] = lambda: None) -> None:
        self._timeout = timeout
        self._changed = changed
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._told: dict[int, weakref.ref[SharedMap]] = {}
        #: What is held open there, by the users' own keys (directories).
        self.kept: dict[Any, Any] = {}
        self.opening = _Opening(timeout, changed)
        #: Open files.
        self.files = 0
        self._stray: collections.deque[int] = collections.deque()
        #: Calls that run or wait.
        self.load = 0
        self.lost_since: float | None = None
        #: Whether it was killed because a call took too long.
        self.overdue = False
        #: When it last ended a call.
        self.answered = 0.0
        self._ended = False
        self._buffer = SharedMap(_READ)
        self.pid, self._socket, self._lifeline = _spawn()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        module = _posix_copy if name in _posix_copy.__all__ else _posix
        if name.startswith("_") or not callable(getattr(module, name, None)):
            raise AttributeError(name)
        return functools.partial(self.call, name)

    # -- calls --------------------------------------------------------------------------------------------------------

    def close_later(self, file: int) -> None:
        """Have a descriptor closed before the next call; never waits."""
        self._stray.append(file)

    def call(self, name: str, *arguments: Any) -> Any:
        """Run a function of `_posix` in the process and return what it returns.

        :raises OSError: what it raised.
        :raises OperationTimeout: it did not end in time; the process was killed, and what it had open is gone.
        :raises StoreUnavailable: the process has ended.
        """
        with self._turn() as deadline:
            return self._exchange(name, arguments, deadline)

    def write(self, file: int, data: memoryview, offset: int) -> None:
        """Write all of `data` at `offset`; see `_posix.write`."""
        with self._turn() as deadline:
            if isinstance(data.obj, SharedMap):
                span, new = self._span(data)
                self._exchange("write", (file, span, offset), deadline, new)
                return
            for start in range(0, len(data), _READ):  # bytes from elsewhere
                piece = data[start : start + _READ]
                with memoryview(self._buffer) as own:
                    own[: len(piece)] = piece
                    span, new = self._span(own[: len(piece)])
                self._exchange("write", (file, span, offset + start), deadline, new)

    def read(self, file: int, size: int, offset: int) -> bytes:
        """Return up to `size` bytes from `offset`; see `_posix.read`."""
        with self._turn() as deadline, memoryview(self._buffer) as own:
            view = own[: min(size, _READ)]
            span, new = self._span(view)
            count: int = self._exchange("read_into", (file, span, offset), deadline, new)
            return bytes(view[:count])

    @contextlib.contextmanager
    def _turn(self) -> Any:
        deadline = self.opening.deadline()
        self.load += 1
        try:
            if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise others_hang(self._timeout)
            try:
                if self._ended:
                    raise errors.StoreUnavailable("the helper process of this transfer has ended", transient=False)
                while self._stray:
                    self._exchange("close", (self._stray.popleft(),), deadline)
                yield deadline
            finally:
                self._lock.release()
        finally:
            self.load -= 1
            self._changed()

    def _span(self, data: memoryview) -> tuple[Span, int]:
        """Return how the process knows `data`, and the number of its block if the process does not know that yet."""
        block = data.obj
        assert isinstance(block, SharedMap)
        known = next((number for number, told in self._told.items() if told() is block), 0)
        number = known or next(self._numbers)
        if not known:
            self._told[number] = weakref.ref(block)
        start = address_of(data) - block.address if len(data) else 0
        return Span(number, start, start + len(data)), 0 if known else number

    def _exchange(self, name: str, arguments: tuple[Any, ...], deadline: float, new: int = 0) -> Any:
        gone = [number for number, told in self._told.items() if _is_gone(told)]
        for number in gone:
            del self._told[number]
        request = pickle.dumps((name, arguments, gone))
        try:
            self._send(_HEADER.pack(len(request), new) + request, new)
            value, number, text = pickle.loads(self._receive(deadline))
            self.answered = time.monotonic()
        except (EOFError, OSError) as error:  # of the connection, which another thread may have closed
            self.kill()
            raise errors.StoreUnavailable(
                "the helper process ended in the middle of a request", transient=False, outcome=errors.Outcome.UNKNOWN
            ) from error
        except BaseException:
            self.kill()  # interrupted or overdue: its answer would be taken for that of the next request
            raise
        if number is not None:
            raise OSError(number, text)
        return value

    def _send(self, message: bytes, new: int) -> None:
        """Send a request at once, so that the process wakes once for it; with the descriptor of a `new` block."""
        sent = 0
        if new:
            block = self._told[new]()
            assert block is not None
            beside = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [block.fd]))
            sent = self._socket.sendmsg([message], [beside])
        if sent < len(message):
            self._socket.sendall(memoryview(message)[sent:])

    def _receive(self, deadline: float) -> memoryview:
        """Return the answer, the only one on its way."""
        data = bytearray()
        size = _ANSWER.size
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                self.overdue = True
                raise errors.OperationTimeout(
                    f"the file system did not answer within {self._timeout:g} s", transient=False
                )
            piece = self._socket.recv(_PIECE)
            if not piece:
                raise EOFError
            if len(data) < _ANSWER.size <= len(data) + len(piece):
                size += _ANSWER.unpack_from(data + piece)[0]
            data += piece
        return memoryview(data)[_ANSWER.size :]

    # -- its end ------------------------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether it can be given work."""
        return not self._ended

    @property
    def beginning(self) -> bool:
        """Whether it works on its first directory, and so has not shown yet that the file system answers it."""
        return not self._ended and not self.kept and self.load > 0

    def kill(self) -> None:
        """End the process, whatever it does; `reaped` tells when it is gone."""
        if not self._ended:
            self._ended = True
            self.lost_since = time.monotonic()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.forget()
            self._changed()

    def forget(self) -> None:
        """Close this side of the connection: the process ends unless it hangs."""
        self._ended = True
        self.kept.clear()  # they refer to this object, which holds memory
        self._socket.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def reaped(self, patience: float = 0.0) -> bool:
        """Return whether the process is gone, waiting at most `patience` seconds."""
        end = time.monotonic() + patience
        while True:
            try:
                if os.waitpid(self.pid, os.WNOHANG)[0]:
                    return True
            except ChildProcessError:  # somebody else has waited for it
                return True
            if time.monotonic() >= end:
                return False
            time.sleep(0.005)


class _Opening:
    """Guards `kept`; all calls of a thread inside together take no longer than one may.

    Opening a directory takes several calls: without that, each of them would have the time of one.  The first call of
    all waits for the process to start, whose time is counted from the making of this object.
    """

    def __init__(self, timeout: float, changed: Callable[[], None]) -> None:
        self._timeout = timeout
        self._changed = changed
        self._started = time.monotonic() + _START
        self._lock = threading.Lock()
        self._inside: tuple[int, float] | None = None

    def __enter__(self) -> None:
        now = time.monotonic()
        deadline = soonest(max(now, self._started) + self._timeout)
        if not self._lock.acquire(timeout=max(0.0, soonest(now + self._timeout) - now)):
            raise others_hang(self._timeout)
        self._inside = threading.get_ident(), deadline

    def __exit__(self, *details: object) -> None:
        self._inside = None
        self._lock.release()
        self._changed()

    def deadline(self) -> float:
        """Return until when a call that this thread begins now may take."""
        inside = self._inside
        if inside is not None and inside[0] == threading.get_ident():
            return inside[1]
        return soonest(time.monotonic() + self._timeout)


def others_hang(timeout: float) -> errors.OperationTimeout:
    """Return the error of who has waited in vain for calls of others."""
    return errors.OperationTimeout(
        f"the file system did not answer others within {timeout:g} s",
        transient=False,
        outcome=errors.Outcome.NOT_DONE,
    )


def _is_gone(told: weakref.ref[SharedMap]) -> bool:
    block = told()
    return block is None or block.closed


def _spawn() -> tuple[int, socket.socket, int]:
    """Start a process; return its id, the socket to it and the lifeline whose end it follows."""
    mine, theirs = socket.socketpair()
    end, lifeline = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", _MAIN],
            {},
            # First out of the way of each other, then to the places that the program looks at.
            file_actions=[
                (os.POSIX_SPAWN_DUP2, theirs.fileno(), 100),
                (os.POSIX_SPAWN_DUP2, end, 101),
                (os.POSIX_SPAWN_DUP2, 100, 3),
                (os.POSIX_SPAWN_DUP2, 101, 4),
                (os.POSIX_SPAWN_CLOSE, 100),
                (os.POSIX_SPAWN_CLOSE, 101),
            ],
            setpgroup=0,  # Ctrl-C is for the service, which then ends its helpers in order
        )
    except OSError as error:
        mine.close()
        os.close(lifeline)
        raise errors.StoreUnavailable(f"no helper process can be started: {error.strerror}") from error
    finally:
        theirs.close()
        os.close(end)
    return pid, mine, lifeline
