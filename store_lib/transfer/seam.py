"""The one seam between the engine and a driver: here a backend's errors become store_lib's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from store_lib import errors
from store_lib.interface import Driver

__all__ = ["Seam"]

T = TypeVar("T")


class Seam:
    """Translates what is raised inside ``with seam:``, by the table of one driver.

    Errors of store_lib pass as they are; what the driver does not know is a bug and passes as it is, too.
    Safe for threads and for nesting: it holds no state.
    """

    def __init__(self, driver: Driver[Any]) -> None:
        self._driver = driver

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None or isinstance(error, errors.StoreLibError) or not isinstance(error, Exception):
            return
        translated = self._driver.translate(error)
        if translated is not None:
            raise translated from error

    def iterate(self, items: Iterable[T]) -> Iterator[T]:
        """Yield `items`, a driver's iterator, with its errors translated; closes it at the end."""
        with self:
            iterator = iter(items)
        try:
            while True:
                with self:
                    try:
                        item = next(iterator)
                    except StopIteration:
                        return
                yield item
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                with self, contextlib.suppress(ValueError):  # it runs in another thread just now
                    close()
