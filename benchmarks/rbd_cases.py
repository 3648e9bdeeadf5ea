"""The rbd store on a Ceph cluster, which `tools/services/ceph` starts in .services/ceph and which stays there.

``bare`` is loopback, where two processors and the disk are the limit; with ``delay`` every message of the OSD comes up
to 40 ms late, by an option of Ceph's in the configuration file that all clients read.  ``rbd import`` and
``rbd export`` compute no digest, so none is asked for beside them.
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
from benchmarks.measure import GIB, MIB, Result, measured
from benchmarks.sides import Ours, Peer, configured, side

__all__ = ["CASES"]

TOP = Path(__file__).resolve().parent.parent
SERVICE = TOP / ".services/ceph"
POOLS = ("bench", "bench-2")
_BOTH = ["md5", "sha512"]
_IMPORT, _EXPORT = "rbd import", "rbd export"
_DELAY = """
[client]
ms inject delay type = osd
ms inject delay max = 0.04
ms inject delay probability = 1
"""


class Cluster:
    """The cluster as one run speaks to it.

    :param folder: where a configuration file may lie.
    """

    def __init__(self, folder: Path, delay: bool) -> None:
        subprocess.run([TOP / "tools/services/ceph", "start", SERVICE], check=True, stdout=subprocess.DEVNULL)
        env = dict(line.split("=", 1) for line in (SERVICE / "env").read_text().splitlines())
        self.fsid = env["CEPH_FSID"]
        self.conf = Path(env["CEPH_CONF"])
        self._make_pools()
        if delay:
            slow = folder / "delayed-ceph.conf"
            slow.write_text(self.conf.read_text() + _DELAY)
            self.conf = slow

    def _make_pools(self) -> None:
        import rados

        with rados.Rados(conffile=str(self.conf)) as cluster:
            for pool in POOLS:
                if not cluster.pool_exists(pool):
                    cluster.create_pool(pool)
                    with cluster.open_ioctx(pool) as ioctx:
                        ioctx.application_enable("rbd")

    def section(self, pool: str, **options: str) -> dict[str, str]:
        """Return the section of a store."""
        return {
            "rbd_store_ceph_conf": str(self.conf),
            "rbd_store_user": "images",
            "rbd_store_pool": pool,
            **options,
        }

    def stores(self, name: str, **options: str) -> Ours | Peer | Command:
        """Return one side."""
        if name.startswith("rbd "):
            return Command(self.conf)
        return side(name)(
            {
                "DEFAULT": {"enabled_backends": "one:rbd"},
                "glance_store": {"default_backend": "one"},
                "one": self.section(POOLS[0], **options),
            }
        )

    def uri(self, image_id: str) -> str:
        """Return the location of an image."""
        return f"rbd://{self.fsid}/{POOLS[0]}/{image_id}/snap"


class Command:
    """Ceph's own command; no digests, and no snapshot for instances to clone."""

    def __init__(self, conf: Path) -> None:
        self._conf = str(conf)

    def _run(self, *words: str) -> None:
        subprocess.run(["rbd", "-c", self._conf, "--id", "images", *words], check=True, stderr=subprocess.DEVNULL)

    def add(self, image_id: str, source: Any, size: int | None, digests: list[str]) -> str:
        """Store a file; return its name."""
        self._run("import", "--no-progress", source.name, f"{POOLS[0]}/{image_id}")
        return image_id

    def get(self, uri: str, folder: Path) -> None:
        """Write an image into a file of memory: only into a file it sends several requests at once."""
        out = folder / "exported"
        self._run("export", "--no-progress", f"{POOLS[0]}/{uri.split('/')[4]}", str(out))
        out.unlink()

    def delete(self, uri: str) -> None:
        """Delete an image that has no snapshot."""
        self._run("rm", "--no-progress", f"{POOLS[0]}/{uri}")


def _thin(name: str, peers: bool) -> dict[str, str]:
    """Return options by which store_lib, and maybe the peer, leaves zeroes out."""
    return {"rbd_thin_provisioning": "true"} if peers or name == "store_lib" else {}


def _sparse(folder: Path, size: int) -> Path:
    """Return a file four times as long as its random bytes, of which each 32 MiB begin with 8."""
    path = folder / f"sparse-{size}"
    if not path.exists():
        with open(path, "wb") as file:
            for at in range(0, size, 32 * MIB):
                file.seek(at)
                file.write(os.urandom(8 * MIB))
            file.truncate(size)
    return path


class Zeroes:
    """A file whose holes come as zeroes, as everything does that comes over a network."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed below)

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`."""
        return self._file.read(size)

    def __enter__(self) -> Zeroes:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _clear() -> None:
    """Remove what a run that failed has left."""
    import rados
    import rbd

    with rados.Rados(conffile=str(SERVICE / "ceph.conf")) as connected:
        for pool in POOLS:
            with connected.open_ioctx(pool) as ioctx:
                for name in rbd.RBD().list(ioctx):
                    with rbd.Image(ioctx, name) as image:
                        for snapshot in [*image.list_snaps()]:
                            if image.is_protected_snap(snapshot["name"]):
                                image.unprotect_snap(snapshot["name"])
                            image.remove_snap(snapshot["name"])
                    rbd.RBD().remove(ioctx, name)


@contextlib.contextmanager
def _side(name: str, folder: Path, delay: bool, **options: str) -> Iterator[tuple[Cluster, Any]]:
    cluster = Cluster(folder, delay)
    _clear()
    yield cluster, cluster.stores(name, **options)


def _add(digests: list[str], delay: bool) -> Callable[[str, Path], Result]:
    def run(name: str, folder: Path) -> Result:
        path = made_input(folder, GIB)
        with _side(name, folder, delay) as (_, stores):
            return _measured_add(stores, lambda: open(path, "rb"), GIB, digests)

    return run


def _measured_add(stores: Any, opened: Callable[[], Any], size: int, digests: list[str]) -> Result:
    if not isinstance(stores, Command):
        stores.delete(stores.add("warm", io.BytesIO(b"x"), 1, digests))
    uris: list[str] = []

    def work() -> int:
        with opened() as file:
            uris.append(stores.add("image", file, size, digests))
        return size

    result = measured(work)
    stores.delete(uris[0])
    return result


def _measured_get(cluster: Cluster, stores: Any, folder: Path, size: int) -> Result:
    uri = cluster.uri("image")

    def work() -> int:
        if isinstance(stores, Command):
            stores.get(uri, folder)
            return size
        return int(stores.get(uri))

    result = measured(work)
    assert result.size == size
    return result


def _get(delay: bool) -> Callable[[str, Path], Result]:
    def run(name: str, folder: Path) -> Result:
        with _side(name, folder, delay) as (cluster, stores):
            filler = Cluster(folder, False).stores("store_lib")
            with open(made_input(folder, GIB), "rb") as file:
                uri = filler.add("image", file, GIB, ["md5"])
            result = _measured_get(cluster, stores, folder, GIB)
            filler.delete(uri)
            return result

    return run


def _sparse_add(peers: bool) -> Callable[[str, Path], Result]:
    def run(name: str, folder: Path) -> Result:
        path = _sparse(folder, 4 * GIB)
        with _side(name, folder, False, **_thin(name, peers)) as (_, stores):
            return _measured_add(stores, lambda: Zeroes(path), 4 * GIB, _BOTH)

    return run


def _sparse_get(peers: bool) -> Callable[[str, Path], Result]:
    def run(name: str, folder: Path) -> Result:
        options = _thin(name, peers)
        with _side(name, folder, False, **options) as (cluster, stores):
            filler = Cluster(folder, False).stores("store_lib", **options)
            with Zeroes(_sparse(folder, 4 * GIB)) as file:
                uri = filler.add("image", file, 4 * GIB, ["md5"])
            result = _measured_get(cluster, stores, folder, 4 * GIB)
            filler.delete(uri)
            return result

    return run


def _small_add(name: str, folder: Path) -> Result:
    """Return the mean of adds of 64 KiB, known size."""
    data, count = os.urandom(64 * 1024), 30
    with _side(name, folder, False) as (_, stores):
        uris = [stores.add("warm", io.BytesIO(b"x"), 1, _BOTH)]

        def work() -> int:
            uris.extend(stores.add(f"image-{number}", io.BytesIO(data), len(data), _BOTH) for number in range(count))
            return 0

        result = measured(work)
        for uri in uris:
            stores.delete(uri)
        return Result(result.seconds / count, 0, result.memory, result.processor)


def _stat(name: str, folder: Path) -> Result:
    """Return the mean of asking for the size of an image."""
    count = 50
    with _side(name, folder, False) as (_, stores):
        uri = stores.add("image", io.BytesIO(b"x"), 1, _BOTH)

        def work() -> int:
            for _ in range(count):
                stores.size(uri)
            return 0

        result = measured(work)
        stores.delete(uri)
        return Result(result.seconds / count, 0, result.memory, result.processor)


def _copy(name: str, folder: Path) -> Result:
    """Copy into another pool of the cluster: inside it, or by the bytes."""
    from oslo_config import cfg

    from store_lib import Stores

    cluster = Cluster(folder, False)
    _clear()
    by_bytes = {"disabled_features": "copy"} if name == "streamed" else {}
    sections = {
        "DEFAULT": {"enabled_backends": "one:rbd, two:rbd"},
        "glance_store": {"default_backend": "one"},
        "one": cluster.section(POOLS[0], **by_bytes),
        "two": cluster.section(POOLS[1], **by_bytes),
    }
    with Stores.from_config(configured(cfg.ConfigOpts(), sections)) as stores:
        with open(made_input(folder, GIB), "rb") as file:
            location = stores["one"].add("image", file, GIB, digests=["md5"]).location
        copied = [stores.copy(stores["one"].add("warm", b"x", 1).location, "two")]

        def work() -> int:
            copied.append(stores.copy(location, "two"))
            return GIB

        result = measured(work)
        for each in copied:
            stores["two"].delete(each.location)
        stores["one"].delete(location)
        return result


CASES = [
    Case("rbd-add-1g", "add 1 GiB to Ceph RBD, bare", _add(_BOTH, False), [], [Target("throughput", 1.5)], rounds=3),
    Case(
        "rbd-add-1g-delay",
        "add 1 GiB to Ceph RBD, with delay",
        _add(_BOTH, True),
        [],
        [Target("throughput", 2.5)],
        rounds=3,
    ),
    Case(
        "rbd-add-1g-bare-digests",
        "add 1 GiB to Ceph RBD without digests, bare",
        _add([], False),
        [_IMPORT],
        [Target("throughput", 1.0, _IMPORT)],
        rounds=3,
        peer=False,
    ),
    Case(
        "rbd-add-1g-bare-digests-delay",
        "add 1 GiB to Ceph RBD without digests, with delay",
        _add([], True),
        [_IMPORT],
        [Target("throughput", 1.0, _IMPORT)],
        rounds=3,
        peer=False,
    ),
    Case(
        "rbd-get-1g",
        "read 1 GiB from Ceph RBD, bare",
        _get(False),
        [_EXPORT],
        [Target("throughput", 1.5), Target("throughput", 1.0, _EXPORT)],
        rounds=3,
    ),
    Case(
        "rbd-get-1g-delay",
        "read 1 GiB from Ceph RBD, with delay",
        _get(True),
        [_EXPORT],
        [Target("throughput", 2.5), Target("throughput", 1.0, _EXPORT)],
        rounds=3,
    ),
    Case(
        "rbd-add-4g-sparse",
        "add 4 GiB with 1 GiB of data to Ceph RBD, thin provisioning as each has it",
        _sparse_add(False),
        [],
        [Target("throughput", 4.0)],
        rounds=3,
    ),
    Case(
        "rbd-get-4g-sparse",
        "read 4 GiB with 1 GiB of data from Ceph RBD, thin provisioning as each has it",
        _sparse_get(False),
        [],
        [Target("throughput", 4.0)],
        rounds=3,
    ),
    Case(
        "rbd-add-4g-sparse-both",
        "add 4 GiB with 1 GiB of data to Ceph RBD, thin provisioning in both",
        _sparse_add(True),
        [],
        [Target("throughput", 2.0)],
        rounds=3,
    ),
    Case(
        "rbd-get-4g-sparse-both",
        "read 4 GiB with 1 GiB of data from Ceph RBD, thin provisioning in both",
        _sparse_get(True),
        [],
        [Target("throughput", 2.0)],
        rounds=3,
    ),
    Case("rbd-add-64k", "add 64 KiB to Ceph RBD", _small_add, [], [Target("latency", 2.0)], rounds=3),
    Case("rbd-stat", "tell the size of an image in Ceph RBD", _stat, [], [Target("latency", 2.0)], rounds=3),
    Case(
        "rbd-copy-1g",
        "copy 1 GiB between two pools of a cluster",
        _copy,
        ["streamed"],
        [Target("throughput", 5.0, "streamed")],
        rounds=3,
        peer=False,
    ),
]
