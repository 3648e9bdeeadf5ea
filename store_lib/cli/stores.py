"""``store list``, ``show``, ``probe`` and ``init``."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from typing import Any

from cliff.lister import Lister
from cliff.show import ShowOne

from store_lib import Capacity, Feature, Health, Status, Store, StoreLibError, StoreUnavailable
from store_lib.cli.app import app_of
from store_lib.cli.columns import Bytes, Fields, Settings

__all__ = ["InitStore", "ListStores", "ProbeStores", "ShowStore"]


def _capacity(store: Store) -> Capacity:
    if Feature.CAPACITY in store.features:
        with contextlib.suppress(StoreLibError):  # a store that is down has its own column
            return store.capacity()
    return Capacity(None, None, None)


class ListStores(Lister):
    """List the stores, each asked whether it is usable."""

    def get_epilog(self) -> str:
        """Return examples."""
        return "example: store-lib store list --capacity -f json"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--capacity", action="store_true", help="show the size and the used room, too")
        parser.add_argument("--no-probe", action="store_true", help="ask no storage: show the configuration only")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the table."""
        stores = app_of(self).stores
        health = {} if parsed_args.no_probe else stores.probe()
        rows = [self._row(store, health.get(store.id, store.health), parsed_args) for store in stores.by_weight()]
        columns = ["id", "type", "default", "read_only", "weight", "status", "free"]
        columns += ["total", "used"] if parsed_args.capacity else []
        return (*columns, "description"), rows

    @staticmethod
    def _row(store: Store, health: Health, parsed_args: argparse.Namespace) -> tuple[Any, ...]:
        room = _capacity(store) if parsed_args.capacity else Capacity(None, health.details.get("free"), None)
        shown = [room.free, room.total, room.used] if parsed_args.capacity else [room.free]
        told = (store.id, store.type, store.is_default, store.read_only, store.weight, health.status.value)
        return (*told, *map(Bytes, shown), store.description)


class ShowStore(ShowOne):
    """Show everything about one store: what it can do, how it is, its settings and where they were written."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("store", metavar="ID", help="id of the store")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the fields."""
        store = app_of(self).stores[parsed_args.store]
        store.probe()
        fields = store.info(capacity=True).to_dict()
        settings, capacity = fields.pop("settings"), fields.pop("capacity", {})
        shown = {name: Fields(value) if isinstance(value, dict | list) else value for name, value in fields.items()}
        shown |= {name: Bytes(capacity.get(name)) for name in ("total", "used", "free")}
        shown["settings"] = Settings(settings)
        return tuple(shown), tuple(shown.values())


class ProbeStores(Lister):
    """Ask stores whether they are usable; ends with 6 when one of them is down."""

    def get_epilog(self) -> str:
        """Return examples."""
        return "example: store-lib store probe fast -f json"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("store", nargs="*", metavar="ID", help="ids of stores; all of them when none is given")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the table."""
        self._found: Mapping[str, Health] = app_of(self).stores.probe(*parsed_args.store)
        columns = ("id", "status", "latency", "checked_at", "reason", "details")
        rows = []
        for name, health in self._found.items():
            told = health.to_dict()
            latency = None if health.latency is None else round(health.latency, 6)
            rows.append((name, told["status"], latency, told["checked_at"], told["reason"], Fields(told["details"])))
        return columns, rows

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run, and fail when a store is down."""
        code = super().run(parsed_args)
        down = [name for name, health in self._found.items() if health.status is Status.DOWN]
        if down:
            raise StoreUnavailable(f"down: {', '.join(down)}")
        return code


class InitStore(ShowOne):
    """Prepare the place of a store, once, before its first use, and tell what was done.

    Marks an NFS share as one for images, makes the bucket of an S3 store, makes the container of a Swift store; other
    kinds that come with store_lib need nothing. It may be repeated.
    """

    def get_epilog(self) -> str:
        """Return examples."""
        return "example: store-lib store init shared"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("store", metavar="ID", help="id of the store")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return what was done."""
        store = app_of(self).stores[parsed_args.store]
        return ("store", "result"), (store.id, store.initialise())
