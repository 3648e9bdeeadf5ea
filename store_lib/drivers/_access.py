"""How a file store reaches its file system: from this process, or through helper processes that can be given up."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from store_lib.drivers import _posix, _posix_copy
from store_lib.drivers._helper import together
from store_lib.drivers._helper_memory import SharedBuffers
from store_lib.drivers._helper_pool import Helpers
from store_lib.interface import HEAP, BufferSource, PerProcessValue, Runtime
from store_lib.settings import StoreSettings

__all__ = ["REMOTE_TIMEOUT", "Access", "Operations"]

#: Seconds for one call to a file server when the operator sets none; flushing a large image to a slow one takes long.
REMOTE_TIMEOUT = 60.0


class Operations(Protocol):
    """The functions of `_posix` and `_posix_copy`, run somewhere; descriptors mean something there only."""

    #: What is held open there, by keys of their own.
    kept: dict[Any, Any]
    #: Open files, to share out new ones evenly.
    files: int
    #: Whether a call that hangs can be given up.
    killable: bool

    @property
    def opening(self) -> AbstractContextManager[Any]:
        """Guards `kept`; entering it takes no longer than one call may."""

    def __getattr__(self, name: str) -> Any: ...

    def close_later(self, file: int) -> None:
        """Close a descriptor at some later time; never waits."""


_COPYING = frozenset(_posix_copy.__all__)


class InProcess:
    """The functions, run in this process."""

    killable = False

    def __init__(self) -> None:
        self.kept: dict[Any, Any] = {}
        self.opening = threading.Lock()
        self.files = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(_posix_copy if name in _COPYING else _posix, name)

    def choose(self) -> Operations:
        """Return what runs them: this very object."""
        return self

    def close_later(self, file: int) -> None:
        """Close a descriptor."""
        _posix.close(file)

    def end(self) -> None:
        """Let go of everything that is held open."""
        self.kept.clear()


class Access:
    """The way to the file system of one store; safe for threads and across forks.

    With a `filesystem_store_timeout` above 0 all file operations run in helpers, at most
    `filesystem_store_thread_pool_size` of them; else in this process.

    :param remote: the files lie on a server: helpers always, with `REMOTE_TIMEOUT` when no time-out is set.
    """

    def __init__(self, settings: StoreSettings, runtime: Runtime, remote: bool = False) -> None:
        timeout: float = settings["filesystem_store_timeout"] or (REMOTE_TIMEOUT if remote else 0)
        limit: int = settings["filesystem_store_thread_pool_size"]
        threshold: int = settings["filesystem_store_threadpool_threshold"]
        self._way: PerProcessValue[Any]
        self.buffers: BufferSource = HEAP
        self._shared: SharedBuffers | None = None
        #: Whether helpers run the operations: this process then holds nothing open.
        self.helpers = bool(timeout)
        #: Seconds for one call where calls are given up, else 0.
        self.timeout = timeout
        if timeout:
            self.buffers = self._shared = SharedBuffers(runtime)
            self._way = runtime.per_process(lambda: Helpers(limit, timeout, threshold), Helpers.close, Helpers.forget)
        else:
            self._way = runtime.per_process(InProcess, InProcess.end)

    def choose(self) -> Operations:
        """Return operations, those with the least to do.

        :raises StoreUnavailable: the file system hangs.
        """
        operations: Operations = self._way.get().choose()
        return operations

    def together(self) -> AbstractContextManager[None]:
        """Have the calls of this thread inside take no longer than one call may, where helpers run them."""
        return together(self.timeout) if self.timeout else nullcontext()

    def close(self) -> None:
        """Let go of everything; the next `choose` begins anew."""
        self._way.close()
        if self._shared is not None:
            self._shared.close()
