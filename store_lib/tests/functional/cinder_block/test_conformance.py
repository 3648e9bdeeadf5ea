"""What every store does, on volumes that come by iSCSI: over one path, and over several that are one device.

Every day a part of it, on the kernel's own target without a Cinder; in long runs all of it there, and a part with a
Cinder, where an image takes most of a minute on a busy machine.
"""

import uuid

import pytest

from store_lib.conformance import Conformance
from store_lib.conformance.behaviour import behaviours
from store_lib.tests.functional.cinder.test_conformance import only

EVERY = {each.number for each in behaviours()}
#: Numbers of the behaviours that are tested every day: in which bytes go through a device, or in which attaching and
#: detaching is interrupted, or asked for by many at once.
DAILY = {24, 33, 71, 91}
#: Those of them that are tested every day where a device has several parts to come and to go.
DAILY_OVER_PATHS = {24, 71, 91}
#: What matters to devices beyond those: ranges, sizes, holes, deleting, errors, leftovers, threads, processes, room.
CORE = DAILY | {11, 16, 18, 36, 37, 40, 44, 45, 56, 61, 62, 70, 72, 73, 74, 85, 87, 93, 95, 100, 105, 110, 111, 132}
#: The part for which a Cinder is asked.
OF_CINDER = {24, 33, 44, 45, 62, 70, 71, 85, 87, 91, 93, 95, 100, 105, 110, 111}
OF_CINDER_OVER_PATHS = {24, 33, 71, 91, 95, 111}


class OnDevices(Conformance):
    """Volumes that are devices here."""

    keep_stores = True
    multipath = False
    too_small = {"cinder_volume_type": "nowhere"}  # noqa: RUF012
    unreachable = {"cinder_endpoint_template": "http://127.0.0.1:1/v3"}  # noqa: RUF012
    foreign = (f"cinder://elsewhere/{uuid.uuid4()}",)

    def config(self, request, servers):
        """Return the configuration of a store."""
        if self.multipath:
            request.getfixturevalue("multipathd")
        return (
            f"[DEFAULT]\nenabled_backends = it:cinder\n{servers.section('it', cinder_use_multipath=self.multipath)}\n"
        )


class WithoutCinder(OnDevices):
    """Volumes of the kernel's target."""

    @pytest.fixture
    def store_config(self, request, stand_in):
        """Return the configuration of a store."""
        return self.config(request, stand_in)


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
@only(CORE - DAILY_OVER_PATHS)
class TestSeveralPathsMore(WithoutCinder):
    """A device is a map of two."""

    multipath = True


@pytest.mark.long
@only(OF_CINDER)
class TestOnePathOfCinder(WithCinder):
    """A device is one of the kernel's own."""


@pytest.mark.long
@only(OF_CINDER_OVER_PATHS)
class TestSeveralPathsOfCinder(WithCinder):
    """A device is a map of two."""

    multipath = True
