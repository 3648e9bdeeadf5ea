"""What every store does, on volumes that come by NVMe over TCP: where it matters that they are devices."""

import pytest

from store_lib.tests.functional.cinder.test_conformance import only
from store_lib.tests.functional.cinder_block.test_conformance import OF_CINDER, OF_CINDER_OVER_PATHS, OnDevices

pytestmark = pytest.mark.long


class OnNvme(OnDevices):
    """Volumes of one target each."""

    @pytest.fixture
    def store_config(self, stand_in):
        """Return the configuration of a store."""
        return (
            f"[DEFAULT]\nenabled_backends = it:cinder\n{stand_in.section('it', cinder_use_multipath=self.multipath)}\n"
        )


@only(OF_CINDER)
class TestOnePath(OnNvme):
    """A device has one connection."""


@only(OF_CINDER_OVER_PATHS)
class TestSeveralPaths(OnNvme):
    """A device has two."""

    multipath = True
