"""The NFS store: the file store's handling of bytes on shares that are known to be shares.

Location: ``nfs://<host>/<export>/<image id>``, percent-quoted.  It holds no mount point, so that hosts may mount the
share wherever they like.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from oslo_config import cfg

from store_lib import errors
from store_lib.drivers import _file_opts, _nfs_opts
from store_lib.drivers._access import REMOTE_TIMEOUT
from store_lib.drivers._directory import Directory
from store_lib.drivers._file_opts import DirectorySetting
from store_lib.drivers._file_values import FileAddress
from store_lib.drivers._nfs_directory import NfsDirectory
from store_lib.drivers.file import FileDriver
from store_lib.location import check_image_id, redact, scheme_of
from store_lib.settings import StoreSettings

__all__ = ["NfsDriver"]

#: Options of the file store that have no meaning here: the directories are the shares.
_LOCAL = ("filesystem_store_datadir", "filesystem_store_datadirs", "filesystem_store_read_datadirs")
_OWN = {opt.dest for opt in _nfs_opts.FILE_OPTIONS}


class NfsDriver(FileDriver):
    """Images as files on NFS shares.  An address's directory is the share, as the mount table writes it."""

    OPTIONS: ClassVar[list[cfg.Opt]] = [
        *_nfs_opts.OPTIONS,
        *(opt for opt in _file_opts.OPTIONS if opt.dest not in _OWN and opt.dest not in _LOCAL),
    ]
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "operation_timeout": REMOTE_TIMEOUT,
        "filesystem_store_timeout": REMOTE_TIMEOUT,
    }
    SCHEMES: ClassVar[tuple[str, ...]] = ("nfs",)

    @classmethod
    def check(cls, settings: StoreSettings) -> Iterable[errors.Mistake]:
        """Yield every mistake in the options."""
        yield from _nfs_opts.check(settings)
        yield from _file_opts.check_files(settings)
        option = "filesystem_store_timeout"
        if not settings[option]:
            yield errors.Mistake(settings.id, option, "0 would let calls hang with the server", "set it above 0")

    def _made_directories(self) -> Sequence[Directory]:
        timeout: float = self.settings["filesystem_store_timeout"]
        self._shares = _nfs_opts.shares(self.settings)
        return [
            NfsDirectory(DirectorySetting(share.source, share.weight), self.mode, share, timeout)
            for share in self._shares
        ]

    # -- locations ----------------------------------------------------------------------------------------------------

    def parse(self, uri: str) -> FileAddress:
        """Return the address of ``nfs://<host>/<export>/<image id>``; the share must be one of this store's."""
        if scheme_of(uri) not in self.SCHEMES:
            raise errors.ForeignLocation(f"{redact(uri)} is no location of an NFS store")
        rest = uri[len("nfs") :]
        if not rest.startswith("://") or any(char in rest for char in "?#"):
            raise errors.BadLocation(f"{redact(uri)} is malformed: write nfs://host/export/id")
        host, *path = (_unquoted(part, uri) for part in rest[3:].split("/"))
        if not host or not path or not all(path[:-1]):
            raise errors.BadLocation(f"{redact(uri)} is malformed: write nfs://host/export/id")
        try:
            name = check_image_id(path[-1])
        except errors.BadImageId as error:
            raise errors.BadLocation(f"{redact(uri)} is malformed: it ends with no image id") from error
        source = f"{host}:/{'/'.join(path[:-1])}"
        if source not in self._by_path:
            raise errors.ForeignLocation(f"{redact(uri)} lies on no share of this store")
        return FileAddress(source, name)

    def uri(self, address: FileAddress) -> str:
        """Return ``nfs://<host>/<export>/<image id>``."""
        return f"{self._prefix(address.directory)}/{urllib.parse.quote(address.name, safe='')}"

    def prefix(self) -> str | None:
        """Return what the locations on the best share begin with."""
        return f"{self._prefix(self.targets[0].path)}/"

    def _prefix(self, source: str) -> str:
        share = next(each for each in self._shares if each.source == source)
        export = share.export if share.export != "/" else ""
        return f"nfs://{urllib.parse.quote(share.host, safe='[]:')}{urllib.parse.quote(export)}"

    def metadata(self, address: FileAddress) -> Mapping[str, Any]:
        """Return what services are told about the location: the entry that holds the mount point."""
        at = self._by_path[address.directory].real
        return _file_opts.metadata_of(self._metadata, f"{at}/{address.name}") if at else {}

    def describe(self) -> Mapping[str, Any]:
        """Return what the settings say of the shares."""
        return {
            "shares": [
                {
                    "host": each.host,
                    "export": each.export,
                    "version": each.version,
                    "options": each.mount_options,
                    "mount_point": each.point,
                    "mounted_by": "store_lib" if each.mount else "operator",
                    "weight": each.weight,
                }
                for each in self._shares
            ],
            "chunk_size": self.settings["filesystem_store_chunk_size"],
            "thin_provisioning": self.thin,
        }


def _unquoted(part: str, uri: str) -> str:
    found = urllib.parse.unquote(part, errors="strict") if part.isascii() else "/"
    if "/" in found or "\0" in found or found in (".", ".."):
        raise errors.BadLocation(f"{redact(uri)} is malformed: no part of it may hold a slash or lead elsewhere")
    return found
