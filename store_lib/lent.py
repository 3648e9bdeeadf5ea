"""What a driver is lent to work with; `store_lib.interface` gives it under the same names.

All of it may be used from any thread.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from store_lib.values import Owner

__all__ = ["Context", "PerProcessValue", "Runtime"]

_T = TypeVar("_T")
_R = TypeVar("_R")


class Context(Protocol):
    """What accompanies one operation through the driver."""

    #: The caller's own request context (tokens of a multi-tenant service); opaque, None when there is none.
    caller: Any
    #: Owner record that `Upload.start` writes into the backend.
    owner: Owner
    #: Whether the caller of a delete does not mind when the image is not there: a look before it may be spared.
    missing_ok: bool

    @property
    def timeout(self) -> float | None:
        """Seconds that one backend request may take from now on; None is no limit."""

    def check(self) -> None:
        """Raise Cancelled or OperationTimeout when the operation should not go on."""

    def map(self, function: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        """Run `function` on every item, some at once in the engine's threads; results in the order of `items`.

        The first error is raised once all that was begun has ended.
        """


class Runtime(Protocol):
    """What the spine lends to a driver for its whole life."""

    def per_process(
        self,
        factory: Callable[[], _T],
        close: Callable[[_T], None],
        forget: Callable[[_T], None] = lambda value: None,
    ) -> PerProcessValue[_T]:
        """Return a holder of a value that is made at first use in each process (clients, connections).

        :param forget: called in a forked child with what it inherited; must not speak on the parent's connections.
        """

    def wall(self) -> datetime.datetime:
        """Return the time of day, UTC."""

    def gone(self, owner: Owner) -> bool:
        """Return True when that process certainly runs no more: it was one of this very machine, and it ended."""


class PerProcessValue(Protocol[_T]):
    """A value that belongs to the process that made it; after a fork the child makes its own."""

    def get(self) -> _T:
        """Return the value, made by the first caller; others wait for it."""

    def discard(self, value: _T) -> None:
        """Forget `value` if it is still the current one, and close it: the next `get` makes a new one."""

    def close(self) -> None:
        """Close the value of this process, if any."""
