"""The S3 store on Ceph's gateway over TLS, which `tools/services/rgw` starts in .services/rgw and which stays there.

``bare`` is loopback, where two processors are the limit; ``30 MiB/s`` is a relay that lets no connection go faster.
Of boto3, whose own transfers compute no digest, the fastest way is taken: eight parts of 8 MiB at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Target
from benchmarks.file_cases import made_input
from benchmarks.measure import MIB, RandomStream, Result, measured
from benchmarks.sides import Ours, Peer, configured, side

__all__ = ["CASES"]

GIB = 1024 * MIB
TOP = Path(__file__).resolve().parent.parent
SERVICE = TOP / ".services/rgw"
BUCKET = "bench"
_BOTH = ["md5", "sha512"]
_THROTTLED = 30 * MIB


def _environment() -> dict[str, str]:
    """Start the gateway if it does not run, and return what it says of itself."""
    subprocess.run([TOP / "tools/services/rgw", "start", SERVICE], check=True, stdout=subprocess.DEVNULL)
    return dict(line.split("=", 1) for line in (SERVICE / "env").read_text().splitlines())


class Gateway:
    """The gateway as one run speaks to it.

    :param rate: bytes a second on each connection, None for no limit.
    """

    def __init__(self, rate: int | None) -> None:
        from store_lib.tests.relay import Relay

        self.env = _environment()
        self._relay = None
        self.endpoint = self.env["S3_TLS_ENDPOINT"]
        if rate is not None:
            self._relay = Relay(int(self.endpoint.rpartition(":")[2]), rate=rate)  # TLS passes through
            self.endpoint = f"https://127.0.0.1:{self._relay.port}"
        with contextlib.suppress(Exception):  # it is there already
            self.client().create_bucket(Bucket=BUCKET)

    def client(self) -> Any:
        """Return a client of the SDK."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            verify=self.env["S3_CA"],
            aws_access_key_id=self.env["S3_ACCESS_KEY"],
            aws_secret_access_key=self.env["S3_SECRET_KEY"],
            config=Config(
                s3={"addressing_style": "path", "payload_signing_enabled": False},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                max_pool_connections=20,
            ),
        )

    def section(self, bucket: str = BUCKET) -> dict[str, str]:
        """Return the section of a store."""
        return {
            "s3_store_host": self.endpoint,
            "s3_store_cacert": self.env["S3_CA"],
            "s3_store_access_key": self.env["S3_ACCESS_KEY"],
            "s3_store_secret_key": self.env["S3_SECRET_KEY"],
            "s3_store_bucket": bucket,
            "s3_store_bucket_url_format": "path",
        }

    def stores(self, name: str) -> Ours | Peer | Boto:
        """Return one side."""
        if name == "boto3":
            return Boto(self.client())
        return side(name)(
            {
                "DEFAULT": {"enabled_backends": "one:s3"},
                "glance_store": {"default_backend": "one"},
                "one": self.section(),
            }
        )

    def close(self) -> None:
        """End the relay."""
        if self._relay is not None:
            self._relay.close()


class Boto:
    """boto3's own transfers; no digests."""

    def __init__(self, client: Any) -> None:
        from boto3.s3.transfer import TransferConfig

        self._client = client
        self._config = TransferConfig(multipart_chunksize=8 * MIB, max_concurrency=8)

    def add(self, image_id: str, source: Any, size: int | None, digests: list[str]) -> str:
        """Store an image; return its key."""
        self._client.upload_fileobj(source, BUCKET, image_id, Config=self._config)
        return image_id

    def get(self, uri: str) -> int:
        """Read an image; return how many bytes came."""
        with open(os.devnull, "wb") as file:
            self._client.download_fileobj(BUCKET, uri, file, Config=self._config)
        return int(self._client.head_object(Bucket=BUCKET, Key=uri)["ContentLength"])

    def delete(self, uri: str) -> None:
        """Delete an image."""
        self._client.delete_object(Bucket=BUCKET, Key=uri)


@contextlib.contextmanager
def _side(name: str, rate: int | None = None) -> Iterator[Any]:
    gateway = Gateway(rate)
    try:
        yield gateway.stores(name)
    finally:
        gateway.close()


def _add(digests: list[str], known: bool, rate: int | None = None, size: int = GIB) -> Callable[[str, Path], Result]:
    def run(name: str, folder: Path) -> Result:
        path = made_input(folder, size)
        with _side(name, rate) as stores:
            stores.delete(stores.add("warm", io.BytesIO(b"x"), 1, digests))
            uris: list[str] = []

            def work() -> int:
                with open(path, "rb") as file:
                    uris.append(stores.add("image", file, size if known else None, digests))
                return size

            result = measured(work)
            stores.delete(uris[0])
            return result

    return run


def _get(rate: int | None = None, size: int = GIB) -> Callable[[str, Path], Result]:
    def run(name: str, folder: Path) -> Result:
        with _side("boto3") as filler, open(made_input(folder, size), "rb") as file:
            filler.add("image", file, size, [])
        with _side(name, rate) as stores:
            uri = stores.add("warm", io.BytesIO(b"x"), 1, ["sha512"])
            result = measured(lambda: stores.get(uri.removesuffix("warm") + "image"))
            assert result.size == size
            for image_id in ("warm", "image"):
                stores.delete(uri.removesuffix("warm") + image_id)
            return result

    return run


def _small_add(name: str, folder: Path) -> Result:
    """Return the mean of adds of 64 KiB, known size."""
    data, count = os.urandom(64 * 1024), 30
    with _side(name) as stores:
        uris = [stores.add("warm", io.BytesIO(b"x"), 1, _BOTH)]

        def work() -> int:
            uris.extend(stores.add(f"image-{number}", io.BytesIO(data), len(data), _BOTH) for number in range(count))
            return 0

        result = measured(work)
        for uri in uris:
            stores.delete(uri)
        return Result(result.seconds / count, 0, result.memory)


def _slow_server(name: str, folder: Path, size: int = GIB) -> Result:
    """Add from a fast source to a server that takes 25 MiB/s over ten connections: the peak of memory counts."""
    with _side(name, 25 * MIB // 10) as stores:
        stores.delete(stores.add("warm", io.BytesIO(b"x"), 1, _BOTH))
        uris: list[str] = []

        def work() -> int:
            uris.append(stores.add("image", RandomStream(size), size, _BOTH))
            return size

        result = measured(work)
        stores.delete(uris[0])
        return result


def _copy(name: str, folder: Path, size: int = GIB) -> Result:
    """Copy into another bucket of the same server: inside it, or by the bytes."""
    from oslo_config import cfg

    from store_lib import Stores

    gateway = Gateway(None)
    with contextlib.suppress(Exception):  # it is there already
        gateway.client().create_bucket(Bucket=f"{BUCKET}-2")
    by_bytes = {"disabled_features": "copy"} if name == "streamed" else {}
    sections = {
        "DEFAULT": {"enabled_backends": "one:s3, two:s3"},
        "glance_store": {"default_backend": "one"},
        "one": gateway.section() | by_bytes,
        "two": gateway.section(f"{BUCKET}-2") | by_bytes,
    }
    with Stores.from_config(configured(cfg.ConfigOpts(), sections)) as stores:
        with open(made_input(folder, size), "rb") as file:
            location = stores["one"].add("image", file, size, digests=["md5"]).location
        copied = []

        def work() -> int:
            copied.append(stores.copy(location, "two"))
            return size

        result = measured(work)
        stores["two"].delete(copied[0].location)
        stores["one"].delete(location)
        return result


CASES = [
    Case("s3-add-1g", "add 1 GiB to S3, bare", _add(_BOTH, True), ["boto3"], [Target("throughput", 1.3)], rounds=3),
    Case(
        "s3-add-1g-slow",
        "add 1 GiB to S3, 30 MiB/s a connection",
        _add(_BOTH, True, _THROTTLED),
        ["boto3"],
        [Target("throughput", 1.0)],
        rounds=3,
    ),
    Case(
        "s3-add-1g-unknown", "add 1 GiB to S3, size not known", _add(_BOTH, False), [], [Target("throughput", 3.0)], 3
    ),
    Case(
        "s3-add-1g-unknown-slow",
        "add 1 GiB to S3, size not known, 30 MiB/s a connection",
        _add(_BOTH, False, _THROTTLED),
        [],
        [Target("throughput", 3.0)],
        rounds=3,
    ),
    Case(
        "s3-add-1g-bare-digests",
        "add 1 GiB to S3 without digests",
        _add([], True),
        ["boto3"],
        [Target("throughput", 0.9, "boto3")],
        rounds=3,
        peer=False,
    ),
    Case("s3-get-1g", "read 1 GiB from S3, bare", _get(), ["boto3"], [Target("throughput", 1.3)], rounds=3),
    Case(
        "s3-get-1g-slow",
        "read 1 GiB from S3, 30 MiB/s a connection",
        _get(_THROTTLED),
        ["boto3"],
        [Target("throughput", 3.0)],
        rounds=3,
    ),
    Case("s3-add-64k", "add 64 KiB to S3", _small_add, [], [Target("latency", 2.0)], rounds=3),
    Case("s3-add-1g-memory", "add 1 GiB to a slow S3", _slow_server, [], [Target("memory", 150)], rounds=1),
    Case(
        "s3-copy-1g",
        "copy 1 GiB between two buckets of a server",
        _copy,
        ["streamed"],
        [Target("throughput", 3.0, "streamed")],
        rounds=3,
        peer=False,
    ),
]
