"""Helper processes: file operations that can be given up.

A dead file server hangs calls in the kernel for minutes, and no thread can be taken out of there; a process can be
killed.  So the functions of `_posix` run in small processes which are reached through a socket, with the bytes of
images in memory that both sides see.  This process then holds no descriptor on the file system in question.

A helper serves any number of open files, one call at a time.  There are never more helpers than their limit, those
that were killed and have not ended yet included: while there is one of these, the file system hangs, and whoever asks
is told so at once.
"""

from __future__ import annotations

import array
import collections
import contextlib
import functools
import itertools
import logging
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from store_lib import errors
from store_lib.drivers import _posix, _posix_copy
from store_lib.drivers._helper_memory import SharedMap, address_of
from store_lib.drivers._posix import Span

__all__ = ["Helper", "Helpers"]

LOG = logging.getLogger(__name__)

_MAIN = str(Path(__file__).with_name("_helper_main.py"))
#: Length of the pickled request, number of a block whose descriptor comes along (0: none).
_HEADER = struct.Struct("!II")
_ANSWER = struct.Struct("!I")
#: Largest piece that is read in one call, bytes.
_READ = 1024 * 1024
#: How long a helper that was killed or told to end is waited for, seconds; one that hangs in the kernel takes longer.
_REAP = 0.2


class Helper:
    """One helper process.  Every function of `_posix` and `_posix_copy` is a method of it; several threads take turns.

    :param timeout: seconds that one call may take; then the process is killed.
    :raises StoreUnavailable: a process cannot be started.
    """

    killable = True

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._told: dict[int, weakref.ref[SharedMap]] = {}
        #: What is held open there, by the users' own keys (directories).
        self.kept: dict[Any, Any] = {}
        self.opening = threading.Lock()
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
        deadline = time.monotonic() + self._timeout
        self.load += 1
        try:
            if not self._lock.acquire(timeout=self._timeout):
                raise errors.OperationTimeout(
                    f"the file system did not answer others within {self._timeout:g} s",
                    transient=False,
                    outcome=errors.Outcome.NOT_DONE,
                )
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
            self._socket.sendall(_HEADER.pack(len(request), new))
            if new:
                self._pass_on(new)
            self._socket.sendall(request)
            (size,) = _ANSWER.unpack(self._receive(_ANSWER.size, deadline))
            value, number, text = pickle.loads(self._receive(size, deadline))
            self.answered = time.monotonic()
        except (EOFError, ConnectionError, BrokenPipeError) as error:
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

    def _pass_on(self, number: int) -> None:
        block = self._told[number]()
        assert block is not None
        self._socket.sendmsg([b"b"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [block.fd]))])

    def _receive(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                self.overdue = True
                raise errors.OperationTimeout(
                    f"the file system did not answer within {self._timeout:g} s", transient=False
                )
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)

    # -- its end ------------------------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether it can be given work."""
        return not self._ended

    def kill(self) -> None:
        """End the process, whatever it does; `reaped` tells when it is gone."""
        if not self._ended:
            self._ended = True
            self.lost_since = time.monotonic()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.forget()

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


def _busy(helper: Helper) -> int:
    return helper.load + helper.files


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


class Helpers:
    """The helper processes of one store; safe for threads.  Belongs to one process: make it anew after a fork.

    :param limit: processes at most.
    :param timeout: seconds for one call.
    :param threshold: share of `limit` in use, in percent, from which a warning is logged.
    """

    def __init__(self, limit: int, timeout: float, threshold: int) -> None:
        self._limit = limit
        self._timeout = timeout
        self._threshold = threshold
        self._lock = threading.Lock()
        self._helpers: list[Helper] = []
        self._warned = False
        #: When a call was last given up, until one is answered again.
        self._silent: float | None = None
        #: Who finds out whether the file system answers again, and until when nobody else has to.
        self._trial: tuple[Helper, float] | None = None

    def choose(self) -> Helper:
        """Return the helper with the least to do, a new one where all are busy and their limit allows.

        While the file system hangs, one caller at a time finds out whether it still does; the others are told at once.

        :raises StoreUnavailable: the file system hangs.
        """
        with self._lock:
            self._reap()
            silent = self._silent_for()
            if silent is not None and (self._stuck() or self._trying()):
                raise errors.StoreUnavailable(
                    f"the file system has not answered for {silent:.0f} s; nothing is begun before", transient=False
                )
            usable = [helper for helper in self._helpers if helper.usable]
            idle = min(usable, key=_busy, default=None)
            if idle is None or (_busy(idle) and len(self._helpers) < self._limit):
                idle = Helper(self._timeout)
                self._helpers.append(idle)
                self._warn()
            if silent is not None:
                self._trial = idle, time.monotonic() + self._timeout
            return idle

    def _stuck(self) -> bool:
        """Whether one that was killed has not ended: the kernel holds it in the middle of a call."""
        return any(not helper.usable for helper in self._helpers)

    def _trying(self) -> bool:
        return self._trial is not None and self._trial[0].usable and time.monotonic() < self._trial[1]

    def _silent_for(self) -> float | None:
        lost = [helper.lost_since for helper in self._helpers if helper.lost_since is not None]
        since = min([*lost, *([] if self._silent is None else [self._silent])], default=None)
        return None if since is None else time.monotonic() - since + self._timeout

    def hung_for(self) -> float | None:
        """Return for how many seconds the file system has not answered, None when it does."""
        with self._lock:
            self._reap()
            return self._silent_for()

    def close(self) -> None:
        """End all helpers; one that hangs is killed and ends when the kernel lets it."""
        with self._lock:
            helpers, self._helpers = self._helpers, []
        for helper in helpers:
            helper.kill()
        for helper in helpers:
            helper.reaped(_REAP)

    def forget(self) -> None:
        """In a forked child: close the inherited ends, without a word to the processes, which are the parent's."""
        for helper in self._helpers:
            helper.forget()
        self._helpers = []

    def _reap(self) -> None:
        for helper in self._helpers:
            if helper.overdue and helper.lost_since is not None:
                self._silent = max(self._silent or 0.0, helper.lost_since)
        if self._silent is not None and any(helper.answered > self._silent for helper in self._helpers):
            self._silent = self._trial = None
        now = time.monotonic()  # one that was killed just now gets the time to end, one that hangs delays nobody
        self._helpers = [
            helper
            for helper in self._helpers
            if helper.usable or not helper.reaped(_REAP - (now - (helper.lost_since or now)))
        ]

    def _warn(self) -> None:
        busy = len(self._helpers) * 100 >= self._limit * self._threshold
        if busy and not self._warned:
            LOG.warning(
                "%d of at most %d helper processes are in use; raise filesystem_store_thread_pool_size if more "
                "transfers run at once",
                len(self._helpers),
                self._limit,
            )
        self._warned = busy
