"""Settings of one store: resolved once from the configuration into typed, read-only values that know their origin."""

from __future__ import annotations

import dataclasses
import difflib
import enum
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from oslo_config import cfg

from store_lib import opts
from store_lib.errors import Mistake
from store_lib.interface import Driver, Feature

__all__ = ["BaseSettings", "Origin", "StoreSettings", "register", "resolve"]

_MASK = "***"


class Origin(enum.Enum):
    """Where a value was written."""

    STORE = "the store's group"
    SHARED = f"[{opts.SHARED_GROUP}]"
    DRIVER = "the driver's default"
    OPTION = "the option's default"

    @property
    def by_operator(self) -> bool:
        """Whether somebody wrote the value, rather than left it out."""
        return self in (Origin.STORE, Origin.SHARED)


@dataclasses.dataclass(frozen=True)
class BaseSettings:
    """The base-level options as typed values; names, units and meanings are those of `store_lib.opts`."""

    store_description: str | None
    weight: int
    read_only: bool
    part_size: int | None
    parallel: int | None
    memory_limit: int
    max_threads: int
    queue_timeout: float
    retry_attempts: int
    retry_deadline: float
    connect_timeout: float
    operation_timeout: float | None
    probe_on_start: bool
    probe_interval: float
    probe_timeout: float
    bandwidth_limit: int
    digests: tuple[str, ...]
    verify_after_write: bool
    leftover_age: float
    disabled_features: Feature

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> BaseSettings:
        """Return the typed form of resolved values."""
        picked = {field.name: values[field.name] for field in dataclasses.fields(cls)}
        picked["operation_timeout"] = picked["operation_timeout"] or None
        picked["digests"] = tuple(picked["digests"])
        picked["disabled_features"] = _features(picked["disabled_features"])[0]
        return cls(**picked)


class StoreSettings:
    """All values of one store.  Read-only; safe to share between threads.

    A value is an item (``settings["filesystem_store_datadir"]``); the base-level ones are typed under `base`.
    """

    def __init__(self, store_id: str, driver: str, values: Mapping[str, Any], origins: Mapping[str, Origin]) -> None:
        self.id = store_id
        self.driver = driver
        self._values = MappingProxyType(dict(values))
        self._origins = MappingProxyType(dict(origins))
        self.base = BaseSettings.of(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterable[str]:
        return iter(self._values)

    def origin(self, name: str) -> Origin:
        """Return where the value of option `name` was written."""
        return self._origins[name]

    def shown(self, options: Sequence[cfg.Opt]) -> dict[str, dict[str, Any]]:
        """Return ``{name: {value, origin}}`` of `options` for people: secrets masked."""
        return {
            opt.dest: {
                "value": _MASK if opt.secret and self._values[opt.dest] else self._values[opt.dest],
                "origin": self._origins[opt.dest].value,
            }
            for opt in options
        }


def register(conf: cfg.ConfigOpts, group: str, options: Iterable[cfg.Opt]) -> None:
    """Register `options` on the caller's `conf`; one that is there already is left as it is."""
    for option in options:
        try:
            conf.register_opt(option, group=None if group == "DEFAULT" else group)
        except cfg.DuplicateOptError:
            pass  # the service registered its own of that name; its value is read all the same


def resolve(
    conf: cfg.ConfigOpts,
    store_id: str,
    driver_name: str,
    driver: type[Driver[Any]],
    *,
    group: str | None = None,
    shared: bool = True,
    defaults: Mapping[str, Any] | None = None,
    anyway: bool = False,
) -> tuple[StoreSettings | None, list[Mistake]]:
    """Return the settings of one store, or None with every mistake that its values hold.

    :param group: that holds the store's options, where it is not called like the store.
    :param shared: whether ``[backend_defaults]`` counts for driver options (not so for a service's reserved stores).
    :param defaults: other defaults of this store; they win over the driver's.
    :param anyway: return the settings with their mistakes: for showing, not for use.
    """
    options = [*opts.BASE_OPTIONS, *driver.OPTIONS]
    own = group or store_id
    for name in (own, opts.SHARED_GROUP):
        register(conf, name, options)
    fallback = {**driver.DEFAULTS, **(defaults or {})}
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    mistakes: list[Mistake] = []
    for option in options:
        groups = (own, opts.SHARED_GROUP) if shared or option in opts.BASE_OPTIONS else (own,)
        try:
            values[option.dest], origins[option.dest] = _lookup(conf, option, groups, fallback)
        except (ValueError, cfg.Error) as error:
            mistakes.append(_bad_value(store_id, option, error))
            values[option.dest], origins[option.dest] = _default(option, fallback)
    for option_name, base_name in driver.STANDS_FOR.items():
        if origins[option_name].by_operator and not origins[base_name].by_operator:
            values[base_name], origins[base_name] = values[option_name], origins[option_name]
    mistakes += _check_base(store_id, values)
    settings = StoreSettings(store_id, driver_name, values, origins)
    mistakes += driver.check(settings)  # values that are not valid were replaced by defaults
    return (None if mistakes and not anyway else settings), mistakes


def _lookup(
    conf: cfg.ConfigOpts, option: cfg.Opt, groups: Sequence[str], fallback: Mapping[str, Any]
) -> tuple[Any, Origin]:
    for group in groups:
        where = conf.get_location(option.name, group)
        if where is not None and where.location is not cfg.Locations.opt_default:
            return conf[group][option.dest], Origin.SHARED if group == opts.SHARED_GROUP else Origin.STORE
    return _default(option, fallback)


def _default(option: cfg.Opt, fallback: Mapping[str, Any]) -> tuple[Any, Origin]:
    if option.dest in fallback:
        return fallback[option.dest], Origin.DRIVER
    return option.default, Origin.OPTION


def _bad_value(store_id: str, option: cfg.Opt, error: Exception) -> Mistake:
    # oslo.config's text holds the value, which for some options is a secret.
    told = str(error).replace("\n", " ").partition(" is not valid: ")
    problem = f"the value is not valid: {told[2] or told[0]}" if not option.secret else "the value is not valid"
    return Mistake(store_id, option.dest, problem, f"write {_wanted(option)}, or leave it out")


def _wanted(option: cfg.Opt) -> str:
    kind = option.type
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    choices = getattr(kind, "choices", None)
    if choices:
        return "one of " + ", ".join(map(str, choices))
    name = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}.get(type(kind).__name__)
    bounds = [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
    return " of ".join(filter(None, [name or "another value", " and ".join(bounds)]))


def _features(names: Iterable[str]) -> tuple[Feature, list[str]]:
    found, unknown = Feature(0), []
    for name in names:
        try:
            found |= Feature[name.strip().upper()]
        except KeyError:
            unknown.append(name)
    return found, unknown


def _check_base(store_id: str, values: Mapping[str, Any]) -> Iterable[Mistake]:
    import hashlib

    known = sorted(name for name in hashlib.algorithms_available if not name.startswith("shake"))
    for name in values["digests"]:
        if name not in known:
            near = difflib.get_close_matches(name, known, 3) or ["md5", "sha256", "sha512"]
            yield Mistake(
                store_id, "digests", f"{name!r} is no digest that this machine knows", f"use for instance {near}"
            )
    for name in _features(values["disabled_features"])[1]:
        names = ", ".join(str(feature.name).lower() for feature in Feature)
        yield Mistake(store_id, "disabled_features", f"{name!r} is no feature", f"use some of {names}")
    if values["part_size"] and values["part_size"] * 2 > values["memory_limit"]:
        yield Mistake(
            store_id,
            "part_size",
            f"two parts of {values['part_size']} bytes do not fit into memory_limit {values['memory_limit']}",
            "write a smaller part_size or a larger memory_limit",
        )
