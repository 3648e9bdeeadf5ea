"""``image copy`` and ``image migrate``."""

from __future__ import annotations

import argparse
from typing import Any, ClassVar

from cliff.show import ShowOne

from store_lib import ImageRecord, Stores
from store_lib.cli.app import app_of
from store_lib.cli.bar import progress_bar
from store_lib.cli.columns import Fields
from store_lib.copying import VERIFY
from store_lib.transfer.progress import ProgressFunction

__all__ = ["CopyImage", "MigrateImage"]

_WAYS = """\
Where both stores share a backend the storage copies by itself; else the bytes are read and written. The source is
deleted only when --delete-source is given, and only once the copy is there and verified. When anything fails before,
or Ctrl-C is pressed, the source is as it was and nothing of the copy stays; when only deleting the source fails, both
stay.

examples:
"""


class _ToStore(ShowOne):
    """A command that brings one image into another store."""

    EXAMPLES: ClassVar[str]

    def get_epilog(self) -> str:
        """Return examples."""
        return _WAYS + self.EXAMPLES

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.add_argument("uri", metavar="URI", help="location of the image")
        parser.add_argument("--to", required=True, metavar="ID", help="id of the store that gets it")
        parser.add_argument(
            "--delete-source", action="store_true", help="delete the source once the copy is there and verified"
        )
        parser.add_argument(
            "--verify",
            choices=VERIFY,
            default="backend",
            help="what is to prove the copy: nothing (none); its size and the storage's own checksum (backend, the "
            "default); reading it back (read). The field verified_by says what did",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the record of the copy."""
        app = app_of(self)
        name = parsed_args.uri.rpartition("/")[2]
        with progress_bar(name, app.show_progress) as progress:
            fields = self._send(app.stores, parsed_args, progress).to_dict()
        return tuple(fields), tuple(Fields(value) if isinstance(value, dict) else value for value in fields.values())

    def _send(self, stores: Stores, parsed_args: argparse.Namespace, progress: ProgressFunction | None) -> ImageRecord:
        raise NotImplementedError


class CopyImage(_ToStore):
    """Copy an image into another store, or into the same one under another id, and show what is recorded of it."""

    EXAMPLES = """\
  store-lib image copy file:///var/lib/images/fast/ID --to cheap
  store-lib image copy file:///var/lib/images/fast/ID --to cheap --verify read -f json
  store-lib image copy file:///var/lib/images/fast/ID --to fast --id another-id
"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--id", metavar="ID", help="id of the copy; that of the image when not given")
        return parser

    def _send(self, stores: Stores, parsed_args: argparse.Namespace, progress: ProgressFunction | None) -> ImageRecord:
        return stores.copy(
            parsed_args.uri,
            parsed_args.to,
            image_id=parsed_args.id,
            delete_source=parsed_args.delete_source,
            verify=parsed_args.verify,
            progress=progress,
        )


class MigrateImage(_ToStore):
    """Bring an image into another store under its own id, and show what is recorded of it there."""

    EXAMPLES = """\
  store-lib image migrate file:///var/lib/images/fast/ID --to cheap --delete-source
  store-lib image migrate file:///var/lib/images/fast/ID --to cheap --delete-source --verify read -f json
"""

    def _send(self, stores: Stores, parsed_args: argparse.Namespace, progress: ProgressFunction | None) -> ImageRecord:
        return stores.migrate(
            parsed_args.uri,
            parsed_args.to,
            delete_source=parsed_args.delete_source,
            verify=parsed_args.verify,
            progress=progress,
        )
