"""``image add``, ``get``, ``show``, ``list``, ``delete``, ``verify`` and ``hash``."""

from __future__ import annotations

import argparse
import os
import stat
import threading
import uuid
from typing import Any, BinaryIO

from cliff.command import Command
from cliff.formatters.base import ListFormatter
from cliff.lister import Lister
from cliff.show import ShowOne

from store_lib import BadRequest, Feature, ImageRecord, ObjectInfo, Store
from store_lib.cli.app import app_of
from store_lib.cli.bar import progress_bar
from store_lib.cli.columns import Bytes, Fields
from store_lib.cli.output import output_file
from store_lib.cli.several import at_once

__all__ = ["AddImage", "DeleteImage", "GetImage", "HashImage", "ListImages", "ShowImage", "VerifyImage"]


_ADD_EXAMPLES = """\
examples:
  store-lib image add debian.qcow2 --store fast --digest md5 --digest sha512 -f json
  store-lib image add a.qcow2 b.qcow2 --jobs 2
  qemu-img convert -O raw a.qcow2 /dev/stdout | store-lib image add - --id my-image
"""

_GET_EXAMPLES = """\
examples:
  store-lib image get file:///var/lib/images/fast/ID copy.raw --verify sha512:HEX
  store-lib image get $(store-lib image list -f value -c uri) backup/
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


def _jobs(text: str) -> int:
    count = _size(text)
    if not 1 <= count <= 64:
        raise argparse.ArgumentTypeError("1 to 64 images can move at once")
    return count


def _shown(value: Any) -> Any:
    return Fields(value) if isinstance(value, dict) else value


def _columns(fields: dict[str, Any]) -> tuple[Any, Any]:
    return tuple(fields), tuple(map(_shown, fields.values()))


class _Several(Command):
    """A command that may take several images at once."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.add_argument(
            "--jobs", type=_jobs, default=4, metavar="N", help="of several images, how many move at once (4)"
        )
        return parser


class AddImage(_Several, ShowOne):
    """Store an image, or several at once, and show what is recorded of it.

    An image is visible once it is complete and never before; when anything fails, or Ctrl-C is pressed, nothing of it
    stays. When one of several fails, the others are given up, and those that are complete by then stay.
    """

    def get_epilog(self) -> str:
        """Return examples."""
        return _ADD_EXAMPLES

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("file", nargs="+", metavar="FILE", help="an image, or - for standard input")
        parser.add_argument(
            "--store", metavar="ID", help="id of the store it goes to; the default store when not given"
        )
        parser.add_argument("--id", metavar="ID", help="id of a single image; a new uuid when not given")
        parser.add_argument(
            "--size",
            type=_size,
            metavar="BYTES",
            help="size that the image must have; that of the file when not given, and none for a pipe",
        )
        parser.add_argument(
            "--digest",
            action="append",
            metavar="NAME",
            help="digest to compute, repeatable; those of the store's option 'digests' when not given",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Any, Any]:
        """Return the record, or a row for each of several."""
        several = len(parsed_args.file) > 1
        if several and (parsed_args.id or parsed_args.size is not None or "-" in parsed_args.file):
            raise BadRequest("--id, --size and - go with a single image")
        stores = app_of(self).stores
        store = stores[parsed_args.store] if parsed_args.store else stores.default

        def add(item: tuple[int, str], cancel: threading.Event) -> ImageRecord:
            return self._add(store, parsed_args, item[1], cancel, item[0] if several else None)

        records = at_once(add, list(enumerate(parsed_args.file)), parsed_args.jobs)
        if not several:
            return _columns(records[0].to_dict())
        columns = list(records[0].to_dict())
        return columns, [[_shown(each.to_dict().get(name)) for name in columns] for each in records]

    def _add(
        self, store: Store, parsed_args: argparse.Namespace, file: str, cancel: threading.Event, line: int | None
    ) -> ImageRecord:
        name = "standard input" if file == "-" else os.path.basename(file)
        with _source(file) as source, progress_bar(name, app_of(self).show_progress, line) as progress:
            size = parsed_args.size if parsed_args.size is not None else _file_size(source)
            image_id = parsed_args.id or str(uuid.uuid4())
            return store.add(image_id, source, size, digests=parsed_args.digest, progress=progress, cancel=cancel)

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Any, data: Any) -> int:
        """Show one record, or a list of several."""
        if isinstance(column_names, tuple):
            return super().produce_output(parsed_args, column_names, data)
        if not isinstance(self.formatter, ListFormatter):
            raise BadRequest("this form shows a single image only; use json, yaml, table or value")
        chosen = [name for name in column_names if not parsed_args.columns or name in parsed_args.columns]
        rows = [[value for name, value in zip(column_names, row, strict=True) if name in chosen] for row in data]
        self.formatter.emit_list(chosen, rows, self.app.stdout, parsed_args)
        return 0


def _source(name: str) -> BinaryIO:
    # Unbuffered: a pipe that stalls can then be waited for, and Ctrl-C works at once.
    return open(os.dup(0) if name == "-" else name, "rb", buffering=0)


def _file_size(file: BinaryIO) -> int | None:
    """Return the bytes that are left in a regular file, None for a pipe or a device."""
    told = os.fstat(file.fileno())
    return max(0, told.st_size - file.tell()) if stat.S_ISREG(told.st_mode) else None


class GetImage(_Several):
    """Read an image, or a range of it, into a file; or several images into a directory.

    A file is there once it is complete and verified and never before; holes of the image become holes of the file.
    When one of several fails, the others are given up, and those that are complete by then stay.
    """

    def get_epilog(self) -> str:
        """Return examples."""
        return _GET_EXAMPLES

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("uri", nargs="+", metavar="URI", help="location of an image")
        parser.add_argument(
            "file",
            metavar="FILE",
            help="file that gets the bytes, replaced if it exists; - for standard output; or a directory, in which "
            "each image gets a file named by its id",
        )
        parser.add_argument("--offset", type=_size, default=0, metavar="BYTES", help="first byte")
        parser.add_argument("--length", type=_size, metavar="BYTES", help="how many bytes; to the end when not given")
        parser.add_argument("--verify", metavar="NAME:HEX", help="digest that the bytes read must have")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Copy the bytes."""
        several = len(parsed_args.uri) > 1
        if several and not os.path.isdir(parsed_args.file):
            raise BadRequest(f"several images go into a directory, which {parsed_args.file} is not")
        if several and parsed_args.verify:
            raise BadRequest("--verify goes with a single image")

        def get(item: tuple[int, str], cancel: threading.Event) -> None:
            self._get(parsed_args, item[1], cancel, item[0] if several else None)

        at_once(get, list(enumerate(parsed_args.uri)), parsed_args.jobs)

    def _get(self, parsed_args: argparse.Namespace, uri: str, cancel: threading.Event, line: int | None) -> None:
        store = app_of(self).stores.locate(uri)
        name = store.image_id(uri) or uri.rpartition("/")[2]
        target = os.path.join(parsed_args.file, name) if os.path.isdir(parsed_args.file) else parsed_args.file
        with output_file(target) as file, progress_bar(name, app_of(self).show_progress, line) as progress:
            store.save(
                uri,
                file,
                parsed_args.offset,
                parsed_args.length,
                expected=parsed_args.verify,
                progress=progress,
                cancel=cancel,
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
        parser.add_argument("--store", metavar="ID", help="id of the only store to list; all that can when not given")
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
    """Read an image and compare its digest; ends with 5 when that is another one."""

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
