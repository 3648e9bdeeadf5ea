"""Options of the rbd store."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping

from oslo_config import cfg

from store_lib.errors import Mistake
from store_lib.settings import StoreSettings

__all__ = ["FEATURE_BITS", "MEND", "OPTIONS", "check", "written_fsid"]

#: Bits of image features by the names that Ceph's own option and command use (rbd(8)).
FEATURE_BITS: Mapping[str, int] = {
    "layering": 1,
    "exclusive-lock": 4,
    "object-map": 8,
    "fast-diff": 16,
    "deep-flatten": 32,
}
_NEEDS = {"object-map": "exclusive-lock", "fast-diff": "object-map"}
_FSID = re.compile(r"^\s*fsid\s*=\s*([0-9A-Fa-f-]{36})\s*$", re.MULTILINE)
_LARGEST_CHUNK = 32  # MiB, an order of 25; librbd makes no larger objects

OPTIONS = [
    cfg.IntOpt(
        "rbd_store_chunk_size",
        default=8,
        min=1,
        help="Size in megabytes of the RADOS objects that an image is cut into. Best a power of two; another number "
        "is rounded down to one.",
    ),
    cfg.StrOpt("rbd_store_pool", default="images", help="Pool that holds the images; it must exist."),
    cfg.StrOpt(
        "rbd_store_namespace",
        default="",
        help="RBD namespace inside the pool; it must exist. Empty for the pool's own one.",
    ),
    cfg.StrOpt(
        "rbd_store_data_pool",
        help="Pool for the data of new images, for instance an erasure-coded one; names and headers stay in "
        "rbd_store_pool. Images that are there already stay as they are.",
    ),
    cfg.StrOpt(
        "rbd_store_user",
        help="Ceph user, without 'client.'. When not set, librados decides.",
        sample_default="glance",
    ),
    cfg.StrOpt(
        "rbd_store_ceph_conf",
        default="",
        help="Path of Ceph's configuration file, which names the monitors and the key ring. Empty to look where Ceph "
        "always does.",
    ),
    cfg.IntOpt(
        "rados_connect_timeout",
        default=-1,
        min=-1,
        help="How long in seconds connecting, and one request to a monitor or an OSD, may take. -1 takes "
        "connect_timeout, and a quarter of operation_timeout, so that a request and its undoing end in time; 0 means "
        "no limit.",
    ),
    cfg.BoolOpt(
        "rbd_thin_provisioning",
        default=False,
        help="Leave runs of zeroes unwritten, so that they take no room. Holes of a sparse source file always stay "
        "holes.",
    ),
    cfg.ListOpt(
        "rbd_store_image_features",
        default=[],
        help="Features of new images, of layering, exclusive-lock, object-map, fast-diff and deep-flatten. "
        "Layering is always among them, since instances are clones. Empty leaves it to rbd_default_features of "
        "Ceph's configuration.",
    ),
    cfg.IntOpt(
        "rbd_store_in_flight",
        default=30,
        min=1,
        max=256,
        help="Requests of 2 MiB that are on their way at once for one image.",
    ),
    cfg.IntOpt(
        "rbd_store_trash_deferment",
        default=0,
        min=0,
        help="How long in seconds an image that could not be removed at once (it has clones, or somebody has it open) "
        "stays in the trash at least. After that a sweep removes it once nothing needs it any more.",
    ),
]

#: How to get the bindings, which are built with Ceph and not on PyPI.
MEND = "install the distribution's packages python3-rados and python3-rbd, and make them visible to this Python"


def missing_bindings() -> list[str]:
    """Return which of Ceph's modules this Python does not see; imports none."""
    return [name for name in ("rados", "rbd") if importlib.util.find_spec(name) is None]


def written_fsid(settings: StoreSettings) -> str | None:
    """Return the fsid of the cluster where Ceph's configuration file names it, before anybody has connected."""
    path = settings["rbd_store_ceph_conf"] or "/etc/ceph/ceph.conf"
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = _FSID.search(file.read())
    except OSError:
        return None
    return found[1].lower() if found else None


def check(settings: StoreSettings) -> Iterator[Mistake]:
    """Yield every mistake in the options."""
    if missing := missing_bindings():
        problem = f"Ceph's Python bindings are not installed ({', '.join(missing)})"
        yield Mistake(settings.id, "enabled_backends", problem, MEND)
    if settings["rbd_store_chunk_size"] > _LARGEST_CHUNK:
        problem = f"{settings['rbd_store_chunk_size']} MiB is more than Ceph takes"
        yield Mistake(settings.id, "rbd_store_chunk_size", problem, f"write {_LARGEST_CHUNK} or less")
    for name in ("rbd_store_pool", "rbd_store_namespace", "rbd_store_data_pool"):
        value = settings[name] or ""
        if any(char in "/@" or not char.isprintable() for char in value):
            yield Mistake(settings.id, name, f"{value!r} is no name of that kind", "leave out '/' and '@'")
    if not settings["rbd_store_pool"]:
        yield Mistake(settings.id, "rbd_store_pool", "it is empty", "name a pool that exists")
    if (settings["rbd_store_user"] or "").startswith("client."):
        yield Mistake(settings.id, "rbd_store_user", "it begins with 'client.'", "write what follows that")
    path = settings["rbd_store_ceph_conf"]
    if path and not os.access(path, os.R_OK):
        yield Mistake(settings.id, "rbd_store_ceph_conf", f"{path} cannot be read", "name Ceph's configuration file")
    yield from _check_features(settings)


def _check_features(settings: StoreSettings) -> Iterator[Mistake]:
    names = settings["rbd_store_image_features"]
    for name in names:
        if name not in FEATURE_BITS:
            mend = f"use some of {', '.join(FEATURE_BITS)}"
            yield Mistake(settings.id, "rbd_store_image_features", f"{name!r} is no feature of images", mend)
        elif _NEEDS.get(name, name) not in names:
            yield Mistake(settings.id, "rbd_store_image_features", f"{name} needs {_NEEDS[name]}", "add that, too")
