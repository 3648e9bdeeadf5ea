"""``store sweep``."""

from __future__ import annotations

import argparse
import re
from typing import Any

from cliff.lister import Lister

from store_lib import Leftover, StoreUnavailable
from store_lib.cli.app import app_of
from store_lib.cli.columns import Bytes

__all__ = ["SweepStore", "age"]

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def age(text: str) -> float:
    """Return the seconds of a text such as ``90``, ``15m``, ``12h`` or ``1d``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", text.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no age; write for instance 90, 15m, 12h or 1d")
    return float(found.group(1)) * _UNITS[found.group(2)]


class SweepStore(Lister):
    """Remove what interrupted transfers left in a store, and list it.

    What a dead process of this machine left, or a living one gave up, goes at once. What came from another host,
    another container or an earlier boot goes only when the storage saw no activity for long enough, and nothing goes
    that has a live writer.
    """

    def get_epilog(self) -> str:
        """Return examples."""
        return "example: store-lib store sweep fast --older-than 2d --dry-run"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("store", metavar="ID", help="id of the store")
        parser.add_argument(
            "--older-than",
            type=age,
            metavar="AGE",
            help="time without activity, such as 15m, 12h or 1d; the store's option leftover_age when not given",
        )
        parser.add_argument("--dry-run", action="store_true", help="only list")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the table."""
        store = app_of(self).stores[parsed_args.store]
        result = store.sweep(older_than=parsed_args.older_than, dry_run=parsed_args.dry_run)
        gone = "would be removed" if parsed_args.dry_run else "removed"
        rows = [_row(each, gone) for each in result.removed]
        rows += [_row(each, "kept") for each in result.kept]
        rows += [_row(each, f"failed: {error.message}") for each, error in result.failed]
        self._failed = len(result.failed)
        return ("kind", "host", "pid", "last_activity", "size", "result"), rows

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run, and fail when something could not be removed."""
        code = super().run(parsed_args)
        if self._failed:
            raise StoreUnavailable(f"{self._failed} leftovers could not be removed", transient=False)
        return code


def _row(leftover: Leftover, result: str) -> tuple[Any, ...]:
    owner, activity = leftover.owner, leftover.last_activity
    return (
        leftover.kind,
        owner.host if owner else None,
        owner.pid if owner else None,
        activity.isoformat(timespec="seconds") if activity else None,
        Bytes(leftover.size),
        result,
    )
