"""Making the stores of a configuration, and putting them in the place of those that were there.

The stores made last win.  Those that they replace go on until their last transfer has ended.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Iterable
from typing import Any, cast

from oslo_config import cfg

from store_lib import Store as CoreStore
from store_lib import Stores, opts
from store_lib.compat import exceptions, location
from store_lib.compat._closed import ClosedStore
from store_lib.compat._generation import Generation
from store_lib.compat._options import (
    RESERVED_PREFIX,
    register_multi,
    register_single,
    reserved_defaults,
    show_reserved,
)
from store_lib.compat.driver import Store
from store_lib.registry import DriverRegistry
from store_lib.settings import resolve
from store_lib.stores import StoreEntry

__all__ = ["create_multi", "create_single", "left_out", "load_one"]

LOG = logging.getLogger(__name__)

#: Classes that services know by module; other types of stores are plain `Store`.
_CLASSES = {
    "cinder": "cinder",
    "file": "filesystem",
    "http": "http",
    "rbd": "rbd",
    "s3": "s3",
    "swift": "swift",
}

#: Other names that entries of ``[glance_store] stores`` may have.
_OLD_NAMES = {
    "filesystem": "file",
    "https": "http",
    "swift+http": "swift",
    "swift+https": "swift",
    "swift+config": "swift",
    **{f"glance.store.{module}.Store": name for name, module in _CLASSES.items()},
}


class _Current:
    """The stores in use in each mode; guarded by `lock`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.single: Generation | None = None
        self.multi: Generation | None = None
        #: ``{store id: type}`` of the stores of several whose driver could not be had.
        self.left_out: dict[str, str] = {}


_CURRENT = _Current()


def _class_of(driver: str) -> type[Store]:
    if driver not in _CLASSES:
        return Store
    module = importlib.import_module(f"store_lib.compat._drivers.{_CLASSES[driver]}")
    found: type[Store] = module.Store
    return found


def _made(
    conf: cfg.ConfigOpts, entries: Iterable[StoreEntry], default: str | None, multi: bool
) -> tuple[Generation, list[Store]]:
    entries = list(entries)
    generation = Generation(Stores.from_entries(conf, entries, default))
    cores = [generation.stores.get(entry.id) or _closed(conf, entry, generation.stores) for entry in entries]
    stores = [_class_of(core.type)(core, generation, conf, core.id if multi else None) for core in cores if core]
    return generation, stores


def _closed(conf: cfg.ConfigOpts, entry: StoreEntry, stores: Stores) -> CoreStore | None:
    """Return a closed store in the place of one that could not be made; None when not even its type is known."""
    error = stores.broken[entry.id]
    if any(mistake.option == "enabled_backends" for mistake in error.mistakes):
        return None
    driver = DriverRegistry().load(entry.driver)
    settings, _ = resolve(
        conf,
        entry.id,
        entry.driver,
        driver,
        group=entry.group,
        shared=entry.shared,
        defaults=entry.defaults,
        anyway=True,
    )
    assert settings is not None
    return cast(CoreStore, ClosedStore(settings, driver.SCHEMES, error))


def create_multi(conf: cfg.ConfigOpts, reserved: dict[str, str] | None) -> int:
    """Make the stores of ``enabled_backends`` and the service's own; return how many, closed ones included."""
    register_multi(conf, reserved)
    enabled = {**(conf.enabled_backends or {}), **(reserved or {})}
    entries = [
        StoreEntry(
            store_id, driver, shared=not store_id.startswith(RESERVED_PREFIX), defaults=reserved_defaults(store_id)
        )
        for store_id, driver in enabled.items()
    ]
    generation, stores = _made(conf, entries, conf[opts.GLOBAL_GROUP].default_backend, multi=True)
    schemes: dict[str, dict[str, dict[str, Any]]] = {}
    for store in _usable(stores):
        for scheme in store.get_schemes():
            schemes.setdefault(scheme, {})[store.core.id] = _row(store)
    with _CURRENT.lock:
        location.register_scheme_backend_map(schemes)
        before, _CURRENT.multi = _CURRENT.multi, generation
        made = {store.core.id for store in stores}
        _CURRENT.left_out = {each: driver for each, driver in enabled.items() if each not in made}
    show_reserved(conf, reserved)
    if before is not None:
        before.retire()
    return len(stores)


def left_out(scheme: str) -> list[str]:
    """Return the stores whose driver could not be had and that may read locations of `scheme`."""
    return [store_id for store_id, driver in _CURRENT.left_out.items() if scheme.startswith(driver)]


def create_single(conf: cfg.ConfigOpts) -> int:
    """Make the stores of ``[glance_store] stores``; return how many, closed ones included."""
    register_single(conf)
    group = conf[opts.GLOBAL_GROUP]
    names = dict.fromkeys(_OLD_NAMES.get(name.strip(), name.strip()) for name in group.stores)
    entries = [StoreEntry(name, name, group=opts.GLOBAL_GROUP) for name in names if name]
    generation, stores = _made(conf, entries, None, multi=False)
    schemes = {scheme: _row(store) for store in _usable(stores) for scheme in store.get_schemes()}
    with _CURRENT.lock:
        location.register_scheme_map(schemes)
        before, _CURRENT.single = _CURRENT.single, generation
    if before is not None:
        before.retire()
    return len(stores)


def _usable(stores: Iterable[Store]) -> Iterable[Store]:
    for store in stores:
        if not store.get_schemes():
            raise exceptions.BackendException(f"the driver of store {store.core.id} names no scheme of its locations")
        store.configure()
        yield store


def _row(store: Store) -> dict[str, Any]:
    return {"store": store, "location_class": location.StoreLocation, "store_entry": store.core.type}


def load_one(conf: cfg.ConfigOpts, name: str) -> Store | None:
    """Return one store that is bound to `conf` alone and known to nobody else; None when it cannot be made.

    It ends with the last reference to it.
    """
    register_single(conf)
    driver = _OLD_NAMES.get(name, name)
    generation, stores = _made(conf, [StoreEntry(driver, driver, group=opts.GLOBAL_GROUP)], None, multi=False)
    return stores[0] if generation.stores else None
