"""``store list`` and ``store show``."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from cliff.lister import Lister
from cliff.show import ShowOne

from store_lib import Capacity, Feature, Store, StoreLibError, Stores
from store_lib.cli.app import app_of
from store_lib.cli.columns import Bytes, Fields, Settings

__all__ = ["ListStores", "ShowStore"]


def _capacity(store: Store) -> Capacity:
    if Feature.CAPACITY in store.features:
        with contextlib.suppress(StoreLibError):  # a store that is down has its own column
            return store.capacity()
    return Capacity(None, None, None)


def _is_default(stores: Stores, store: Store) -> bool:
    try:
        return stores.default is store
    except StoreLibError:
        return False


class ListStores(Lister):
    """List the stores, each asked whether it is usable."""

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the table."""
        stores = app_of(self).stores
        health = stores.start()
        columns = ("id", "type", "default", "read_only", "weight", "status", "free", "description")
        return columns, [
            (
                store.id,
                store.type,
                _is_default(stores, store),
                store.read_only,
                store.weight,
                health.get(store.id, store.health).status.value,
                Bytes(_capacity(store).free),
                store.description,
            )
            for store in stores.by_weight()
        ]


class ShowStore(ShowOne):
    """Show everything about one store: what it can do, how it is, its settings and where they were written."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("store", metavar="ID", help="id of the store")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the fields."""
        stores = app_of(self).stores
        store = stores[parsed_args.store]
        health = store.probe()
        capacity = _capacity(store)
        fields = {
            "id": store.id,
            "type": store.type,
            "description": store.description,
            "default": _is_default(stores, store),
            "weight": store.weight,
            "read_only": store.read_only,
            "schemes": Fields(list(store.schemes)),
            "prefix": store.prefix(),
            "features": Fields(sorted(str(each.name).lower() for each in store.features)),
            "properties": Fields(store.describe()),
            "health": Fields(health.to_dict()),
            "total": Bytes(capacity.total),
            "free": Bytes(capacity.free),
            "settings": Settings(store.options()),
        }
        return tuple(fields), tuple(fields.values())
