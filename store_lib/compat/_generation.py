"""Stores that were made together and end together, once others took their place and nobody uses them any more."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable

from store_lib import Stores
from store_lib.runtime import on_fork

__all__ = ["Generation"]

LOG = logging.getLogger(__name__)

#: Seconds that closing may take; it happens in the thread of whoever made the next stores or ended the last transfer.
_CLOSING = 2.0


class Generation:
    """The stores of one ``create_stores``, ``create_multi_stores`` or ``_load_store``.  Safe for threads."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self._active = 0
        self._retired = False
        self._ended = False
        self._lock = threading.RLock()  # a forgotten transfer may end in the middle of anything
        # One that is merely forgotten (a staging store of one request) must not keep its directories open.
        self._end = weakref.finalize(self, _close, stores)
        self._end.atexit = False
        on_fork(self)

    def after_fork(self) -> None:
        """Start anew in the child: what the parent was doing is not the child's."""
        self._lock = threading.RLock()  # a forgotten transfer may end in the middle of anything
        self._active = 0

    def hold(self) -> Callable[[], None] | None:
        """Keep the stores open until the returned function is called; further calls of it do nothing.

        None when they are closed already.
        """
        with self._lock:
            if self._ended:
                return None
            self._active += 1
        once = [None]

        def release() -> None:
            with self._lock:
                if not once:
                    return
                once.clear()
                self._active = max(0, self._active - 1)
                self._ended = last = self._retired and not self._active
            if last:
                self._end()

        return release

    def retire(self) -> None:
        """Close the stores as soon as nobody uses them."""
        with self._lock:
            self._retired = True
            self._ended = last = not self._active
        if last:
            self._end()


def _close(stores: Stores) -> None:
    for line in stores.close(_CLOSING):
        LOG.warning("closing the stores that were replaced: %s", line)
