"""Options of image services' configuration files: registered on the service's object, and listed for its samples."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping

from oslo_config import cfg

from store_lib import errors, opts
from store_lib.registry import DriverRegistry
from store_lib.settings import register

__all__ = [
    "SINGLE_OPTIONS",
    "list_multi",
    "list_single",
    "register_multi",
    "register_single",
    "reserved_defaults",
    "show_reserved",
]

#: What services' own stores begin with; they keep their own directories.
RESERVED_PREFIX = "os_glance_"

#: Of the single-store mode.
SINGLE_OPTIONS = [
    cfg.ListOpt("stores", default=["file", "http"], help="Types of the stores of the single-store mode."),
    cfg.StrOpt(
        "default_store",
        default="file",
        help="Scheme of the locations that new images get in the single-store mode, such as file, rbd or swift+https.",
    ),
]


def _driver_options(registry: DriverRegistry, name: str) -> list[cfg.Opt]:
    """Return the options of one type of store; none when it is not installed or cannot be loaded."""
    try:
        return list(registry.load(name).OPTIONS)
    except errors.DriverLoadError:
        return []


def _all_drivers() -> Iterator[tuple[str, list[cfg.Opt]]]:
    registry = DriverRegistry()
    for name in registry.names():
        yield name, _driver_options(registry, name)


def register_single(conf: cfg.ConfigOpts) -> None:
    """Register the options of the single-store mode, those of all types of stores in one group."""
    register(conf, opts.GLOBAL_GROUP, [*SINGLE_OPTIONS, *opts.GLOBAL_OPTIONS])
    for _, options in _all_drivers():
        register(conf, opts.GLOBAL_GROUP, options)


def register_multi(conf: cfg.ConfigOpts, reserved: Mapping[str, str] | None) -> None:
    """Register the options of every enabled store and of the service's own stores."""
    register(conf, "DEFAULT", opts.DEFAULT_OPTIONS)
    register(conf, opts.GLOBAL_GROUP, opts.GLOBAL_OPTIONS)
    registry = DriverRegistry()
    for store_id, driver in {**(conf.enabled_backends or {}), **(reserved or {})}.items():
        options = [*opts.BASE_OPTIONS, *_driver_options(registry, driver)]
        register(conf, store_id, _with_defaults(options, reserved_defaults(store_id)))
    show_reserved(conf, reserved)


def show_reserved(conf: cfg.ConfigOpts, reserved: Mapping[str, str] | None) -> None:
    """Put the service's own stores among the enabled ones, where services look for them.

    The dictionary lasts until the next option is registered or set: what is made from it must not rely on them.
    """
    enabled = conf.enabled_backends
    if reserved and enabled is not None:
        enabled.update(reserved)


def reserved_defaults(store_id: str) -> dict[str, str]:
    """Return the defaults that a service's own store has instead of the driver's; none for other stores."""
    if not store_id.startswith(RESERVED_PREFIX):
        return {}
    return {"filesystem_store_datadir": f"/var/lib/glance/{store_id}"}


def _with_defaults(options: Iterable[cfg.Opt], defaults: Mapping[str, str]) -> Iterator[cfg.Opt]:
    for option in options:
        if option.dest in defaults:
            option = copy.deepcopy(option)
            option.default = defaults[option.dest]
        yield option


def list_single() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options of the single-store mode for oslo-config-generator (``glance.store``)."""
    found = list(SINGLE_OPTIONS)
    for _, options in _all_drivers():
        found += [option for option in options if option not in found]
    return [(opts.GLOBAL_GROUP, found)]


def list_multi() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options of several stores for oslo-config-generator (``glance.multi_store``), a group a type."""
    drivers = [(name, [*opts.BASE_OPTIONS, *options]) for name, options in _all_drivers()]
    return [(opts.GLOBAL_GROUP, list(opts.GLOBAL_OPTIONS)), *drivers]
