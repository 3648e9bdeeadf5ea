"""The S3 gateway that the cases speak to, and the clients that store_lib is compared with on it.

glance_store computes the digests that it is asked for; boto3, obstore and rclone compute none of the whole image, so
theirs is the speed of the transport.  Each is used in the fastest way that it has, with parts of 8 MiB, eight at once.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import MIB
from benchmarks.sides import Ours, Peer, side

__all__ = ["BUCKET", "PLAIN", "Gateway"]

TOP = Path(__file__).resolve().parent.parent
SERVICE = TOP / ".services/rgw"
BUCKET = "bench"
_PART, _WAYS = 8 * MIB, 8


class Gateway:
    """Ceph's gateway over TLS as one run speaks to it; started in .services/rgw, where it stays.

    :param rate: bytes a second on each connection, None for no limit.
    """

    def __init__(self, rate: int | None = None) -> None:
        from store_lib.tests.relay import Relay

        subprocess.run([TOP / "tools/services/rgw", "start", SERVICE], check=True, stdout=subprocess.DEVNULL)
        self.env = dict(line.split("=", 1) for line in (SERVICE / "env").read_text().splitlines())
        self._relay = None
        self.endpoint = self.env["S3_TLS_ENDPOINT"]
        if rate is not None:
            self._relay = Relay(int(self.endpoint.rpartition(":")[2]), rate=rate)  # TLS passes through
            self.endpoint = f"https://127.0.0.1:{self._relay.port}"
        self.make_bucket(BUCKET)

    def make_bucket(self, name: str) -> None:
        """Make a bucket, unless it is there already."""
        with contextlib.suppress(Exception):
            self.client().create_bucket(Bucket=name)

    @property
    def client_options(self) -> dict[str, Any]:
        """Options of a client of the SDK."""
        from botocore.config import Config

        return {
            "endpoint_url": self.endpoint,
            "region_name": "us-east-1",
            "verify": self.env["S3_CA"],
            "aws_access_key_id": self.env["S3_ACCESS_KEY"],
            "aws_secret_access_key": self.env["S3_SECRET_KEY"],
            "config": Config(
                s3={"addressing_style": "path", "payload_signing_enabled": False},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                max_pool_connections=20,
            ),
        }

    def client(self) -> Any:
        """Return a client of the SDK."""
        import boto3

        return boto3.client("s3", **self.client_options)

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

    def side(self, name: str, **options: str) -> Ours | Peer | Plain:
        """Return one side, with further options where it has a store."""
        if name in PLAIN:
            return PLAIN[name](self)
        return side(name)(
            {
                "DEFAULT": {"enabled_backends": "one:s3"},
                "glance_store": {"default_backend": "one"},
                "one": self.section() | options,
            }
        )

    def close(self) -> None:
        """End the relay, and have the gateway give back what was deleted, which it would keep for two hours.

        Else a few cases fill the cluster, and a full one answers nobody.
        """
        if self._relay is not None:
            self._relay.close()
        collect = ["radosgw-admin", "-c", self.env["CEPH_CONF"], "gc", "process", "--include-all"]
        subprocess.run(collect, check=True, capture_output=True, timeout=300)


class Plain:
    """A client that computes no digests.  Its locations are keys."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.client = gateway.client()

    def add(self, image_id: str, source: Any, size: int | None, digests: list[str]) -> str:
        """Store an image; return its key."""
        self._put(image_id, source if size is not None else _Stream(source))
        return image_id

    def get(self, uri: str) -> int:
        """Read an image; return how many bytes came."""
        size = int(self.client.head_object(Bucket=BUCKET, Key=uri)["ContentLength"])
        self._get(uri, size)
        return size

    def delete(self, uri: str) -> None:
        """Delete an image."""
        self.client.delete_object(Bucket=BUCKET, Key=uri)

    @property
    def memory(self) -> float | None:
        """Peak in MiB of a command that does the work, None when this process does."""
        return None

    def _put(self, key: str, source: Any) -> None:
        raise NotImplementedError

    def _get(self, key: str, size: int) -> None:
        raise NotImplementedError


class _Stream(io.RawIOBase):
    """A file that tells neither its size nor its name, as a request's body does."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Boto(Plain):
    """boto3's own transfers."""

    def __init__(self, gateway: Gateway) -> None:
        from boto3.s3.transfer import TransferConfig

        super().__init__(gateway)
        self._config = TransferConfig(multipart_chunksize=_PART, max_concurrency=_WAYS)

    def _put(self, key: str, source: Any) -> None:
        self.client.upload_fileobj(source, BUCKET, key, Config=self._config)

    def _get(self, key: str, size: int) -> None:
        with open(os.devnull, "wb") as file:
            self.client.download_fileobj(BUCKET, key, file, Config=self._config)


class Crt(Plain):
    """boto3's transfers by its common runtime, which is written in C."""

    def __init__(self, gateway: Gateway) -> None:
        import botocore.session
        from s3transfer import crt

        super().__init__(gateway)
        options = {name: value for name, value in gateway.client_options.items() if not name.startswith("aws_")}
        session = botocore.session.Session()
        session.set_credentials(gateway.env["S3_ACCESS_KEY"], gateway.env["S3_SECRET_KEY"])
        keys = crt.BotocoreCRTCredentialsWrapper(session.get_credentials()).to_crt_credentials_provider()
        made = crt.create_s3_crt_client("us-east-1", keys, part_size=_PART, verify=gateway.env["S3_CA"])
        serializer = crt.BotocoreCRTRequestSerializer(session, options)
        self._manager = crt.CRTTransferManager(_NoTrailers(made), serializer)

    def _put(self, key: str, source: Any) -> None:
        self._manager.upload(source, BUCKET, key).result()

    def _get(self, key: str, size: int) -> None:
        with open(os.devnull, "wb") as file:
            self._manager.download(BUCKET, key, file).result()


class _NoTrailers:
    """A client of the runtime without the checksums that it appends to bodies: Ceph 16.2 refuses them."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def make_request(self, **how: Any) -> Any:
        how.pop("checksum_config", None)
        return self._client.make_request(**how)


class Obstore(Plain):
    """obstore, a client written in Rust."""

    def __init__(self, gateway: Gateway) -> None:
        from obstore.store import S3Store

        super().__init__(gateway)
        self._store = S3Store(
            BUCKET,
            endpoint=gateway.endpoint,
            region="us-east-1",
            access_key_id=gateway.env["S3_ACCESS_KEY"],
            secret_access_key=gateway.env["S3_SECRET_KEY"],
            unsigned_payload=True,
            client_options={"root_certificate": Path(gateway.env["S3_CA"]).read_bytes()},
        )

    def _put(self, key: str, source: Any) -> None:
        import obstore

        file = iter(lambda: source.read(MIB), b"") if isinstance(source, _Stream) else source
        obstore.put(self._store, key, file, chunk_size=_PART, max_concurrency=_WAYS)

    def _get(self, key: str, size: int) -> None:
        import obstore

        def fetch(start: int) -> Any:
            return obstore.get_range(self._store, key, start=start, end=min(start + _PART, size))

        with concurrent.futures.ThreadPoolExecutor(_WAYS) as pool, open(os.devnull, "wb") as file:
            for each in pool.map(fetch, range(0, size, _PART)):
                file.write(each)


class Rclone(Plain):
    """The command rclone, which computes the MD5 of each part; it reads from files and pipes and writes to files."""

    def _run(self, *words: str, **how: Any) -> None:
        env = {
            "RCLONE_S3_PROVIDER": "Ceph",
            "RCLONE_S3_ENDPOINT": self.gateway.endpoint,
            "RCLONE_S3_ACCESS_KEY_ID": self.gateway.env["S3_ACCESS_KEY"],
            "RCLONE_S3_SECRET_ACCESS_KEY": self.gateway.env["S3_SECRET_KEY"],
            "RCLONE_S3_FORCE_PATH_STYLE": "true",
            "RCLONE_S3_UPLOAD_CONCURRENCY": str(_WAYS),
            "RCLONE_S3_CHUNK_SIZE": "8M",
            "RCLONE_S3_UPLOAD_CUTOFF": "8M",
            "RCLONE_S3_DISABLE_CHECKSUM": "true",  # of the whole
            "RCLONE_S3_NO_CHECK_BUCKET": "true",
            "RCLONE_CA_CERT": self.gateway.env["S3_CA"],
            "RCLONE_IGNORE_CHECKSUM": "true",
            "RCLONE_MULTI_THREAD_CUTOFF": "8M",
            "RCLONE_MULTI_THREAD_STREAMS": str(_WAYS),
            "RCLONE_CONFIG": "",
        }
        env |= {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        subprocess.run(["rclone", *words], check=True, env=env, **how)

    def _put(self, key: str, source: Any) -> None:
        target = f":s3:{BUCKET}/{key}"
        if isinstance(source, io.BufferedReader):  # a file on tmpfs
            self._run("copyto", "--ignore-times", source.name, target)
        elif isinstance(source, _Stream) and isinstance(source._file, io.BufferedReader):
            self._run("rcat", target, stdin=source._file)
        else:
            self._run("rcat", target, input=source.read())

    def _get(self, key: str, size: int) -> None:
        target = Path("/dev/shm" if os.path.isdir("/dev/shm") else ".") / f"store_lib-rclone-{os.getpid()}"
        try:
            self._run("copyto", f":s3:{BUCKET}/{key}", str(target))
        finally:
            target.unlink(missing_ok=True)

    @property
    def memory(self) -> float | None:
        """Peak of the command."""
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


#: Sides that compute no digests of the image, by name.
PLAIN: dict[str, Callable[[Gateway], Plain]] = {"boto3": Boto, "boto3 + CRT": Crt, "obstore": Obstore, "rclone": Rclone}
