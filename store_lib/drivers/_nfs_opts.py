"""Options of stores on NFS and the shares that they name."""

from __future__ import annotations

import configparser
import dataclasses
import hashlib
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from oslo_config import cfg

from store_lib.errors import Mistake
from store_lib.settings import StoreSettings

__all__ = ["FILE_OPTIONS", "OPTIONS", "Share", "check", "check_file", "file_share", "shares"]

_VERSIONS = ("3", "4", "4.0", "4.1", "4.2")
_BASE = "/var/lib/store_lib/mnt"
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?\]")

OPTIONS = [
    cfg.StrOpt(
        "nfs_host",
        help="Name or address of the NFS server, written as in the mount table; an IPv6 address in brackets.",
    ),
    cfg.StrOpt("nfs_export", help="Path that the server exports. The images lie directly in it."),
    cfg.StrOpt(
        "nfs_version",
        choices=_VERSIONS,
        help="Version of NFS to mount with. When not set, 4.2, 4.1 and what the system prefers are tried in turn.",
    ),
    cfg.StrOpt(
        "nfs_mount_options",
        help="Further options to mount with, separated by commas, as nfs(5) has them. Unless they are named here, "
        "retry=0 (a dead server is told at once) and lookupcache=positive (an image that another host wrote is seen at "
        "once) are added.",
    ),
    cfg.StrOpt(
        "nfs_mount_point_base",
        default=_BASE,
        help="Directory in which store_lib makes its mount points. With nfs_mount = false: the mount point itself, or "
        "a directory above it.",
    ),
    cfg.BoolOpt(
        "nfs_mount",
        default=True,
        help="Mount the share when it is not mounted. When false, the mount is the business of the operator, or of "
        "Kubernetes, and is only verified.",
    ),
    cfg.StrOpt(
        "nfs_root_helper",
        default="",
        help="Command that runs mount and umount as root for a service that is not, such as 'sudo store-rootwrap "
        "/etc/store/rootwrap.conf'. When empty, os-brick's privsep daemon does it.",
    ),
    cfg.StrOpt(
        "nfs_store_config_file",
        help="File with one section a share, holding host, export, version, mount_options, mount_point_base, mount and "
        "weight, in place of the options nfs_*. A new image goes to the share with the greatest weight that has room, "
        "among equals to the one with the most free space.",
    ),
]

FILE_OPTIONS = [
    cfg.BoolOpt(
        "filesystem_is_nfs_configured",
        default=False,
        help="The directory lies on an NFS share, which is checked before every use: images never land in the "
        "directory underneath, and no call hangs with the server. Use it with filesystem_store_datadir.",
    ),
    cfg.StrOpt(
        "filesystem_nfs_host",
        help="Name or address of the NFS server, written as in the mount table; an IPv6 address in brackets.",
    ),
    cfg.StrOpt("filesystem_nfs_share_path", help="Path that the server exports."),
    cfg.StrOpt(
        "filesystem_nfs_mount_options",
        help="Options to mount with, separated by commas, as nfs(5) has them. Unless they are named here, retry=0 and "
        "lookupcache=positive are added.",
    ),
    cfg.BoolOpt(
        "filesystem_nfs_mount",
        default=True,
        help="Mount the share at filesystem_store_datadir when it is not mounted there or above. When false, the mount "
        "is the operator's business and is only verified.",
    ),
    cfg.StrOpt(
        "filesystem_nfs_root_helper",
        default="",
        help="Command that runs mount and umount as root for a service that is not. When empty, os-brick's privsep "
        "daemon does it.",
    ),
]


@dataclasses.dataclass(frozen=True)
class Share:
    """One share and how it gets to its place.

    :param point: where it is to be mounted; None: wherever the mount table has it, at `base` or below.
    :param mount: whether to mount it when it is not mounted.
    """

    host: str
    export: str
    point: str | None
    base: str = "/"
    version: str | None = None
    options: str = ""
    mount: bool = False
    root_helper: str = ""
    weight: int = 0

    @property
    def source(self) -> str:
        """What the mount table calls it."""
        return f"{self.host}:{self.export}"

    @property
    def address(self) -> str:
        """The host as sockets want it."""
        return self.host.strip("[]")

    @property
    def written(self) -> dict[str, str]:
        """The operator's mount options."""
        pairs = (word.partition("=") for word in self.options.split(",") if word.strip())
        return {name.strip(): value.strip() for name, _, value in pairs}

    @property
    def mount_options(self) -> str:
        """The options to mount with."""
        words = [f"vers={self.version}"] if self.version else []
        words += [word.strip() for word in self.options.split(",") if word.strip()]
        words += [f"{name}={value}" for name, value in _ADDED.items() if name not in self.written]
        return ",".join(words)


_ADDED = {"retry": "0", "lookupcache": "positive"}


def shares(settings: StoreSettings) -> list[Share]:
    """Return the shares of a store of type nfs, the heaviest first.

    :raises ValueError: the file of shares does not hold what it should.
    :raises OSError: it cannot be read.
    """
    path = settings["nfs_store_config_file"]
    helper = settings["nfs_root_helper"]
    if not path:
        values = {name: settings[f"nfs_{name}"] for name in _FIELDS if name != "weight"}
        return [_share(values, helper)]
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except configparser.Error as error:
        raise ValueError(error.message.replace("\n", " ")) from error
    if not parser.sections():
        raise ValueError("it has no section")
    found = [_section(name, parser[name], helper) for name in parser.sections()]
    return sorted(found, key=lambda each: -each.weight)


_FIELDS = ("host", "export", "version", "mount_options", "mount_point_base", "mount", "weight")


def _section(name: str, section: configparser.SectionProxy, helper: str) -> Share:
    if unknown := sorted(set(section) - set(_FIELDS)):
        raise ValueError(f"section [{name}] has the unknown {', '.join(unknown)}; there are {', '.join(_FIELDS)}")
    values: dict[str, Any] = {"mount_point_base": _BASE, **dict(section)}
    try:
        values["mount"] = section.getboolean("mount", True)
        values["weight"] = section.getint("weight", 0)
    except ValueError as error:
        raise ValueError(f"section [{name}]: {error}") from error
    return _share(values, helper)


def _share(values: Mapping[str, Any], helper: str) -> Share:
    host, export = (values.get("host") or "").strip(), (values.get("export") or "").strip()
    export = os.path.normpath(export) if export else ""
    base = os.path.normpath(values["mount_point_base"] or "/")
    # os-brick's name of the mount point, so that other services of this host share the mount.
    name = hashlib.md5(f"{host}:{export}".encode(), usedforsecurity=False).hexdigest()
    return Share(
        host=host,
        export=export,
        point=os.path.join(base, name) if values["mount"] else None,
        base=base,
        version=values.get("version") or None,
        options=values.get("mount_options") or "",
        mount=bool(values["mount"]),
        root_helper=helper,
        weight=values.get("weight") or 0,
    )


def file_share(settings: StoreSettings) -> Share | None:
    """Return the share that the directory of a store of type file lies on, None when it is local."""
    if not settings["filesystem_is_nfs_configured"]:
        return None
    return Share(
        host=(settings["filesystem_nfs_host"] or "").strip(),
        export=os.path.normpath((settings["filesystem_nfs_share_path"] or "").strip() or "."),
        point=os.path.normpath(settings["filesystem_store_datadir"]),
        options=settings["filesystem_nfs_mount_options"] or "",
        mount=settings["filesystem_nfs_mount"],
        root_helper=settings["filesystem_nfs_root_helper"],
    )


def check(settings: StoreSettings) -> Iterator[Mistake]:
    """Yield every mistake in the options of a store of type nfs."""
    option = "nfs_store_config_file"
    try:
        found = shares(settings)
    except (OSError, ValueError) as error:
        yield Mistake(settings.id, option, f"{settings[option]} is of no use: {error}", "mend the file or leave it out")
        return
    if settings[option] and any(settings.origin(f"nfs_{name}").by_operator for name in ("host", "export")):
        yield Mistake(settings.id, option, "nfs_host or nfs_export is set as well", "use one of the two ways")
    for share in found:
        where = (option, option) if settings[option] else ("nfs_host", "nfs_export")
        yield from _check_share(settings.id, share, *where)
    sources = [share.source for share in found]
    for source in sorted({each for each in sources if sources.count(each) > 1}):
        yield Mistake(settings.id, option, f"{source} is there twice", "leave one of them out")


def check_file(settings: StoreSettings) -> Iterator[Mistake]:
    """Yield every mistake in the NFS options of a store of type file."""
    share = file_share(settings)
    if share is None:
        return
    if settings["filesystem_store_datadirs"]:
        yield Mistake(
            settings.id,
            "filesystem_store_datadirs",
            "filesystem_is_nfs_configured checks one directory",
            "use filesystem_store_datadir, or a store of type nfs with nfs_store_config_file",
        )
    yield from _check_share(settings.id, share, "filesystem_nfs_host", "filesystem_nfs_share_path")


def _check_share(store: str, share: Share, host: str, export: str) -> Iterator[Mistake]:
    if not _HOST.fullmatch(share.host):
        problem = f"{share.host!r} is no host" if share.host else "no server is named"
        yield Mistake(store, host, problem, "write its name or address, an IPv6 address in brackets")
    if not share.export.startswith("/") or not share.export.isprintable():
        problem = f"{share.export!r} is no exported path" if share.export.strip(".") else "no export is named"
        yield Mistake(store, export, problem, "write the path that the server exports, from / on")
    if share.version is not None and share.version not in _VERSIONS:
        yield Mistake(store, host, f"version {share.version!r} is unknown", f"write one of {', '.join(_VERSIONS)}")
    if not os.path.isabs(share.base):
        yield Mistake(store, "nfs_mount_point_base", f"{share.base} is not absolute", "write it from / on")
    if share.mount:
        yield from _check_tools(store)


def _check_tools(store: str) -> Iterator[Mistake]:
    if importlib.util.find_spec("os_brick") is None:
        yield Mistake(store, None, "mounting needs os-brick", "run: pip install store_lib[nfs], or do not mount")
    if shutil.which("mount.nfs", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin") is None:
        yield Mistake(store, None, "mounting needs mount.nfs", "install nfs-common (nfs-utils), or do not mount")
