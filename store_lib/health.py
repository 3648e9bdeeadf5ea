"""Whether a store is usable: asked in bounded time, remembered, and acted upon before bytes move."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from store_lib import errors
from store_lib.interface import Probe, Status
from store_lib.runtime import Clock, on_fork

__all__ = ["Gate", "Health"]

LOG = logging.getLogger(__name__)


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


class Gate:
    """Closes a store that is down for what would change it, and opens it again by itself.

    The first use in a process asks the storage.  A store that is down answers at once with an error until its last
    probe is older than the interval; then the next caller pays for one bounded probe.  One probe at a time: who comes
    meanwhile is told since when it runs.

    :param probe: asks the storage; bounded by itself.
    :param interval: seconds.
    """

    def __init__(self, store_id: str, probe: Callable[[], Probe], interval: float, clock: Clock) -> None:
        self._store_id = store_id
        self._probe = probe
        self._interval = interval
        self._clock = clock
        self._health = Health(Status.UNKNOWN)
        self._next = 0.0
        self._lock = threading.Lock()
        self._running_since: datetime.datetime | None = None
        on_fork(self)

    def after_fork(self) -> None:
        """Start anew in the child: nothing is known of what it can reach."""
        self._lock = threading.Lock()
        self._health = Health(Status.UNKNOWN)
        self._next = 0.0

    @property
    def health(self) -> Health:
        """What is known now; asks nobody."""
        return self._health

    def ask(self) -> Health:
        """Ask the storage now, unless somebody does already; never raises but for a bug."""
        if not self._lock.acquire(blocking=False):
            return dataclasses.replace(self._health, reason=f"a probe is under way since {self._running_since}")
        try:
            self._running_since = self._clock.wall()
            self._note(self._measure())
            return self._health
        finally:
            self._lock.release()

    def pass_(self) -> None:
        """Return when the store may be changed.

        :raises StoreUnavailable: it is down.
        :raises ReadOnlyStore: its storage is read-only.
        """
        status = self._health.status
        if status is Status.UNKNOWN:
            with self._lock:  # the first callers wait for the one answer; it is bounded
                if self._health.status is Status.UNKNOWN:
                    self._running_since = self._clock.wall()
                    self._note(self._measure())
        elif status in (Status.DOWN, Status.READ_ONLY) and self._clock.monotonic() >= self._next:
            self.ask()
        found = self._health
        if found.status is Status.DOWN:
            raise errors.StoreUnavailable(
                f"the store is down since its last probe at {found.checked_at}: {found.reason}"
            )
        if found.status is Status.READ_ONLY:
            raise errors.ReadOnlyStore(found.reason)

    def _measure(self) -> Health:
        began = self._clock.monotonic()
        try:
            found = self._probe()
        except errors.StoreLibError as error:
            found = Probe(Status.DOWN, error.message)
        latency = self._clock.monotonic() - began
        return Health(found.status, found.reason, found.details, latency, self._clock.wall())

    def _note(self, found: Health) -> None:
        before, self._health = self._health.status, found
        self._next = self._clock.monotonic() + self._interval
        if found.status is Status.DOWN and before is not Status.DOWN:
            LOG.warning("store %s is down and closed for add and delete: %s", self._store_id, found.reason)
        elif before is Status.DOWN and found.status is not Status.DOWN:
            LOG.info("store %s is back (%s)", self._store_id, found.status.value)
