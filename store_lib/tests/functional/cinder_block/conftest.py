"""Block devices of a real iSCSI target, both in the guest's kernel.

``tools/run-tests "cinder on block devices"``, or
``tools/guest run -- .venv/bin/python -m pytest store_lib/tests/functional/cinder_block``
"""

import functools
import os
import time
import types

import pytest

from store_lib.tests.functional.cinder_block.cloud import Cloud
from store_lib.tests.functional.cinder_block.target import PORTALS, Target, found, log_out
from store_lib.tests.functional.devices.fixtures import Protocol, make_connector, make_store, make_target, stand_in
from store_lib.tests.functional.devices.host import LIMIT, in_the_guest_alone, quick_commands, tool

__all__ = ["make_connector", "make_store", "make_target", "stand_in"]

#: By how much shorter os-brick's pauses are here, which it makes between looks at devices that are there by then.
HASTE = 4


def pytest_collection_modifyitems(items):
    """Have tests run in the guest alone, and those with a Cinder at the end: it keeps the processor busy."""
    in_the_guest_alone(__file__, items, of_long=3 * LIMIT)
    if "GUEST" in os.environ:
        items.sort(key=lambda item: "cloud" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def protocol():
    """Return iSCSI, with this host set up for it."""
    with quick_commands(), pytest.MonkeyPatch.context() as patches:
        tool("up")
        hasten(patches)
        yield Protocol("iscsi", Target, PORTALS, found, log_out)


def hasten(patches):
    """Have os-brick look for devices more often."""
    import tenacity
    from os_brick import utils
    from os_brick.initiator.connectors import iscsi

    def sleep(seconds):
        time.sleep(seconds / HASTE)

    retrying = {"Retrying": functools.partial(tenacity.Retrying, sleep=sleep)}
    patches.setattr(iscsi, "time", types.SimpleNamespace(sleep=sleep, time=time.time))
    patches.setattr(utils, "tenacity", types.SimpleNamespace(**{**vars(tenacity), **retrying}))


@pytest.fixture(scope="class")
def several_paths(protocol):
    """Have several paths to a device become one for the time of the test, or of the class of tests."""
    tool("multipath")
    yield
    tool("singlepath")


@pytest.fixture(scope="session")
def cloud(protocol):
    """Return a Cinder with the volume groups lvm1 and lvm2; it ends with the guest."""
    tool("groups")
    return Cloud()
