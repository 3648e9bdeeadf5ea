"""Numbered behaviours and the register of all of them."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from store_lib.interface import Feature

if TYPE_CHECKING:
    from store_lib.conformance.place import Place

__all__ = ["Behaviour", "NotOffered", "behaviour", "behaviours"]

Check = Callable[["Place"], None]

_NOTHING = Feature(0)
_REGISTER: dict[int, Behaviour] = {}


class NotOffered(Exception):
    """The store does not offer what a behaviour is about; the text says what."""


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """One thing that every store does which offers it.

    :param number: never used again for another one.
    :param name: of its function; with the number, of its test.
    :param text: what is expected, for the documentation.
    :param topic: name of the module it stands in.
    :param needs: features without which it does not concern a store.
    :param check: raises AssertionError when the store does otherwise.
    """

    number: int
    name: str
    text: str
    topic: str
    needs: Feature
    check: Check

    @property
    def test(self) -> str:
        """Name of its test."""
        return f"test_{self.number:03}_{self.name}"

    def run(self, place: Place) -> None:
        """See whether the store behaves so, and remove what that made.

        :raises NotOffered: it does not concern this store.
        :raises AssertionError: it does not; so does any other error.
        """
        missing = self.needs & ~place.store().features
        if missing:
            names = ", ".join(str(feature.name).lower() for feature in missing)
            raise NotOffered(f"the store does not declare {names}")
        try:
            self.check(place)
        finally:
            place.tidy()


def behaviour(number: int, needs: Feature = _NOTHING) -> Callable[[Check], Check]:
    """Register the function below as the check of behaviour `number`; its docstring is what is documented."""

    def register(check: Check) -> Check:
        name = getattr(check, "__name__", "")
        topic = check.__module__.rpartition(".")[2]
        if number in _REGISTER:
            raise ValueError(f"behaviour {number} is there twice: {_REGISTER[number].name} and {name}")
        _REGISTER[number] = Behaviour(number, name, inspect.cleandoc(check.__doc__ or ""), topic, needs, check)
        return check

    return register


@functools.cache
def behaviours() -> tuple[Behaviour, ...]:
    """Return all behaviours by number."""
    checks = importlib.import_module("store_lib.conformance.checks")
    for module in pkgutil.iter_modules(checks.__path__):
        importlib.import_module(f"{checks.__name__}.{module.name}")
    return tuple(_REGISTER[number] for number in sorted(_REGISTER))
