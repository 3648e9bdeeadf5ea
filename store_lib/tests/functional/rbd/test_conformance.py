"""The rbd store does what every store does."""

import pytest

from store_lib.conformance import Conformance


class TestRbd(Conformance):
    """With a second store in another pool of the same cluster."""

    keep_stores = True
    other_id = "other"
    options = ""

    @pytest.fixture(scope="class")
    @classmethod
    def pools(cls, cluster):
        """Return the names of two pools."""
        with cluster.pool() as one, cluster.pool() as two:
            yield one, two

    @pytest.fixture
    def store_config(self, cluster, pools, tmp_path):
        """Return the configuration of two stores."""
        nowhere = tmp_path / "nowhere.conf"
        nowhere.write_text("[global]\nmon host = [v2:127.0.0.1:1,v1:127.0.0.1:2]\n")
        self.unreachable = {"rbd_store_ceph_conf": nowhere, "rados_connect_timeout": 1}
        fsid = cluster.fsid
        self.foreign = (f"rbd://{fsid}/elsewhere/x/snap", f"rbd://{fsid[::-1]}/{pools[0]}/x/snap")
        sections = [cluster.section(name, pool) for name, pool in zip(("it", "other"), pools, strict=True)]
        return "\n".join(["[DEFAULT]", "enabled_backends = it:rbd, other:rbd", *sections])
