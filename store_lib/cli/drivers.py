"""``driver list``, ``driver show`` and ``option list``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from cliff.lister import Lister
from cliff.show import ShowOne
from oslo_config import cfg

from store_lib import ConfigurationError
from store_lib.cli.columns import Fields, Options
from store_lib.registry import DriverRegistry, list_opts

__all__ = ["ListDrivers", "ListOptions", "ShowDriver"]


def _told(option: cfg.Opt) -> dict[str, Any]:
    return {
        "name": option.dest,
        "type": str(option.type),
        "default": option.default,
        "secret": bool(option.secret),
        "help": option.help,
    }


class ListDrivers(Lister):
    """List the kinds of storage that are installed, and whether each can be used."""

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the table."""
        registry = DriverRegistry()
        rows = []
        for name in registry.names():
            try:
                driver = registry.load(name)
                rows.append((name, True, Fields(list(driver.SCHEMES)), Fields(_features(driver)), ""))
            except ConfigurationError as error:
                rows.append((name, False, Fields([]), Fields([]), error.mistakes[0].mend))
        return ("name", "usable", "schemes", "features", "mend"), rows


def _features(driver: Any) -> list[str]:
    return sorted(str(each.name).lower() for each in driver.FEATURES)


class ShowDriver(ShowOne):
    """Show what a kind of storage can do and which options it has."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("driver", metavar="NAME", help="name of the driver, as in enabled_backends")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the fields."""
        driver = DriverRegistry().load(parsed_args.driver)
        fields = {
            "name": parsed_args.driver,
            "about": (driver.__doc__ or "").strip().splitlines()[0],
            "class": f"{driver.__module__}.{driver.__qualname__}",
            "schemes": Fields(list(driver.SCHEMES)),
            "features": Fields(_features(driver)),
            "options": Options({option.dest: _told(option) for option in driver.OPTIONS}),
            "defaults": Fields(dict(driver.DEFAULTS)),
        }
        return tuple(fields), tuple(fields.values())


class ListOptions(Lister):
    """List the options that a configuration file may hold.

    Options in the group backend_defaults hold for all stores; the same names in a store's own group hold for it alone.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--driver", metavar="NAME", help="only the options of this driver; STORE stands for a store's own group"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the table."""
        columns = ("group", "name", "type", "default", "help")
        return columns, list(self._rows(parsed_args.driver))

    def _rows(self, driver: str | None) -> Iterator[tuple[Any, ...]]:
        groups = [("STORE", list(DriverRegistry().load(driver).OPTIONS))] if driver else list_opts()
        for group, options in groups:
            for option in options:
                told = _told(option)
                yield group, told["name"], told["type"], Fields(told["default"]), told["help"]
