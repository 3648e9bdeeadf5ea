"""What every store does, on volumes that come by iSCSI: where it matters that they are devices; only in long runs.

An image takes most of a minute here, since every command of Cinder and of os-brick is dear.
"""

import uuid

import pytest

from store_lib.conformance import Conformance
from store_lib.tests.functional.cinder.test_conformance import only

#: Numbers of the behaviours in which bytes and zeroes go through a device of the kernel's, or in which attaching and
#: detaching are interrupted, or asked for by many at once.
CORE = {24, 33, 71, 87, 91, 100, 105, 110}
#: Those of them that are tested where a device has several parts to come and to go.
OVER_PATHS = {24, 71}

pytestmark = pytest.mark.long


class OnIscsi(Conformance):
    """Volumes of LVM."""

    keep_stores = True
    multipath = False

    @pytest.fixture
    def store_config(self, request, cloud):
        """Return the configuration of a store."""
        if self.multipath:
            request.getfixturevalue("multipathd")
        self.unreachable = {"cinder_endpoint_template": "http://127.0.0.1:1/v3"}
        self.too_small = {"cinder_volume_type": "nowhere"}
        self.foreign = (f"cinder://elsewhere/{uuid.uuid4()}",)
        return f"[DEFAULT]\nenabled_backends = it:cinder\n{cloud.section('it', cinder_use_multipath=self.multipath)}\n"


@only(CORE)
class TestOnePath(OnIscsi):
    """A device is one of the kernel's own."""


@only(OVER_PATHS)
class TestSeveralPaths(OnIscsi):
    """A device is a map of two."""

    multipath = True
