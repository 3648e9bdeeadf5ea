"""The swift store on a Swift with Keystone, which `tools/services/swift` starts in .services/swift-bench.

It stays there, with two processes of each server.  ``bare`` is loopback, where two processors are the limit;
``30 MiB/s`` is a relay that lets no connection go faster.  The ``swift`` command computes no digest of an image, so
none is asked for beside it.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Target
from benchmarks.file_cases import made_input
from benchmarks.measure import GIB, MIB, RandomStream, Result, measured
from benchmarks.sides import Ours, Peer, side

__all__ = ["CASES"]

TOP = Path(__file__).resolve().parent.parent
SERVICE = TOP / ".services/swift-bench"
CONTAINER = "bench"
COMMAND = "swift command"
ONE_BY_ONE = "one by one"
_BOTH = ["md5", "sha512"]
_THROTTLED = 30 * MIB
_SEGMENTS = 1000


def _environment() -> dict[str, str]:
    """Start the servers if they do not run, and return what they say of themselves."""
    workers = {"STORE_LIB_SWIFT_WORKERS": "2"}
    tool = TOP / "tools/services/swift"
    subprocess.run([tool, "start", SERVICE], check=True, stdout=subprocess.DEVNULL, env={**os.environ, **workers})
    lines = (SERVICE / "env").read_text().splitlines()
    return {name: shlex.split(value)[0] for name, _, value in (line.partition("=") for line in lines)}


class Cloud:
    """The servers as one run speaks to them.

    :param rate: bytes a second on each connection, None for no limit.
    :param delay: seconds that each request to Swift waits.
    """

    def __init__(self, rate: int | None, delay: float = 0) -> None:
        from store_lib.tests.relay import Relay

        self.env = _environment()
        self._relay: Any = None
        self._port = self.env["PROXY_PORT"]
        if rate is not None or delay:
            relay: Any = Relay
            self._relay = relay(int(self._port), rate=rate, delay=delay, http=bool(delay))
            self._port = self._relay.port
        self.client().put_container(CONTAINER)

    @property
    def url(self) -> str:
        """The storage URL."""
        return f"http://127.0.0.1:{self._port}/v1/AUTH_{self.env['USER_GLANCE_PROJECT_ID']}"

    def client(self) -> Any:
        """Return a client of Swift's own library."""
        from swiftclient.client import Connection

        options = {"project_name": "service", "user_domain_id": "default", "project_domain_id": "default"}
        return Connection(
            f"{self.env['KEYSTONE_URL']}/v3",
            "glance",
            "glance-pw",
            auth_version="3",
            os_options={**options, "object_storage_url": self.url},
        )

    def section(self) -> dict[str, str]:
        """Return the section of a store."""
        return {
            "swift_store_auth_version": "3",
            "swift_store_auth_address": f"{self.env['KEYSTONE_URL']}/v3",
            "swift_store_user": "service:glance",
            "swift_store_key": "glance-pw",
            "swift_store_endpoint": self.url,
            "swift_store_container": CONTAINER,
            "swift_store_create_container_on_put": "true",
            "probe_timeout": "60",
        }

    def stores(self, name: str) -> Ours | Peer | Command:
        """Return one side."""
        if name == COMMAND:
            return Command(self)
        return side(name)(
            {
                "DEFAULT": {"enabled_backends": "one:swift"},
                "glance_store": {"default_backend": "one"},
                "one": self.section(),
            }
        )

    def close(self) -> None:
        """End the relay."""
        if self._relay is not None:
            self._relay.close()


class Command:
    """The command of python-swiftclient, in segments of 64 MiB, ten at once; no digest of the whole."""

    def __init__(self, cloud: Cloud) -> None:
        told = {
            "OS_AUTH_URL": f"{cloud.env['KEYSTONE_URL']}/v3",
            "OS_IDENTITY_API_VERSION": "3",
            "OS_USERNAME": "glance",
            "OS_PASSWORD": "glance-pw",
            "OS_PROJECT_NAME": "service",
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_STORAGE_URL": cloud.url,
        }
        self._env = {**os.environ, **told}

    def _run(self, *words: str) -> None:
        command = [str(Path(sys.executable).with_name("swift")), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=self._env)

    def add(self, image_id: str, source: Any, size: int | None, digests: list[str]) -> str:
        """Store a file; return its name."""
        if size is not None and size > 64 * MIB:
            how = ["--use-slo", "--segment-size", str(64 * MIB), "--segment-threads", "10"]
        else:
            how = []
        self._run("upload", CONTAINER, source.name, "--object-name", image_id, *how)
        return image_id

    def get(self, uri: str) -> None:
        """Read an image."""
        self._run("download", CONTAINER, uri.rpartition("/")[2], "--output", os.devnull)

    def delete(self, uri: str) -> None:
        """Delete an image with its segments."""
        self._run("delete", CONTAINER, uri)


@contextlib.contextmanager
def _side(name: str, rate: int | None = None) -> Iterator[tuple[Cloud, Any]]:
    cloud = Cloud(rate)
    try:
        _clear(cloud.client())
        yield cloud, cloud.stores(name)
    finally:
        cloud.close()


def _clear(client: Any) -> None:
    """Remove what a run that failed has left."""
    for container in (CONTAINER, f"{CONTAINER}_segments"):
        with contextlib.suppress(Exception):  # there is none
            for each in client.get_container(container, full_listing=True)[1]:
                client.delete_object(container, each["name"])


def _add(digests: list[str], rate: int | None) -> Callable[[str, Path], Result]:
    def run(name: str, folder: Path) -> Result:
        path = made_input(folder, GIB)
        with _side(name, rate) as (_, stores):
            if not isinstance(stores, Command):
                stores.delete(stores.add("warm", io.BytesIO(b"x"), 1, digests))
            uris: list[str] = []

            def work() -> int:
                with open(path, "rb") as file:
                    uris.append(stores.add("image", file, GIB, digests))
                return GIB

            result = measured(work)
            stores.delete(uris[0])
            return result

    return run


def _get(rate: int | None) -> Callable[[str, Path], Result]:
    def run(name: str, folder: Path) -> Result:
        with _side(name, rate) as (_, stores):
            with _side("store_lib") as (_, filler), open(made_input(folder, GIB), "rb") as file:
                uri = filler.add("image", file, GIB, [])

                def work() -> int:
                    if isinstance(stores, Command):
                        stores.get(uri)
                        return GIB
                    return int(stores.get(uri))

                result = measured(work)
                assert result.size == GIB
                filler.delete(uri)
                return result

    return run


def _delete(delay: float) -> Callable[[str, Path], Result]:
    def run(name: str, folder: Path) -> Result:
        """Delete an image of many segments, as glance_store writes it."""
        cloud = Cloud(None, delay)
        try:
            filler = Cloud(None)
            _clear(filler.client())
            image_id = str(uuid.uuid4())
            names = [f"{image_id}-{number:05d}" for number in range(1, _SEGMENTS + 1)]
            _fill(filler.client(), image_id, names)
            if name == ONE_BY_ONE:
                result = measured(lambda: _one_by_one(cloud.client(), [*names, image_id]))
            else:
                stores = cloud.stores(name)
                warm = stores.add("warm", io.BytesIO(b"x"), 1, [])
                stores.delete(warm)
                result = measured(lambda: stores.delete(warm.removesuffix("warm") + image_id) or 0)
            assert not filler.client().get_container(CONTAINER)[1]
            return result
        finally:
            cloud.close()

    return run


def _fill(client: Any, image_id: str, names: list[str]) -> None:
    """Store segments of a byte each, all in one request, and their manifest."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for each in names:
            entry = tarfile.TarInfo(each)
            entry.size = 1
            tar.addfile(entry, io.BytesIO(b"x"))
    client.put_object(CONTAINER, "", archive.getvalue(), query_string="extract-archive=tar")
    client.put_object(CONTAINER, image_id, b"", headers={"X-Object-Manifest": f"{CONTAINER}/{image_id}-"})


def _one_by_one(client: Any, names: list[str]) -> int:
    for each in names:
        client.delete_object(CONTAINER, each)
    return 0


def _slow_server(name: str, folder: Path) -> Result:
    """Add from a fast source to a server that takes 25 MiB/s over eight connections: the peak of memory counts."""
    with _side(name, 25 * MIB // 8) as (_, stores):
        stores.delete(stores.add("warm", io.BytesIO(b"x"), 1, _BOTH))
        uris: list[str] = []

        def work() -> int:
            uris.append(stores.add("image", RandomStream(GIB), GIB, _BOTH))
            return GIB

        result = measured(work)
        stores.delete(uris[0])
        return result


CASES = [
    Case("swift-add-1g", "add 1 GiB to Swift, bare", _add(_BOTH, None), [], [Target("throughput", 1.2)], rounds=3),
    Case(
        "swift-add-1g-slow",
        "add 1 GiB to Swift, 30 MiB/s a connection",
        _add(_BOTH, _THROTTLED),
        [],
        [Target("throughput", 3.0)],
        rounds=3,
    ),
    Case(
        "swift-add-1g-bare-digests",
        "add 1 GiB to Swift without digests, bare",
        _add([], None),
        [COMMAND],
        [Target("throughput", 1.0, COMMAND)],
        rounds=3,
        peer=False,
    ),
    Case(
        "swift-add-1g-bare-digests-slow",
        "add 1 GiB to Swift without digests, 30 MiB/s a connection",
        _add([], _THROTTLED),
        [COMMAND],
        [Target("throughput", 1.0, COMMAND)],
        rounds=3,
        peer=False,
    ),
    Case(
        "swift-get-1g",
        "read 1 GiB from Swift, bare",
        _get(None),
        [COMMAND],
        [Target("throughput", 1.5), Target("throughput", 1.0, COMMAND)],
        rounds=3,
    ),
    Case(
        "swift-get-1g-slow",
        "read 1 GiB from Swift, 30 MiB/s a connection",
        _get(_THROTTLED),
        [COMMAND],
        [Target("throughput", 3.0), Target("throughput", 1.0, COMMAND)],
        rounds=3,
    ),
    Case(
        "swift-delete-1000",
        "delete an image of 1,000 segments from Swift, bare",
        _delete(0),
        [ONE_BY_ONE],
        [Target("latency", 1.6, ONE_BY_ONE)],
        rounds=3,
        peer=False,
    ),
    Case(
        "swift-delete-1000-delay",
        "delete an image of 1,000 segments from Swift, 20 ms a request",
        _delete(0.02),
        [ONE_BY_ONE],
        [Target("latency", 5.0, ONE_BY_ONE)],
        rounds=3,
        peer=False,
    ),
    Case(
        "swift-add-1g-memory",
        "add 1 GiB to a slow Swift",
        _slow_server,
        [],
        [Target("memory", 150)],
        rounds=1,
        peer=False,  # what it takes counts, and the peer takes minutes
    ),
]
