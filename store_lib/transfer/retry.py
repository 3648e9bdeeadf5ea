"""One request, tried again as long as its failure is a passing one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from store_lib import errors
from store_lib.runtime import Clock
from store_lib.settings import BaseSettings

if TYPE_CHECKING:
    import tenacity

__all__ = ["Retry"]

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: Back-off: random up to this at first, doubled each time, up to the second figure; seconds.
_FIRST, _LARGEST = 0.2, 10.0
_NAP = 0.1


class Retry:
    """The store's policy: how often, for how long, and that waiting ends when the transfer does.

    :param stop: set when the transfer is over; wakes those that wait.
    :param noted: called before each further try (health counts them).
    :param check: called some ten times a second between two tries; raises to give up.
    """

    def __init__(
        self,
        base: BaseSettings,
        clock: Clock,
        stop: threading.Event,
        noted: Callable[[], None] = lambda: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.attempts = base.retry_attempts
        self._deadline = base.retry_deadline
        self._clock = clock
        self._stop = stop
        self._noted = noted
        self._check = check

    def call(self, function: Callable[[], T]) -> T:
        """Return ``function()``, tried again after transient errors of store_lib; the last error is raised."""
        try:
            return function()
        except errors.StoreLibError as error:
            return self.again(function, error)

    def again(self, function: Callable[[], T], first: errors.StoreLibError) -> T:
        """Return ``function()``, whose first try ended in `first`, tried again if that was a passing error."""
        if not first.transient or self._stop.is_set():
            raise first
        import tenacity  # late: most processes never need it

        failed = [first]

        def attempt() -> T:
            if failed:
                raise failed.pop()  # the first try was made already
            return function()

        return tenacity.Retrying(
            sleep=self._sleep,
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self.attempts),
                tenacity.stop_before_delay(self._deadline),
                tenacity.stop_when_event_set(self._stop),
            ),
            wait=tenacity.wait_random_exponential(multiplier=_FIRST, max=_LARGEST),
            retry=tenacity.retry_if_exception(_passing),
            before_sleep=self._note,
            reraise=True,
        )(attempt)

    def _sleep(self, seconds: float) -> None:
        while seconds > 0 and not self._stop.is_set():
            self._clock.sleep(min(seconds, _NAP), self._stop)
            self._check()
            seconds -= _NAP

    def _note(self, state: tenacity.RetryCallState) -> None:
        self._noted()
        error = state.outcome.exception() if state.outcome else None
        LOG.info("try %d of %d failed, trying again: %s", state.attempt_number, self.attempts, str(error))


def _passing(error: BaseException) -> bool:
    return isinstance(error, errors.StoreLibError) and error.transient
