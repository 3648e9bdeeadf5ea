"""Servers of their own for these tests: Ceph's gateway over TLS, moto, and Swift's s3api.

What each of them does not show:

* Ceph 16.2 ignores ``If-None-Match`` on completion, and on PUT as well in a bucket that keeps versions; ``AES256``; the
  region; checksums that are appended to a body it refuses.  It was told to take parts of 64 KiB.
* moto checks neither keys, signatures, clocks nor digests, and works on one request after another; it takes parts of
  64 KiB, too.
* s3api looks at conditions, but two writers at one moment both pass; it knows neither encryption nor roles, and tells
  nothing of usage.
"""

import contextlib
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import tempfile
import uuid

import pytest

from store_lib.tests import support
from store_lib.tests.relay import Relay

TOP = pathlib.Path(__file__).resolve().parents[4]


def pytest_collection_modifyitems(items):
    """Mark the tests of this folder."""
    for item in items:
        if pathlib.Path(__file__).parent in item.path.parents:
            item.add_marker("functional")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))  # the first one of a server starts it


class Server:
    """One S3 server and an administrator's view of it.

    :param endpoint: URL.
    :param keys: access key and secret key.
    :param ca: file of the authority that signed the server's certificate.
    """

    def __init__(self, kind, endpoint, keys, ca=None):
        self.kind = kind
        self.endpoint = endpoint
        self.keys = keys
        self.ca = ca
        self.client = self.connect(*keys)

    def connect(self, access, secret):
        """Return a client of the SDK."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            verify=str(self.ca) if self.ca else None,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    @property
    def port(self):
        """The port that it listens on."""
        return int(self.endpoint.rpartition(":")[2])

    @property
    def host(self):
        """Host and port, as they stand in locations."""
        return self.endpoint.partition("://")[2]

    def section(self, name, bucket, **options):
        """Return the section of a store in `bucket`; None as a value leaves an option out."""
        usual = {
            "s3_store_host": self.endpoint,
            "s3_store_cacert": self.ca,
            "s3_store_access_key": self.keys[0],
            "s3_store_secret_key": self.keys[1],
            "s3_store_bucket": bucket,
            "s3_store_bucket_url_format": "path",
        }
        values = {**usual, **options}
        lines = [f"{option} = {value}" for option, value in values.items() if value is not None]
        return "\n".join([f"[{name}]", *lines, ""])

    @contextlib.contextmanager
    def bucket(self, name=None):
        """Yield the view of a new bucket, which is removed with all in it."""
        view = Bucket(self.client, name or f"b-{uuid.uuid4().hex[:12]}")
        view.make()
        try:
            yield view
        finally:
            view.remove()

    def close(self):
        """Close the administrator's connections."""
        self.client.close()


class Bucket:
    """What is in a bucket, by the SDK."""

    def __init__(self, client, name):
        self.client = client
        self.name = name

    def make(self):
        """Make it."""
        self.client.create_bucket(Bucket=self.name)

    def keys(self, prefix=""):
        """Return the keys of all objects, hidden ones included."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def uploads(self):
        """Return ``(key, id)`` of the multipart uploads that were not completed."""
        pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name)
        return [(each["Key"], each["UploadId"]) for page in pages for each in page.get("Uploads", ())]

    def head(self, key):
        """Return what HEAD tells of an object."""
        return self.client.head_object(Bucket=self.name, Key=key)

    def content(self, key):
        """Return the bytes of an object."""
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def put(self, key, data=b"", **more):
        """Put an object there."""
        return self.client.put_object(Bucket=self.name, Key=key, Body=data, **more)

    def remove(self):
        """Remove it and everything in it; nothing happens when it is not there."""
        try:
            for key, upload in self.uploads():
                self.client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload)
            for key in self.keys():
                self.client.delete_object(Bucket=self.name, Key=key)
            self.client.delete_bucket(Bucket=self.name)
        except self.client.exceptions.NoSuchBucket:
            pass

    @contextlib.contextmanager
    def away(self):
        """Have the bucket not be there for the time of ``with``."""
        kept = {key: (self.content(key), self.head(key)["Metadata"]) for key in self.keys()}
        self.remove()
        try:
            yield
        finally:
            self.make()
            for key, (data, metadata) in kept.items():
                self.put(key, data, Metadata=metadata)


class Gateway(Server):
    """Ceph's gateway."""

    def __init__(self, folder):
        self.folder = folder
        self.start()
        self.env = env = environment(folder)
        super().__init__("ceph-rgw", env["S3_TLS_ENDPOINT"], (env["S3_ACCESS_KEY"], env["S3_SECRET_KEY"]), env["S3_CA"])
        self.plain_port = int(env["S3_ENDPOINT"].rpartition(":")[2])
        self.other_keys = env["S3_OTHER_ACCESS_KEY"], env["S3_OTHER_SECRET_KEY"]

    def start(self):
        """Start what does not run."""
        run("rgw", self.folder)

    @property
    def pid(self):
        """Its process."""
        return int(pathlib.Path(self.env["RGW_PIDFILE"]).read_text())

    def end(self):
        """End it in the middle of what it does.

        By SIGKILL it would not look different from here, but its successor would wait for it for half a minute.
        """
        os.kill(self.pid, signal.SIGTERM)
        support.until(lambda: not listening(self.port), 60)

    def admin(self, *words):
        """Run ``radosgw-admin`` with `words`."""
        command = ["radosgw-admin", "-c", self.env["CEPH_CONF"], *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)

    def relay(self, **how):
        """Return a relay in front of it that speaks TLS, to it plain HTTP, so that it sees the requests."""
        return Relay(self.plain_port, cert=self.env["S3_CERT"], key=self.env["S3_KEY"], http=True, **how)


def listening(port):
    """Return whether something listens on a port."""
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return True
    except OSError:
        return False


def environment(folder):
    """Return what a service says of itself."""
    return dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines() if "=" in line)


def run(service, folder, *names, verb="start"):
    """Run the script of a service."""
    subprocess.run(
        [TOP / "tools/services" / service, verb, folder, *names], check=True, stdout=subprocess.DEVNULL, timeout=600
    )


@contextlib.contextmanager
def provided(service, *names):
    """Start a service in a folder of its own and yield that; with STORE_LIB_SERVICES set, in there, and let it run."""
    kept = os.environ.get("STORE_LIB_SERVICES")
    folder = pathlib.Path(kept, service) if kept else pathlib.Path(tempfile.mkdtemp(prefix=f"store_lib-{service}-"))
    try:
        run(service, folder, *names)
        yield folder
    finally:
        if not kept:
            run(service, folder, verb="stop")
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def rgw():
    """Return Ceph's gateway, spoken to over TLS."""
    with provided("rgw") as folder:
        gateway = Gateway(folder)
        yield gateway
        gateway.close()


@pytest.fixture(scope="session")
def moto():
    """Return a moto server."""
    with provided("moto") as folder:
        env = environment(folder)
        server = Server("moto", env["S3_ENDPOINT"], (env["S3_ACCESS_KEY"], env["S3_SECRET_KEY"]))
        yield server
        server.close()


@pytest.fixture(scope="session")
def s3api():
    """Return a Swift with s3api and users of its own."""
    with provided("swift", "temp") as folder:
        env = environment(folder)
        url = shlex.split(env["TEMP_URL"])[0]
        server = Server("s3api", url, ("test:tester", "testing"))
        yield server
        server.close()


#: What sizes are counted in here; a part has five.
UNIT = 32 * support.KIB
#: More than goes in one request of a store as made here: three parts.
LARGE = 11 * UNIT
#: Small parts, and a request is sent once only, so that failing is quick.
USUAL = {
    "part_size": 5 * UNIT,
    "retry_attempts": 1,
    "probe_interval": 0,
    "probe_timeout": 60,  # the machine may be busy
    "operation_timeout": 30,
}


@pytest.fixture
def bucket(rgw):
    """Return the view of a bucket that only this test has."""
    if not listening(rgw.port):  # a test that ends it failed half-way
        rgw.start()
    with rgw.bucket() as view:
        yield view


@contextlib.contextmanager
def parts_of_kib():
    """Have the driver send parts much smaller than S3 has them, which the servers here take: less to move."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("store_lib.drivers.s3._MIN_PART", 64 * support.KIB)
        patch.setattr("store_lib.drivers.s3._PART", 128 * support.KIB)
        yield


@pytest.fixture
def small_parts():
    """Send small parts during a test."""
    with parts_of_kib():
        yield


@pytest.fixture
def make_store(make_stores, rgw, bucket, small_parts):
    """Return a function that makes a store in the test's bucket; its keyword arguments are options."""

    def make(name="it", **options):
        options = {**USUAL, **options}
        section = rgw.section(name, options.pop("s3_store_bucket", bucket.name), **options)
        return make_stores(f"[DEFAULT]\nenabled_backends = {name}:s3\n{section}")[name]

    return make


@pytest.fixture
def store(make_store):
    """Return a store in the test's bucket."""
    return make_store()
