"""``image url``."""

from __future__ import annotations

import argparse
from typing import Any

from cliff.show import ShowOne

from store_lib.cli.app import app_of
from store_lib.cli.sweep import age

__all__ = ["UrlOfImage"]


class UrlOfImage(ShowOne):
    """Make a URL that reads an image for a while without credentials.

    Whoever has the URL reads the image until it expires, so treat it as a secret. Only stores whose storage signs URLs
    can make one.
    """

    def get_epilog(self) -> str:
        """Return examples."""
        return 'example: curl -o copy.raw "$(store-lib image url URI --seconds 600 -f value -c url)"'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("uri", metavar="URI", help="location of the image")
        parser.add_argument(
            "--seconds", type=age, default=3600.0, metavar="N", help="how long it holds (3600); 15m, 12h or 1d do, too"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the URL."""
        store = app_of(self).stores.locate(parsed_args.uri)
        url = store.url(parsed_args.uri, parsed_args.seconds)
        return ("store", "seconds", "url"), (store.id, parsed_args.seconds, url)
