"""What every store does, on volumes that are devices of this host."""

import uuid

import pytest

from store_lib.conformance import Conformance

#: Numbers of the behaviours in which it matters that a volume is a device: bytes, sizes, holes, deleting, leftovers,
#: what is interrupted, threads, processes, room.
OF_DEVICES = {24, 33, 44, 45, 62, 70, 71, 85, 87, 91, 93, 95, 100, 105, 110, 111}
#: Those of them in which it matters that a device has several paths, which come and go.
OF_PATHS = {24, 33, 71, 91, 95, 111}


class OnDevices(Conformance):
    """Volumes that are devices here."""

    keep_stores = True
    multipath = False
    too_small = {"cinder_volume_type": "nowhere"}  # noqa: RUF012
    unreachable = {"cinder_endpoint_template": "http://127.0.0.1:1/v3"}  # noqa: RUF012
    foreign = (f"cinder://elsewhere/{uuid.uuid4()}",)

    @pytest.fixture(autouse=True)
    def _nothing_stays(self, protocol):
        """Fail a test that leaves a device, a map or a connection on this host."""
        yield
        protocol.nothing_left()

    def config(self, request, servers):
        """Return the configuration of a store."""
        if self.multipath:
            request.getfixturevalue("several_paths")
        return (
            f"[DEFAULT]\nenabled_backends = it:cinder\n{servers.section('it', cinder_use_multipath=self.multipath)}\n"
        )


class WithoutCinder(OnDevices):
    """Volumes of the kernel's target."""

    @pytest.fixture
    def store_config(self, request, stand_in):
        """Return the configuration of a store."""
        return self.config(request, stand_in)
