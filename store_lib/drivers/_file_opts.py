"""Options of the file store and what they say about directories, permissions and metadata."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from oslo_config import cfg

from store_lib.drivers import _nfs_opts
from store_lib.errors import Mistake
from store_lib.settings import StoreSettings

__all__ = [
    "OPTIONS",
    "DirectorySetting",
    "check",
    "check_files",
    "directories",
    "file_mode",
    "load_metadata",
    "metadata_of",
]

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "filesystem_store_datadir",
        default="/var/lib/glance/images",
        help="Directory that holds the images; made when it is missing. Must be absolute.",
    ),
    cfg.MultiStrOpt(
        "filesystem_store_datadirs",
        help="Several directories in place of filesystem_store_datadir, each as PATH or PATH:PRIORITY. A new image "
        "goes to the directory with the greatest priority that has room, among equals to the one with the most "
        "free space.",
        sample_default=["/mnt/fast:200", "/mnt/large:100"],
    ),
    cfg.MultiStrOpt(
        "filesystem_store_read_datadirs",
        default=[],
        help="Further directories in which images of old locations may be read and deleted; nothing is written there.",
    ),
    cfg.StrOpt(
        "filesystem_store_metadata_file",
        help="JSON file with an object, or a list of objects, of the keys 'id' and 'mountpoint'. A service is told the "
        "object whose mountpoint holds the image as metadata of its location, so that other hosts with the same mount "
        "can open the file directly.",
    ),
    cfg.IntOpt(
        "filesystem_store_file_perm",
        default=0,
        help="Permissions of image files, written in octal digits such as 640. 0 leaves them to the umask. The owner "
        "must be able to read.",
    ),
    cfg.IntOpt(
        "filesystem_store_chunk_size",
        default=64 * 1024,
        min=1,
        help="Chunk size in bytes that services show for this store. Bytes move in parts of part_size.",
    ),
    cfg.BoolOpt(
        "filesystem_thin_provisioning",
        default=False,
        help="Leave runs of zeroes unwritten, so that they take no room. Holes of a sparse source file always stay "
        "holes.",
    ),
    cfg.FloatOpt(
        "filesystem_store_timeout",
        default=0,
        min=0,
        help="How long in seconds the file system may take for one call (open, read, write, flush, link, unlink or "
        "stat). Above 0, all calls run in helper processes, and one that hangs is killed: the transfer fails, and "
        "while the file system hangs the store answers at once with an error. 0 means no limit and no helpers.",
    ),
    cfg.IntOpt(
        "filesystem_store_thread_pool_size",
        default=10,
        min=1,
        max=1000,
        help="Most helper processes of this store, with filesystem_store_timeout above 0. Transfers share them.",
    ),
    cfg.IntOpt(
        "filesystem_store_threadpool_threshold",
        default=75,
        min=0,
        max=100,
        help="Share of filesystem_store_thread_pool_size in use, in percent, from which a warning is logged.",
    ),
    *_nfs_opts.FILE_OPTIONS,
]


@dataclasses.dataclass(frozen=True)
class DirectorySetting:
    """One configured directory.

    :param path: absolute, without a slash at its end; links in it are resolved when it is opened.
    :param priority: greater ones are filled first.
    :param writable: whether new images may go there.
    """

    path: str
    priority: int = 0
    writable: bool = True


def directories(settings: StoreSettings) -> list[DirectorySetting]:
    """Return the directories, best first; the ones that are only read come last."""
    single, several = settings["filesystem_store_datadir"], settings["filesystem_store_datadirs"] or []
    found = [_directory(text) for text in several] if several else [DirectorySetting(_clean(single))]
    found.sort(key=lambda each: -each.priority)
    read = [DirectorySetting(_clean(path), writable=False) for path in settings["filesystem_store_read_datadirs"] or []]
    return found + read


def _clean(path: str) -> str:
    return os.path.normpath(path.strip()) if path.strip() else ""


def _directory(text: str) -> DirectorySetting:
    path, colon, priority = text.strip().rpartition(":")
    if colon and priority.strip().isdecimal():
        return DirectorySetting(_clean(path), int(priority))
    return DirectorySetting(_clean(text))


def file_mode(settings: StoreSettings) -> int:
    """Return the permission bits of new files, 0 to leave them to the umask."""
    return int(str(settings["filesystem_store_file_perm"]), 8)


def load_metadata(settings: StoreSettings) -> list[dict[str, Any]]:
    """Return the entries of the metadata file.

    :raises ValueError: it does not hold what it should.
    :raises OSError: it cannot be read.
    """
    path = settings["filesystem_store_metadata_file"]
    if not path:
        return []
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    entries = found if isinstance(found, list) else [found]
    for entry in entries:
        if not isinstance(entry, dict) or not all(
            isinstance(entry.get(key), str) and entry[key] for key in ("id", "mountpoint")
        ):
            raise ValueError("it must hold an object, or a list of objects, with the texts 'id' and 'mountpoint'")
    return entries


def metadata_of(entries: Iterable[dict[str, Any]], path: str) -> dict[str, Any]:
    """Return a copy of the entry whose mount point holds `path`, the longest of several, else nothing."""
    best: dict[str, Any] = {}
    longest = 0
    for entry in entries:
        mount = os.path.normpath(entry["mountpoint"])
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) > longest:
            best, longest = entry, len(mount)
    return copy.deepcopy(best) if best else best


def check(settings: StoreSettings) -> Iterator[Mistake]:
    """Yield every mistake in the options of a file store."""
    yield from _check_directories(settings)
    yield from _nfs_opts.check_file(settings)
    yield from check_files(settings)


def check_files(settings: StoreSettings) -> Iterator[Mistake]:
    """Yield every mistake in the options that concern files wherever they lie."""
    yield from _check_permissions(settings)
    option = "filesystem_store_metadata_file"
    try:
        load_metadata(settings)
    except (OSError, ValueError) as error:
        yield Mistake(settings.id, option, f"{settings[option]} is of no use: {error}", "mend the file or leave it out")


def _check_directories(settings: StoreSettings) -> Iterator[Mistake]:
    single, several = "filesystem_store_datadir", "filesystem_store_datadirs"
    if settings[several] and settings[single] and settings.origin(single).by_operator:
        yield Mistake(settings.id, several, f"{single} is set as well", "use one of the two")
        return
    if not settings[several] and not (settings[single] or "").strip():
        yield Mistake(settings.id, single, "no directory is set", f"set {single} or {several}")
        return
    seen = set()
    for option, text in _written_directories(settings):
        path = (_directory(text) if option == several else DirectorySetting(_clean(text))).path
        if not os.path.isabs(path):
            yield Mistake(settings.id, option, f"{path or 'an empty path'} is not absolute", "write it from / on")
        if path in seen:
            yield Mistake(settings.id, option, f"{path} is there twice", "leave one of them out")
        seen.add(path)
    for text in settings[several] or []:
        path, colon, priority = text.rpartition(":")
        if colon and not priority.strip().isdecimal() and os.path.isabs(path) and "/" not in priority:
            yield Mistake(settings.id, several, f"{priority!r} in {text!r} is no priority", "write PATH:NUMBER")


def _written_directories(settings: StoreSettings) -> Iterator[tuple[str, str]]:
    """Yield each directory that counts, as it is written, after the option that it is written in."""
    several = "filesystem_store_datadirs"
    option = several if settings[several] else "filesystem_store_datadir"
    yield from ((option, text) for text in settings[several] or [settings[option]])
    option = "filesystem_store_read_datadirs"
    yield from ((option, text) for text in settings[option] or [])


def _check_permissions(settings: StoreSettings) -> Iterator[Mistake]:
    option = "filesystem_store_file_perm"
    try:
        mode = file_mode(settings)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        yield Mistake(settings.id, option, f"{settings[option]} are no permissions", "write octal digits such as 640")
    elif mode and not mode & 0o400:
        yield Mistake(settings.id, option, f"{settings[option]} keeps the owner from reading", "add 400, such as 640")
