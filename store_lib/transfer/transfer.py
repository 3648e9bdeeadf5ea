"""What filling an upload has in common, whatever fills it: retry, cancellation, commit, outcome, clearing away."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from store_lib import errors
from store_lib.interface import Committed, Driver, Part, Token, Upload
from store_lib.runtime import StoreRuntime, generation
from store_lib.transfer.flow import Flow
from store_lib.transfer.progress import Progress, ProgressFunction
from store_lib.transfer.retry import Retry
from store_lib.transfer.seam import Seam

__all__ = ["Added", "Transfer"]

LOG = logging.getLogger(__name__)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Added:
    """What became of an upload.

    :param digests: of the bytes that passed; none where the backend moved them by itself.
    :param retries: how many requests had to be sent again.
    """

    committed: Committed[Any]
    size: int
    digests: Mapping[str, str]
    retries: int


class Transfer(abc.ABC):
    """One upload from `Driver.upload` to `Upload.abort`.  Used by the caller's thread.

    :param size: bytes, None when not known.
    :param context: the service's own, opaque.
    :param inline: the image is so small that no other thread is worth its while, not even for giving up a request.
    :param cancel: ends the transfer when set.
    """

    def __init__(
        self,
        driver: Driver[Any],
        runtime: StoreRuntime,
        image_id: str,
        size: int | None,
        *,
        context: Any,
        inline: bool,
        progress: ProgressFunction | None,
        cancel: threading.Event | None,
    ) -> None:
        self._driver = driver
        self._runtime = runtime
        self._image_id = image_id
        self._size = size
        self._inline = inline
        self._cancel = cancel
        self._seam = Seam(driver)
        self._progress = Progress(progress, size, runtime.clock)
        self._generation = generation()
        #: Set when the transfer is over; wakes those that wait.
        self._stop = threading.Event()
        self._ctx = runtime.context(context, stop=self._stop)
        self._lock = threading.Lock()
        self._done = self._retries = 0
        self._tokens: dict[int, tuple[Part, Token]] = {}
        self._started = self._sending_commit = False
        self._capacity: int | None = None  # once more of it was asked for
        self._committed: Committed[Any] | None = None
        #: Whether a backend may still look at the bytes after a request whose outcome is unknown.
        self._tainted = False
        self._made_flow: Flow | None = None

    @property
    def _flow(self) -> Flow:
        """Made by its first use, in the caller's thread: an image that one buffer holds mostly needs none."""
        if self._made_flow is None:
            runtime = self._runtime
            timeout = runtime.base.operation_timeout
            self._made_flow = Flow(runtime.clock, self._check_cancel, self._tick, timeout, self._stop)
        return self._made_flow

    @abc.abstractmethod
    def _send(self, upload: Upload[Any]) -> Added:
        """Fill and commit `upload`."""

    def run(self, finish: Callable[[Added], T]) -> T:
        """Put the image into the store and return what `finish` makes of it; see `store_lib.transfer.upload.add`."""
        self._check_cancel()
        upload = self._tried(self._look)
        try:
            added = self._send(upload)
            result = finish(added)
            self._progress.end(added.size)
            self._abort(upload)
            return result
        except BaseException as error:  # an interrupt may come at any point, the last line included
            if generation() == self._generation:  # else a forked child unwinds: all of this is its parent's
                self._stop.set()
                if self._made_flow is not None:
                    self._made_flow.end()
                self._undo(upload, error)
                self._abort(upload)
            raise

    def _look(self) -> Upload[Any]:
        with self._seam:
            return self._call(lambda: self._driver.upload(self._image_id, self._size, self._ctx))

    def _start(self, upload: Upload[Any]) -> None:
        """Make the first thing on the backend, unless that was done."""
        if not self._started:
            self._begin(upload.start)

    def _begin(self, first: Callable[[], None]) -> None:
        """Call what makes the first thing on the backend."""

        def once() -> None:
            try:
                with self._seam:
                    self._call(first)
            except errors.StoreLibError as error:
                if error.outcome is errors.Outcome.UNKNOWN:
                    error.transient = False  # one more would leave two things on the backend
                raise

        self._tried(once)
        self._started = True

    # -- commit and its undoing ---------------------------------------------------------------------------------------

    def _commit(self, upload: Upload[Any], send: Callable[[], Committed[Any]]) -> Committed[Any]:
        lost = False

        def once() -> Committed[Any]:
            nonlocal lost
            try:
                with self._seam:
                    return self._call(send)
            except errors.StoreLibError as error:
                if error.outcome is errors.Outcome.UNKNOWN:
                    lost = True
                    self._taint()
                # After a lost answer that very commit may be why the name is taken, or why there is nothing to commit.
                if lost:
                    found = self._outcome(upload, error)
                    if found is not None:
                        return found
                raise

        self._sending_commit = True  # from here on only the outcome tells whether the image is there
        return self._tried(once)

    def _commit_parts(self, upload: Upload[Any], size: int) -> Committed[Any]:
        parts = [self._tokens[index] for index in sorted(self._tokens)]
        return self._commit(upload, lambda: upload.commit(size, parts))

    def _outcome(self, upload: Upload[Any], error: errors.StoreLibError) -> Committed[Any] | None:
        """Return what a commit did whose answer was lost, None when it did nothing."""

        def ask() -> Committed[Any] | None:
            with self._seam:
                return self._call(upload.outcome)

        try:
            return self._tried(ask)
        except errors.StoreLibError as unknown:
            raise errors.CommitUnknown(
                f"the image may be there or not: the commit failed ({error.message}), and so did asking for its "
                f"outcome ({unknown.message}); look at the store before adding it again"
            ) from error

    def _undo(self, upload: Upload[Any], error: BaseException) -> None:
        """Remove an image that was committed although the transfer failed: its caller will never know of it."""
        committed = self._committed
        self._ctx.stop = threading.Event()  # clearing away is not to be cancelled
        with contextlib.suppress(Exception):
            if committed is None and self._sending_commit and not isinstance(error, errors.StoreLibError):
                committed = upload.outcome()  # interrupted in the middle of the commit
            if committed is None:
                return
            with self._seam:
                self._driver.delete(committed.address, self._ctx)
            return
        LOG.error("image %s could not be removed after a failed transfer; delete it by hand", self._image_id)

    def _abort(self, upload: Upload[Any]) -> None:
        if self._made_flow is not None:
            self._stop.set()
        if self._stop.is_set():
            self._ctx.stop = threading.Event()  # clearing away is not to be cancelled
        runtime = self._runtime
        try:
            try:
                timeout = runtime.base.operation_timeout
                inline = self._inline
                leftovers = upload.abort() if inline else runtime.guarded(upload.abort, timeout, runtime.abort_pool)
            except errors.StoreClosed:  # there are no threads any more
                leftovers = upload.abort()
        except Exception as error:  # it must not raise; when it does all the same, the first error stays the one told
            LOG.error("clearing away after image %s failed: %s", self._image_id, str(error))
            return
        for leftover in leftovers:
            LOG.warning(
                "image %s left a %s on the storage; 'store-lib store sweep' removes it once it is old enough",
                self._image_id,
                leftover.kind,
            )

    # -- small matters ------------------------------------------------------------------------------------------------

    def _tried(self, function: Callable[[], T]) -> T:
        """Return ``function()``, tried again as the store's policy says."""
        try:
            return function()
        except errors.StoreLibError as error:
            runtime = self._runtime
            retry = Retry(runtime.base, runtime.clock, self._stop, self._count_retry, self._check_cancel)
            return retry.again(function, error)

    def _taint(self) -> None:
        """Never use any of the buffers again."""
        self._tainted = True
        if self._made_flow is not None:
            self._flow.taint()

    def _call(self, function: Callable[[], T], timeout: float | None = None) -> T:
        if self._inline:
            return function()
        return self._runtime.guarded(function, timeout or self._runtime.base.operation_timeout)

    def _room(self, upload: Upload[Any], end: int, quiet: Callable[[], bool] = lambda: True) -> None:
        """Have the backend make room for `end` bytes where it must be asked.

        :param quiet: whether no part is on its way; waited for where the backend wants that.
        """
        capacity = upload.limits.capacity if self._capacity is None else self._capacity
        if capacity is None or end <= capacity:
            return
        if upload.limits.quiet_reserve:
            self._flow.wait(quiet)
        timeout = upload.limits.reserve_timeout or self._runtime.base.operation_timeout

        def reserve() -> int:
            with self._seam:
                return self._call(lambda: upload.reserve(end), timeout)

        self._capacity = self._tried(reserve)

    def _check_cancel(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise errors.Cancelled("the transfer was cancelled")

    def _tick(self) -> None:
        self._progress.show(self._done)

    def _count_retry(self) -> None:
        with self._lock:
            self._retries += 1
