"""The cinder store does what every store does, whatever the protocol of its volumes.

Each image is a volume that Cinder makes, exports and deletes, which takes it two seconds of a processor: what most
depends on that is tested every day, all of it in the long run.
"""

import uuid

import pytest

from store_lib.conformance import Conformance

#: Numbers of the behaviours that are tested every day on Ceph: where the driver, not the engine, makes the difference,
#: and the other tests of this folder do not show it.
DAILY = {11, 36, 44, 56, 62, 63, 69, 70, 72, 73, 74, 91, 93, 100, 105}
#: Those of them in which it matters that a volume is a file on a mounted share.
DAILY_ON_NFS = {44}


def only(numbers):
    """Return a decorator that leaves a class the tests of these behaviours alone."""

    def chosen(kind):
        for name in dir(Conformance):
            if name.startswith("test_") and int(name.split("_")[1]) not in numbers:
                setattr(kind, name, None)
        return kind

    return chosen


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


@only(DAILY)
class TestRbdDaily(OnCinder):
    """Volumes in Ceph."""


@only(DAILY_ON_NFS)
class TestNfsDaily(OnCinder):
    """Files on NFS."""

    types = ("nfs1", "nfs2")


@pytest.mark.long
class TestRbd(OnCinder):
    """Volumes in Ceph."""


@pytest.mark.long
class TestNfs(OnCinder):
    """Files on NFS."""

    types = ("nfs1", "nfs2")
