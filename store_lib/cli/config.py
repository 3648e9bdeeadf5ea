"""Where the command finds its stores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg

from store_lib import Stores

__all__ = ["ENVIRONMENT", "SYSTEM_FILE", "config_files", "load_stores"]

#: Names configuration files, separated by colons.
ENVIRONMENT = "STORE_LIB_CONFIG"
SYSTEM_FILE = "/etc/store_lib/store_lib.conf"


def config_files(files: Sequence[str]) -> list[str]:
    """Return `files`, else those of $STORE_LIB_CONFIG, else the system's one if it exists, else none."""
    chosen = list(files) or [name for name in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if name]
    return [SYSTEM_FILE] if not chosen and os.path.exists(SYSTEM_FILE) else chosen


def load_stores(files: Sequence[str]) -> Stores:
    """Return the stores of `files`; without any, one file store in the user's data folder.

    :raises ConfigurationError: a file is missing or wrong.
    """
    return Stores.from_file(*files) if files else _embedded()


def _embedded() -> Stores:
    """Return one file store ``default`` in the user's own data folder."""
    home = os.environ.get("XDG_DATA_HOME") or os.path.join(Path.home(), ".local", "share")
    conf = cfg.ConfigOpts()
    conf([], project="store_lib", default_config_files=[], default_config_dirs=[])
    conf.register_opt(cfg.DictOpt("enabled_backends"))
    conf.register_opt(cfg.StrOpt("filesystem_store_datadir"), group="default")
    conf.set_override("enabled_backends", {"default": "file"})
    conf.set_override("filesystem_store_datadir", os.path.join(home, "store_lib", "images"), group="default")
    return Stores.from_config(conf)
