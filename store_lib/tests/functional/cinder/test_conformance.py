"""The cinder store does what every store does, whatever the protocol of its volumes."""

import uuid

import pytest

from store_lib.conformance import Conformance


class OnCinder(Conformance):
    """With a second store on another backend of the same Cinder."""

    keep_stores = True
    other_id = "other"
    #: Volume types of the two stores.
    types = ("rbd1", "rbd2")

    @pytest.fixture
    def store_config(self, cloud):
        """Return the configuration of two stores."""
        self.unreachable = {"cinder_endpoint_template": "http://127.0.0.1:1/v3"}
        self.too_small = {"cinder_volume_type": "nowhere"}
        self.foreign = (f"cinder://elsewhere/{uuid.uuid4()}",)
        lines = ["[DEFAULT]", "enabled_backends = it:cinder, other:cinder"]
        for name, kind in zip(("it", "other"), self.types, strict=True):
            lines += [f"[{name}]", *(f"{option} = {value}" for option, value in cloud.options(kind).items())]
        return "\n".join(lines)


class TestRbd(OnCinder):
    """Volumes in Ceph."""
