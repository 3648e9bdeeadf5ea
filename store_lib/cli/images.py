"""``image add``, ``get``, ``show``, ``list``, ``delete``, ``verify`` and ``hash``."""

from __future__ import annotations

import argparse
import os
import stat
import uuid
from typing import Any, BinaryIO

from cliff.command import Command
from cliff.lister import Lister
from cliff.show import ShowOne

from store_lib import Feature, ObjectInfo, Store
from store_lib.cli.app import app_of
from store_lib.cli.bar import progress_bar
from store_lib.cli.columns import Bytes, Fields
from store_lib.cli.output import output_file

__all__ = ["AddImage", "DeleteImage", "GetImage", "HashImage", "ListImages", "ShowImage", "VerifyImage"]


_ADD_EXAMPLES = """\
examples:
  store-lib image add debian.qcow2 --store fast --digest md5 --digest sha512 -f json
  qemu-img convert -O raw a.qcow2 /dev/stdout | store-lib image add - --id my-image
"""

_GET_EXAMPLES = """\
examples:
  store-lib image get file:///var/lib/images/fast/ID copy.raw --verify sha512:HEX
  store-lib image get file:///var/lib/images/fast/ID - --offset 1048576 --length 512 | xxd
"""


def _size(text: str) -> int:
    try:
        size = int(text)
    except ValueError:
        size = -1
    if size < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes")
    return size


def _columns(fields: dict[str, Any]) -> tuple[Any, Any]:
    return tuple(fields), tuple(Fields(value) if isinstance(value, dict) else value for value in fields.values())


class AddImage(ShowOne):
    """Store an image and show its record.

    The image is visible once it is complete and never before; when anything fails, or Ctrl-C is pressed, nothing of it
    stays.
    """

    def get_epilog(self) -> str:
        """Return examples."""
        return _ADD_EXAMPLES

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.add_argument("file", metavar="FILE", help="the image, or - for standard input")
        parser.add_argument("--store", metavar="ID", help="where it goes; the default store when not given")
        parser.add_argument("--id", metavar="ID", help="id of the image; a new uuid when not given")
        parser.add_argument(
            "--size", type=_size, metavar="BYTES", help="size that is checked; that of the file when not given"
        )
        parser.add_argument(
            "--digest",
            action="append",
            metavar="NAME",
            help="digest to compute, repeatable; those of the store's option 'digests' when not given",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the record."""
        stores = app_of(self).stores
        store = stores[parsed_args.store] if parsed_args.store else stores.default
        name = "standard input" if parsed_args.file == "-" else os.path.basename(parsed_args.file)
        with _source(parsed_args.file) as source, progress_bar(name, app_of(self).show_progress) as progress:
            size = parsed_args.size if parsed_args.size is not None else _file_size(source)
            image_id = parsed_args.id or str(uuid.uuid4())
            record = store.add(image_id, source, size, digests=parsed_args.digest, progress=progress)
        return _columns(record.to_dict())


def _source(name: str) -> BinaryIO:
    # Unbuffered: a pipe that stalls can then be waited for, and Ctrl-C works at once.
    return open(os.dup(0) if name == "-" else name, "rb", buffering=0)


def _file_size(file: BinaryIO) -> int | None:
    """Return the bytes that are left in a regular file, None for a pipe or a device."""
    told = os.fstat(file.fileno())
    return max(0, told.st_size - file.tell()) if stat.S_ISREG(told.st_mode) else None


class GetImage(Command):
    """Read an image, or a range of it, into a file.

    The file is there once it is complete and verified and never before; holes of the image become holes of the file.
    """

    def get_epilog(self) -> str:
        """Return examples."""
        return _GET_EXAMPLES

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.add_argument("uri", metavar="URI", help="location of the image")
        parser.add_argument(
            "file", metavar="FILE", help="where the bytes go; replaced if it exists; - for standard output"
        )
        parser.add_argument("--offset", type=_size, default=0, metavar="BYTES", help="first byte")
        parser.add_argument("--length", type=_size, metavar="BYTES", help="how many bytes; to the end when not given")
        parser.add_argument("--verify", metavar="NAME:HEX", help="digest that the bytes read must have")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Copy the bytes."""
        store = app_of(self).stores.locate(parsed_args.uri)
        with (
            output_file(parsed_args.file) as target,
            progress_bar(parsed_args.uri.rpartition("/")[2], app_of(self).show_progress) as progress,
        ):
            store.save(
                parsed_args.uri,
                target,
                parsed_args.offset,
                parsed_args.length,
                expected=parsed_args.verify,
                progress=progress,
            )


class _OneImage(ShowOne):
    """A command about one image."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("uri", metavar="URI", help="location of the image")
        return parser


class ShowImage(_OneImage):
    """Show what a store tells of an image."""

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the fields."""
        store = app_of(self).stores.locate(parsed_args.uri)
        return _columns(_told(store, parsed_args.uri, store.stat(parsed_args.uri)))


def _told(store: Store, uri: str, info: ObjectInfo) -> dict[str, Any]:
    checksum = info.checksum
    return {
        "id": store.image_id(uri),
        "store": store.id,
        "uri": uri,
        "size": info.size,
        "backend_checksum": f"{checksum.algorithm}:{checksum.value}" if checksum else None,
        "written_at": info.modified.isoformat() if info.modified else None,
    }


class ListImages(Lister):
    """List the images of one store, or of all that can list theirs."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--store", metavar="ID", help="only this store")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the table."""
        stores = app_of(self).stores
        if parsed_args.store:
            chosen = [stores[parsed_args.store]]
        else:
            chosen = [store for store in stores.by_weight() if Feature.LIST in store.features]
        rows = ((each.id, store.id, each.location.uri, Bytes(each.size)) for store in chosen for each in store.list())
        return ("id", "store", "uri", "size"), rows


class DeleteImage(_OneImage):
    """Delete an image and say whether it is gone (deleted) or will be removed by the storage later (deferred)."""

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return what became of it."""
        store = app_of(self).stores.locate(parsed_args.uri)
        deletion = store.delete(parsed_args.uri)
        result = deletion.value if deletion else "deleted"
        return ("store", "uri", "result"), (store.id, parsed_args.uri, result)


class VerifyImage(_OneImage):
    """Read an image and compare its digest; ends with 5 when it is another one."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("digest", metavar="NAME:HEX", help="digest that the image must have")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return that it is right."""
        store = app_of(self).stores.locate(parsed_args.uri)
        with progress_bar("verify", app_of(self).show_progress) as progress:
            store.verify(parsed_args.uri, parsed_args.digest, progress=progress)
        return ("store", "uri", "digest", "verified"), (store.id, parsed_args.uri, parsed_args.digest, True)


class HashImage(_OneImage):
    """Read an image and show its digests."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--digest",
            action="append",
            metavar="NAME",
            help="digest to compute, repeatable; those of the store's option 'digests' when not given",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the digests."""
        store = app_of(self).stores.locate(parsed_args.uri)
        names = parsed_args.digest or store.settings.base.digests
        with progress_bar("hash", app_of(self).show_progress) as progress:
            digests = store.hash(parsed_args.uri, names, progress=progress)
        return _columns({"store": store.id, "uri": parsed_args.uri, "digests": digests})
