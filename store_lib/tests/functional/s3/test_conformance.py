"""The S3 store does what every store does, on three servers."""

import contextlib

import pytest

from store_lib.conformance import Conformance
from store_lib.tests.functional.s3.conftest import parts_of_kib


class SmallParts:
    """With parts of some KiB."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def small_parts(cls):
        """Have the driver send such parts."""
        with parts_of_kib():
            yield


class OnServer(Conformance):
    """With a second store in another bucket of the same server."""

    keep_stores = True
    other_id = "other"
    options = ""

    def configure(self, server, views):
        """Return the configuration of two stores, and tell the suite about them."""
        one, two = views
        scheme = "s3+https" if server.endpoint.startswith("https:") else "s3"
        self.unreachable = {"s3_store_host": "https://127.0.0.1:1", "connect_timeout": 1}
        self.foreign = (f"{scheme}://{server.host}/elsewhere/x", f"{scheme}://s3.example.org/{one.name}/x")
        self.vanish = lambda place: one.away()
        sections = [server.section(name, view.name) for name, view in (("it", one), ("other", two))]
        lines = ["[DEFAULT]", "enabled_backends = it:s3, other:s3", "[backend_defaults]", self.options, *sections]
        return "\n".join(lines)


def two_buckets(server):
    """Yield the views of two buckets."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(server.bucket()) for _ in range(2)]


class TestGateway(SmallParts, OnServer):
    """Ceph's gateway over TLS."""

    options = "s3_store_server = ceph-rgw"

    @pytest.fixture(scope="class")
    @classmethod
    def views(cls, rgw):
        """Return two buckets."""
        yield from two_buckets(rgw)

    @pytest.fixture
    def store_config(self, rgw, views):
        """Return the configuration of two stores."""
        return self.configure(rgw, views)


class TestMoto(SmallParts, OnServer):
    """moto, which checks neither keys nor digests."""

    @pytest.fixture(scope="class")
    @classmethod
    def views(cls, moto):
        """Return two buckets."""
        yield from two_buckets(moto)

    @pytest.fixture
    def store_config(self, moto, views):
        """Return the configuration of two stores."""
        return self.configure(moto, views)


class TestSwift(SmallParts, OnServer):
    """Swift's s3api, where two writers of one image are not told apart."""

    options = "s3_store_server = s3api"

    @pytest.fixture(scope="class")
    @classmethod
    def views(cls, s3api):
        """Return two buckets."""
        yield from two_buckets(s3api)

    @pytest.fixture
    def store_config(self, s3api, views):
        """Return the configuration of two stores."""
        return self.configure(s3api, views)
