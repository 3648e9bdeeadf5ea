"""What every store does, on volumes that come by NVMe over TCP: where it matters that they are devices."""

import pytest

from store_lib.tests.functional.cinder.test_conformance import only
from store_lib.tests.functional.devices.conformance import WithoutCinder

#: Numbers of the behaviours in which it matters that a volume is a device: bytes, sizes, holes, deleting, leftovers,
#: what is interrupted, threads, processes, room.
OF_DEVICES = {24, 33, 44, 45, 62, 70, 71, 85, 87, 91, 93, 95, 100, 105, 110, 111}
#: Those of them in which it matters that a device has several paths, which come and go.
OF_PATHS = {24, 33, 71, 91, 95, 111}

pytestmark = pytest.mark.long


@only(OF_DEVICES)
class TestOnePath(WithoutCinder):
    """A device has one connection."""


@only(OF_PATHS)
class TestSeveralPaths(WithoutCinder):
    """A device has two."""

    multipath = True
