"""What every store does, on volumes that are devices of this host."""

import uuid

import pytest

from store_lib.conformance import Conformance


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
