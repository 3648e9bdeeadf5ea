"""Looking a configuration over before a service starts with it: mistakes, doubts, and what its limits come to."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oslo_config import cfg

from store_lib import errors, opts
from store_lib.errors import Mistake
from store_lib.registry import DriverRegistry
from store_lib.store import Store
from store_lib.transfer.buffers import affordable

__all__ = ["Need", "needs", "unknown_options"]


@dataclasses.dataclass(frozen=True)
class Need:
    """What the limits of one store come to for a large image whose size is not known.

    :param part_size: bytes of a part.
    :param parallel: parts on their way at once.
    :param transfer_memory: bytes that one transfer takes.
    :param memory_limit: bytes that all transfers take together.
    :param side_by_side: transfers that run with all their buffers; further ones take fewer buffers, or wait.
    :param threads: that work for the store at most, those for digests apart.
    """

    store: str
    part_size: int
    parallel: int
    transfer_memory: int
    memory_limit: int
    side_by_side: int
    threads: int


def needs(store: Store) -> Need:
    """Return what the limits of `store` come to; asks nobody."""
    base = store.settings.base
    made = affordable(None, store.limits, base)
    return Need(
        store=store.id,
        part_size=made.part_size,
        parallel=made.parallel,
        transfer_memory=made.memory,
        memory_limit=base.memory_limit,
        side_by_side=max(1, base.memory_limit // made.memory),
        threads=base.max_threads,
    )


def unknown_options(paths: Sequence[str]) -> Iterator[Mistake]:
    """Yield what stands in the groups of stores and is no option there: mostly words that were mistyped.

    Services put options of their own into these files, so this is a doubt and not an error.

    :param paths: configuration files, each read by itself.
    """
    sections = _sections(paths)
    registry = DriverRegistry()
    known: dict[str, set[str]] = {opts.GLOBAL_GROUP: _names(opts.GLOBAL_OPTIONS)}
    everything = _names(opts.BASE_OPTIONS)
    for store_id, driver in _enabled(sections).items():
        try:
            options = registry.load(driver).OPTIONS
        except errors.DriverLoadError:
            continue
        known[store_id] = _names(opts.BASE_OPTIONS) | _names(options)
        everything |= known[store_id]
    known[opts.SHARED_GROUP] = everything
    for group, names in sections.items():
        for name in names if group in known and group != opts.GLOBAL_GROUP else ():
            if name.replace("-", "_") not in known[group]:
                near = difflib.get_close_matches(name, sorted(known[group]), 1)
                mend = f"did you mean {near[0]}?" if near else "leave it out, or see 'store-lib option list'"
                yield Mistake(group, name, "there is no such option", mend)


def _names(options: Sequence[cfg.Opt]) -> set[str]:
    names = {option.dest for option in options}
    return names | {old.name for option in options for old in option.deprecated_opts if old.name}


def _sections(paths: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        parsed: dict[str, dict[str, Any]] = {}
        cfg.ConfigParser(path, parsed).parse()
        for group, values in parsed.items():
            found.setdefault(group, {}).update(values)
    return found


def _enabled(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    text = ",".join(sections.get("DEFAULT", {}).get("enabled_backends", [])[-1:])
    pairs = (pair.partition(":") for pair in text.split(","))
    return {name.strip(): driver.strip() for name, colon, driver in pairs if colon}
