"""What every store does, on volumes that come by iSCSI: over one path, and over several that are one device.

Every day a part of it, mostly on the kernel's own target with a stand-in for Cinder, which answers at once; in long
runs all of it, with a Cinder over several paths a large part.
"""

import pytest

from store_lib.conformance.behaviour import behaviours
from store_lib.tests.functional.cinder.test_conformance import only
from store_lib.tests.functional.devices.conformance import OnDevices, WithoutCinder

EVERY = {each.number for each in behaviours()}
#: Numbers of the behaviours that are tested every day: in which bytes go through a device, or in which attaching and
#: detaching is interrupted, or asked for by many at once.
DAILY = {24, 33, 71, 91}
#: Those of them that are tested every day where a device has several parts to come and to go.
DAILY_OVER_PATHS = {24, 71, 91}
#: Those for which a Cinder is asked every day, where an image takes most of ten seconds.
DAILY_OF_CINDER = {24, 71}
#: What matters to devices most: ranges, sizes, holes, deleting, errors, leftovers, threads, processes, room.
CORE = DAILY | {11, 16, 18, 36, 37, 40, 44, 45, 56, 61, 62, 70, 72, 73, 74, 85, 87, 93, 95, 100, 105, 110, 111, 132}


class WithCinder(OnDevices):
    """Volumes of LVM."""

    @pytest.fixture
    def store_config(self, request, cloud):
        """Return the configuration of a store."""
        return self.config(request, cloud)


@only(DAILY)
class TestOnePath(WithoutCinder):
    """A device is one of the kernel's own."""


@only(DAILY_OVER_PATHS)
class TestSeveralPaths(WithoutCinder):
    """A device is a map of two."""

    multipath = True


@pytest.mark.long
@only(EVERY - DAILY)
class TestOnePathMore(WithoutCinder):
    """A device is one of the kernel's own."""


@pytest.mark.long
@only(EVERY - DAILY_OVER_PATHS)
class TestSeveralPathsMore(WithoutCinder):
    """A device is a map of two."""

    multipath = True


@only(DAILY_OF_CINDER)
class TestOnePathOfCinder(WithCinder):
    """A device is one of the kernel's own."""


@pytest.mark.long
@only(EVERY - DAILY_OF_CINDER)
class TestOnePathOfCinderMore(WithCinder):
    """A device is one of the kernel's own."""


@pytest.mark.long
@only(CORE)
class TestSeveralPathsOfCinder(WithCinder):
    """A device is a map of two."""

    multipath = True
