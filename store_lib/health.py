"""Whether a store is usable: asked in bounded time, remembered, and acted upon before bytes move."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from store_lib import errors
from store_lib.interface import Capacity, Probe, Status
from store_lib.runtime import Clock, on_fork

__all__ = ["Gate", "Health", "Prober", "with_room"]

LOG = logging.getLogger(__name__)

#: Share of the room below which a store counts as nearly full.
_NEARLY_FULL = 0.05
#: Seconds between two looks at which probes are due.
_NAP = 1.0


@dataclasses.dataclass(frozen=True)
class Health:
    """What is known of a store.

    :param latency: seconds that the probe took.
    :param checked_at: when it was asked, UTC; None: never.
    """

    status: Status
    reason: str = ""
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    latency: float | None = None
    checked_at: datetime.datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-able form."""
        return {
            "status": self.status.value,
            "reason": self.reason,
            "details": dict(self.details),
            "latency": self.latency,
            "checked_at": self.checked_at.isoformat() if self.checked_at else None,
        }


def with_room(found: Probe, capacity: Capacity) -> Probe:
    """Return `found` with the room of the store in its details, as degraded when that is nearly used up."""
    total, free = capacity.total, capacity.free
    if total is None or free is None:
        return found
    details = {**found.details, "total": total, "free": free}
    if found.status is Status.UP and free < total * _NEARLY_FULL:
        return Probe(Status.DEGRADED, f"less than 5 % is free: {free} of {total} bytes", details)
    return dataclasses.replace(found, details=details)


class Gate:
    """Closes a store that is down for what would change it, and opens it again by itself.

    The first use in a process asks the storage.  A store that is down answers at once with an error until its last
    probe is older than the interval; then the next caller pays for one bounded probe.  An operation that timed out
    makes the next caller ask first.  One probe at a time: who comes meanwhile is told since when it runs.

    Only probes close a store, and they go without any caller's token: what is refused to a caller is that caller's.

    :param probe: asks the storage; bounded by itself.
    :param interval: seconds.
    """

    def __init__(self, store_id: str, probe: Callable[[], Probe], interval: float, clock: Clock) -> None:
        self._store_id = store_id
        self._probe = probe
        self._interval = interval
        self._clock = clock
        self._reset()
        on_fork(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._probed = Health(Status.UNKNOWN)
        self._asked_at: float | None = None
        self._doubtful = False
        self._retries = 0
        self._running_since: datetime.datetime | None = None

    def after_fork(self) -> None:
        """Start anew in the child: nothing is known of what it can reach."""
        self._reset()

    @property
    def health(self) -> Health:
        """What is known now; asks nobody."""
        found = self._probed
        if found.status is Status.UP and self._retries:
            reason = f"{self._retries} requests of the last operation had to be sent again"
            return dataclasses.replace(found, status=Status.DEGRADED, reason=reason)
        return found

    @property
    def due(self) -> bool:
        """Whether the last probe is older than the interval."""
        return self._asked_at is None or self._clock.monotonic() >= self._asked_at + self._interval

    def worked(self, retries: int) -> None:
        """Note the end of an operation, and how many of its requests had to be sent again."""
        self._retries = retries

    def retried(self) -> None:
        """Note that a request of an operation under way has to be sent again."""
        self._retries += 1

    def doubt(self) -> None:
        """Have the next caller ask the storage first: an operation timed out."""
        self._doubtful = True

    def ask(self) -> Health:
        """Ask the storage now, unless somebody does already; never raises but for a bug."""
        if not self._lock.acquire(blocking=False):
            return dataclasses.replace(self.health, reason=f"a probe is under way since {self._running_since}")
        try:
            self._measure()
            return self.health
        finally:
            self._lock.release()

    def pass_(self) -> None:
        """Return when the store may be changed.

        :raises StoreUnavailable: it is down.
        :raises ReadOnlyStore: its storage is read-only.
        """
        status = self._probed.status
        if status is Status.UNKNOWN:
            with self._lock:  # the first callers wait for the one answer; it is bounded
                if self._probed.status is Status.UNKNOWN:
                    self._measure()
        elif self._doubtful or (status in (Status.DOWN, Status.READ_ONLY) and self.due):
            self.ask()
        found = self._probed
        if found.status is Status.DOWN:
            raise errors.StoreUnavailable(
                f"the store is down since its last probe at {found.checked_at}: {found.reason}"
            )
        if found.status is Status.READ_ONLY:
            raise errors.ReadOnlyStore(found.reason)

    def _measure(self) -> None:
        """Ask the storage; the lock is held."""
        self._running_since = self._clock.wall()
        self._doubtful = False
        began = self._clock.monotonic()
        try:
            found = self._probe()
        except errors.StoreLibError as error:
            found = Probe(Status.DOWN, error.message)
        self._retries = 0
        latency = self._clock.monotonic() - began
        self._note(Health(found.status, found.reason, found.details, latency, self._clock.wall()))

    def _note(self, found: Health) -> None:
        before, self._probed = self._probed.status, found
        self._asked_at = self._clock.monotonic()
        if found.status is Status.DOWN and before is not Status.DOWN:
            LOG.warning("store %s is down and closed for add and delete: %s", self._store_id, found.reason)
        elif before is Status.DOWN and found.status is not Status.DOWN:
            LOG.info("store %s is back (%s)", self._store_id, found.status.value)


class Prober:
    """Asks stores in a thread of its own, so that what is known of them is never much older than their intervals.

    :param ask: probes all of the gates that it is given, in bounded time.
    """

    def __init__(self, gates: Sequence[Gate], ask: Callable[[Sequence[Gate]], object], clock: Clock) -> None:
        self._gates = gates
        self._ask = ask
        self._clock = clock
        self._reset()
        on_fork(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def after_fork(self) -> None:
        """The child has no such thread until it starts one."""
        self._reset()

    def start(self) -> None:
        """Begin; harmless when repeated."""
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="store_lib-probes", daemon=True)
                self._thread.start()

    def stop(self, timeout: float) -> list[str]:
        """End, in at most `timeout` seconds; return what is stuck."""
        self._stop.set()
        with self._lock:
            thread = self._thread
        if thread is None or thread is threading.current_thread():
            return []
        thread.join(timeout)
        return ["store_lib-probes: a probe has not come back from the storage"] if thread.is_alive() else []

    def _run(self) -> None:
        while not self._stop.is_set():
            due = [gate for gate in self._gates if gate.due]
            try:
                if due:
                    self._ask(due)
            except Exception:  # a bug in a driver, or the stores are being closed
                if not self._stop.is_set():
                    LOG.exception("a probe failed")
            self._clock.sleep(_NAP, self._stop)
