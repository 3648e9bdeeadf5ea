"""The application: options for all commands, exit codes, interruption."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

from cliff.app import App
from cliff.command import Command
from cliff.commandmanager import CommandManager

import store_lib
from store_lib import errors
from store_lib.cli.config import ENVIRONMENT, SYSTEM_FILE, config_files, load_stores

__all__ = ["EXIT_CODES", "StoreLibApp", "app_of", "main"]

#: Exit codes by error, the most special class first; what is not listed ends with 1.
EXIT_CODES: Sequence[tuple[type[BaseException], int]] = (
    (errors.NotFound, 3),
    (errors.Duplicate, 4),
    (errors.DigestMismatch, 5),
    (errors.StoreUnavailable, 6),
    (errors.StoreFull, 7),
    (errors.ConfigurationError, 8),
    (errors.NotSupported, 1),
    (errors.BadRequest, 2),
)

_CODES_HELP = """\
exit codes: 0 done; 1 other error; 2 usage; 3 not found; 4 exists already; 5 digest mismatch; 6 store down or timed out;
7 full; 8 configuration; 130 interrupted; 143 terminated

examples:
  store-lib store list
  store-lib image add debian.qcow2 --store fast -f json
  store-lib image get file:///var/lib/images/fast/ID copy.qcow2 --verify sha512:HEX
"""


class StoreLibApp(App):
    """The ``store-lib`` command."""

    NAME = "store-lib"
    CONSOLE_MESSAGE_FORMAT = "%(message)s"

    def __init__(self) -> None:
        super().__init__(
            description="Look after images in the stores of an image service.",
            version=store_lib.__version__,
            command_manager=CommandManager("store_lib.cli"),
            deferred_help=True,
        )
        self._stores: store_lib.Stores | None = None
        self.exit_code: int | None = None

    def build_option_parser(
        self, description: str | None, version: str | None, argparse_kwargs: dict[str, Any] | None = None
    ) -> argparse.ArgumentParser:
        """Return the parser of the options that stand before a command."""
        kwargs = {"epilog": _CODES_HELP, "formatter_class": argparse.RawDescriptionHelpFormatter, "prog": self.NAME}
        parser = super().build_option_parser(description, version, {**(argparse_kwargs or {}), **kwargs})
        parser.add_argument(
            "--config-file",
            action="append",
            default=[],
            metavar="FILE",
            help="Configuration file, repeatable; that of an image service works. Without it: the files that "
            f"${ENVIRONMENT} names, separated by colons, else {SYSTEM_FILE}, else one file store in the user's data "
            "folder.",
        )
        return parser

    def initialize_app(self, argv: list[str]) -> None:
        """Show the help when there is no command."""
        if not argv:
            self.options.deferred_help = True
            self.print_help_if_requested()

    @property
    def config_files(self) -> list[str]:
        """The configuration files that count."""
        return config_files(self.options.config_file)

    @property
    def stores(self) -> store_lib.Stores:
        """The configured stores, made at first use."""
        if self._stores is None:
            self._stores = load_stores(self.config_files)
        return self._stores

    @property
    def show_progress(self) -> bool:
        """Whether a person watches."""
        return bool(sys.stderr.isatty()) and self.options.verbose_level > 0

    def clean_up(self, cmd: Command, result: int, err: BaseException | None) -> None:
        """Close the stores and choose the exit code."""
        if err is not None:
            self.exit_code = next((code for kind, code in EXIT_CODES if isinstance(err, kind)), None)
        if self._stores is not None:
            for line in self._stores.close():
                self.LOG.warning(line)


def app_of(command: Command) -> StoreLibApp:
    """Return the application that runs `command`."""
    assert isinstance(command.app, StoreLibApp)
    return command.app


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # unlike the signal's own way, this lets the transfer clear away


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    logging.getLogger("store_lib").setLevel(logging.WARNING)
    logging.getLogger("stevedore").setLevel(logging.CRITICAL)  # what it warns of is told as a mistake with its mend
    app = StoreLibApp()
    result = app.run(list(sys.argv[1:] if argv is None else argv))
    return result if app.exit_code is None or result != 1 else app.exit_code
