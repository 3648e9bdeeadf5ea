"""``store check-config``."""

from __future__ import annotations

import argparse
from typing import Any

from cliff.lister import Lister

from store_lib import ConfigurationError
from store_lib.checking import needs, unknown_options
from store_lib.cli.app import app_of
from store_lib.cli.columns import Bytes

__all__ = ["CheckConfig"]


class CheckConfig(Lister):
    """Look the configuration over: every mistake at once with its mend, or what its limits mean in memory.

    With mistakes, it lists them and ends with 8. Without, it shows for each store what a transfer of a large image of
    unknown size takes and how many run side by side. Options that no store knows are told as warnings. No storage is
    asked.
    """

    def get_epilog(self) -> str:
        """Return examples."""
        return "example: store-lib --config-file glance-api.conf store check-config"

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the mistakes or the needs."""
        app = app_of(self)
        self.error: ConfigurationError | None = None
        try:
            stores = app.stores
        except ConfigurationError as error:
            self.error = error
            rows = [(each.store, each.option, each.problem, each.mend) for each in error.mistakes]
            return ("store", "option", "problem", "mend"), rows
        for doubt in unknown_options(app.config_files):
            app.LOG.warning("warning: %s", doubt)
        columns = ("store", "part_size", "parallel", "transfer_memory", "memory_limit", "side_by_side", "threads")
        return columns, [
            (
                need.store,
                Bytes(need.part_size),
                need.parallel,
                Bytes(need.transfer_memory),
                Bytes(need.memory_limit),
                need.side_by_side,
                need.threads,
            )
            for need in map(needs, stores.by_weight())
        ]

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run, and fail when there are mistakes."""
        code = super().run(parsed_args)
        if self.error is not None:
            count = len(self.error.mistakes)
            raise ConfigurationError(
                self.error.mistakes, f"{count} mistake{'s' if count > 1 else ''} in the configuration"
            )
        return code
