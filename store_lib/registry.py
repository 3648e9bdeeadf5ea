"""From the name of a driver to its class, by entry point; the only place that loads drivers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import stevedore
from oslo_config import cfg

from store_lib import errors, opts
from store_lib.errors import Mistake
from store_lib.interface import Driver

__all__ = ["NAMESPACE", "DriverRegistry", "list_opts"]

#: Entry points of drivers: a package that brings a driver names its class here.
NAMESPACE = "store_lib.drivers"
#: Extras that bring what a driver needs, where it has not the extra's name.
_EXTRAS = {"rbd": "the distribution's packages python3-rados and python3-rbd"}


class DriverRegistry:
    """Finds drivers; loads only those that are asked for.

    :param extra: further drivers by name, for tests and for embedding; they win over entry points.
    """

    def __init__(self, extra: Mapping[str, type[Driver[Any]]] | None = None) -> None:
        self._extra = dict(extra or {})

    def names(self) -> list[str]:
        """Return the names of all drivers that are installed; imports none of them."""
        # An extension manager without extensions: stevedore keeps what it found, while looking anew takes 30 ms.
        looking: Any = stevedore.ExtensionManager.make_test_instance([], namespace=NAMESPACE)
        return sorted({*self._extra, *(each.name for each in looking.list_entry_points())})

    def load(self, name: str, store_id: str | None = None) -> type[Driver[Any]]:
        """Return the class of driver `name`.

        :raises DriverLoadError: there is none of that name, or it cannot be imported; says what to do.
        """
        if name in self._extra:
            return self._extra[name]
        if name not in self.names():
            raise errors.DriverLoadError([self._unknown(name, store_id)])
        try:
            manager: Any = stevedore.DriverManager(NAMESPACE, name, on_load_failure_callback=_raise)
        except Exception as error:
            raise errors.DriverLoadError([_broken(name, store_id, error)]) from error
        found = manager.driver
        if not (isinstance(found, type) and issubclass(found, Driver)):
            problem = f"driver {name!r} is no class derived from store_lib.interface.Driver"
            raise errors.DriverLoadError([Mistake(store_id, "enabled_backends", problem, "ask its author")])
        return found

    def _unknown(self, name: str, store_id: str | None) -> Mistake:
        names = self.names()
        near = difflib.get_close_matches(name, names, 1)
        mend = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(names)}"
        return Mistake(store_id, "enabled_backends", f"no driver {name!r} is installed", mend)


def _raise(manager: Any, entry_point: Any, error: BaseException) -> None:
    raise error


def _broken(name: str, store_id: str | None, error: Exception) -> Mistake:
    missing = isinstance(error, ImportError)
    needs = _EXTRAS.get(name, f"pip install store_lib[{name}]")
    mend = f"install what it needs: {needs}" if missing else "mend the package that brings it"
    return Mistake(store_id, "enabled_backends", f"driver {name!r} cannot be loaded: {error}", mend)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return every option of store_lib for oslo-config-generator.

    The options of one store are shown under ``[backend_defaults]``, where they hold for all stores; the same names go
    into the group of a store.
    """
    registry = DriverRegistry()
    shared: list[cfg.Opt] = list(opts.BASE_OPTIONS)
    for name in registry.names():
        try:
            shared += [option for option in registry.load(name).OPTIONS if option not in shared]
        except errors.DriverLoadError:
            continue  # what it needs is not installed
    return [
        ("DEFAULT", list(opts.DEFAULT_OPTIONS)),
        (opts.GLOBAL_GROUP, list(opts.GLOBAL_OPTIONS)),
        (opts.SHARED_GROUP, shared),
    ]
