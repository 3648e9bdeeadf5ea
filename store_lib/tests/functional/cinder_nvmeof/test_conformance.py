"""What every store does, on volumes that come by NVMe over TCP: where it matters that they are devices."""

import pytest

from store_lib.tests.functional.cinder.test_conformance import only
from store_lib.tests.functional.devices.conformance import OF_DEVICES, OF_PATHS, WithoutCinder

pytestmark = pytest.mark.long


@only(OF_DEVICES)
class TestOnePath(WithoutCinder):
    """A device has one connection."""


@only(OF_PATHS)
class TestSeveralPaths(WithoutCinder):
    """A device has two."""

    multipath = True
