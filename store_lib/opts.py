"""Options that every store has, whatever its kind of storage.

A value is looked up in the store's own group, then in ``[backend_defaults]``, then it is the default of the driver
(`Driver.DEFAULTS`) and at last the default written here.
"""

from __future__ import annotations

from oslo_config import cfg

__all__ = ["BASE_OPTIONS", "DEFAULT_OPTIONS", "GLOBAL_GROUP", "GLOBAL_OPTIONS", "SHARED_GROUP"]

#: Group of the values that stores fall back to.
SHARED_GROUP = "backend_defaults"
#: Group of what concerns all stores together; its name is the one that image services have in their files.
GLOBAL_GROUP = "glance_store"

DEFAULT_OPTIONS = [
    cfg.DictOpt(
        "enabled_backends",
        help="The stores: a comma-separated list of ID:TYPE. Each ID is also the name of the group that holds the "
        "options of that store; TYPE is the name of a driver (see 'store-lib driver list').",
        sample_default="fast:file, cheap:file",
    ),
]

GLOBAL_OPTIONS = [
    cfg.StrOpt(
        "default_backend",
        help="Id of the store that takes an image when no store is named. May be left out with a single store.",
    ),
]

BASE_OPTIONS = [
    cfg.StrOpt("store_description", help="What this store is, for people; shown with its id."),
    cfg.IntOpt(
        "weight",
        default=0,
        help="Rank among the stores: copies of an image are read from the store with the greatest weight first.",
    ),
    cfg.BoolOpt(
        "read_only",
        default=False,
        help="Refuse to add, delete, copy into or sweep this store. Reading works.",
    ),
    cfg.IntOpt(
        "part_size",
        min=64 * 1024,
        help="Size in bytes of the parts in which images move. Larger parts need fewer requests and more memory. "
        "When not set, the driver takes what serves its kind of storage best.",
    ),
    cfg.IntOpt(
        "parallel",
        min=1,
        max=256,
        help="Most parts of one image that are on their way at once. When not set, the driver decides.",
    ),
    cfg.IntOpt(
        "memory_limit",
        default=512 * 1024 * 1024,
        min=1024 * 1024,
        help="Most memory in bytes that the buffers of all transfers of this store take together. A transfer that "
        "finds none free takes fewer buffers or waits its turn.",
    ),
    cfg.IntOpt(
        "max_threads",
        default=32,
        min=1,
        max=1024,
        help="Most threads that work for this store at once. Transfers share them; none of them needs one to end.",
    ),
    cfg.FloatOpt(
        "queue_timeout",
        default=600,
        min=0,
        help="How long in seconds a transfer waits for its share of memory_limit before it fails as busy.",
    ),
    cfg.IntOpt(
        "retry_attempts",
        default=5,
        min=1,
        help="How often a request that failed for a passing reason is sent in all; 1 means no second try.",
    ),
    cfg.FloatOpt(
        "retry_deadline",
        default=60,
        min=0,
        help="Time in seconds after the first try of a request beyond which it is not tried again.",
    ),
    cfg.FloatOpt("connect_timeout", default=10, min=0.1, help="How long in seconds connecting to the server may take."),
    cfg.FloatOpt(
        "operation_timeout",
        default=60,
        min=0,
        help="How long in seconds the storage may take to answer one request (not one image). 0 means no limit.",
    ),
    cfg.BoolOpt("probe_on_start", default=True, help="Ask the storage whether it is usable when the service starts."),
    cfg.FloatOpt(
        "probe_interval",
        default=30,
        min=0,
        help="How old in seconds the last answer of a store that is down may be before it is asked again.",
    ),
    cfg.FloatOpt("probe_timeout", default=5, min=0.1, help="How long in seconds that question may take."),
    cfg.IntOpt(
        "bandwidth_limit",
        default=0,
        min=0,
        help="Most bytes a second that all transfers of this store move together in this process; 0 means no limit.",
    ),
    cfg.ListOpt(
        "digests",
        default=["md5", "sha512"],
        help="Digests that are computed while an image is added, when the caller asks for no others. Any of Python's "
        "hashlib; each costs a share of a processor.",
    ),
    cfg.BoolOpt(
        "verify_after_write",
        default=False,
        help="Read every added image back and compare its digest before add succeeds. Costs a full read.",
    ),
    cfg.FloatOpt(
        "leftover_age",
        default=24 * 3600,
        min=0,
        help="Age in seconds after which what an interrupted transfer of another host left on the storage may be "
        "swept. What a dead process of this host left may be swept at once.",
    ),
    cfg.ListOpt(
        "disabled_features",
        default=[],
        help="Features of the driver that are not to be used with this store (see 'store-lib store show').",
    ),
]
