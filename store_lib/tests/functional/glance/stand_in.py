"""What Glance's own tests ask of a library under them that no deployment does."""

import importlib

from oslo_config import cfg

from store_lib.drivers.memory import MemoryDriver
from store_lib.registry import DriverRegistry


class CinderStandIn(MemoryDriver):
    """Has the options of a Cinder store that Glance's tests set; they mock all of its work."""

    OPTIONS = (
        *MemoryDriver.OPTIONS,
        cfg.StrOpt("cinder_volume_type"),
        cfg.BoolOpt("cinder_use_multipath", default=False),
    )
    SCHEMES = ("cinder",)


def provide_cinder():
    """Let the driver be found, unless there is a real one: half of the tests enable such a store and do not use it."""
    if "cinder" in DriverRegistry().names():
        return
    make = DriverRegistry.__init__

    def init(self, extra=None):
        make(self, {"cinder": CinderStandIn, **(extra or {})})

    DriverRegistry.__init__ = init  # type: ignore[method-assign]


def correct_staging_folder():
    """Write ``file:///tmp/staging`` where Glance's tests forget the scheme.

    Glance cuts off seven characters and has a relative directory then, in which glance_store would put files.
    """
    base = importlib.import_module("glance.tests.utils").BaseTestCase
    config = base.config

    def corrected(self, **options):
        if options.get("node_staging_uri") == "/tmp/staging":
            options["node_staging_uri"] = "file:///tmp/staging"
        config(self, **options)

    base.config = corrected
