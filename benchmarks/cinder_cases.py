"""The cinder store on a real Cinder with Ceph, which `tools/services/cinder` starts in .services/cinder and leaves.

All on one machine: Cinder, Keystone and Ceph take their share of its processors.  The volumes are of the type ``rbd1``,
over which every volume is attached by librbd.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Target
from benchmarks.measure import GIB, MIB, RandomStream, Result, measured
from benchmarks.sides import Ours, Peer, configured

__all__ = ["CASES"]

TOP = Path(__file__).resolve().parent.parent
SERVICE = TOP / ".services/cinder"
TYPE = "rbd1"
_BOTH = ["md5", "sha512"]
_KNOWN = "store_lib, size known"
_STREAMED = "streamed"
#: Seconds that Cinder may take to remove volumes.
_PATIENCE = 300


class Cloud:
    """The servers as one run speaks to them.

    :param folder: where shares would be mounted and locks lie.
    """

    def __init__(self, folder: Path) -> None:
        subprocess.run([TOP / "tools/services/cinder", "start", SERVICE], check=True, stdout=subprocess.DEVNULL)
        lines = (SERVICE / "env").read_text().splitlines()
        self.env = {name: shlex.split(value)[0] for name, _, value in (line.partition("=") for line in lines)}
        self._folder = folder
        os.environ["PATH"] = os.pathsep.join([self.env["BIN"], os.environ.get("PATH", os.defpath)])  # it mounts shares

    def section(self) -> dict[str, str]:
        """Return the section of a store: what both libraries understand."""
        return {
            "cinder_volume_type": TYPE,
            "cinder_store_auth_address": self.env["AUTH_URL"],
            "cinder_store_user_name": "cinder",  # the peer asks for volume types as an administrator only
            "cinder_store_password": "cinder-pw",
            "cinder_store_project_name": self.env["USER_CINDER_PROJECT"],
            "cinder_os_region_name": self.env["REGION"],
            "cinder_mount_point_base": str(self._folder / "mounts"),
        }

    def stores(self, name: str) -> Ours | Peer:
        """Return one side."""
        if name == Peer.name:
            _become_root()
        kind: type[Ours] | type[Peer] = PeerForProject if name == Peer.name else Ours
        return kind(
            {
                "DEFAULT": {"enabled_backends": "one:cinder"},
                "glance_store": {"default_backend": "one"},
                "one": self.section(),
                "oslo_concurrency": {"lock_path": str(self._folder / "locks")},
            }
        )

    def client(self) -> Any:
        """Return a client of Cinder."""
        from cinderclient import client
        from keystoneauth1 import session
        from keystoneauth1.identity import v3

        auth = v3.Password(
            auth_url=self.env["AUTH_URL"],
            username="cinder",
            password="cinder-pw",
            project_name=self.env["USER_CINDER_PROJECT"],
            user_domain_id="default",
            project_domain_id="default",
        )
        return client.Client("3.54", session=session.Session(auth=auth, timeout=_PATIENCE))

    def clear(self) -> None:
        """Remove every volume of earlier runs and wait for it: Cinder must not be busy with that during the next."""
        cinder = self.client()
        end = time.monotonic() + _PATIENCE
        while volumes := cinder.volumes.list():
            for volume in volumes:
                if volume.status == "deleting":
                    continue
                for attachment in cinder.attachments.list(search_opts={"volume_id": volume.id}):
                    cinder.attachments.delete(attachment.id)
                with contextlib.suppress(Exception):  # it may be on its way to another state
                    cinder.volumes.delete(volume.id)
            if time.monotonic() > end:
                raise TimeoutError(f"Cinder still has {len(volumes)} volumes")
            time.sleep(0.2)

    def attachments(self) -> int:
        """Return how often a volume was attached so far, as Cinder's log tells."""
        return (SERVICE / "log/cinder.log").read_text(errors="replace").count('"POST /v3/attachments HTTP')


class PeerForProject(Peer):
    """glance_store, whose Cinder store wants to know for which project an image is."""

    def add(self, image_id: str, source: Any, size: int | None, digests: list[str]) -> str:
        """Store an image; return its location."""
        context = types.SimpleNamespace(project_id="bench")
        found = self._lib.add_with_multihash(
            self._conf, image_id, source, size or 0, self._backend, "sha512", context=context
        )
        return str(found[0])


def _become_root() -> None:
    """Have os-brick work in this process, which is root's, and start no daemon for that."""
    from os_brick.privileged import default

    default.set_client_mode(False)


@contextlib.contextmanager
def _side(name: str, folder: Path) -> Iterator[tuple[Cloud, Any]]:
    cloud = Cloud(folder)
    cloud.clear()
    stores = cloud.stores(name)
    # The first image pays for logging in, and for what os-brick finds out about the host.
    stores.delete(stores.add("warm", RandomStream(MIB), MIB, _BOTH))
    cloud.clear()
    yield cloud, stores
    cloud.clear()


def _add(size: int, known: bool) -> Callable[[str, Path], Result]:
    def run(name: str, folder: Path) -> Result:
        with _side(name, folder) as (_, stores):

            def work() -> int:
                told = size if known or name == _KNOWN else None
                stores.add("image", RandomStream(size), told, _BOTH)
                return size

            return measured(work)

    return run


def _get(name: str, folder: Path) -> Result:
    with _side(name, folder) as (_, stores):
        uri = stores.add("image", RandomStream(GIB), GIB, _BOTH)
        result = measured(lambda: stores.get(uri))
        assert result.size == GIB
        return result


def _second_reader(name: str, folder: Path) -> Result:
    """Time a second reader of the same image, of which another has read a part and stays."""
    size = 64 * MIB
    with _side(name, folder) as (cloud, stores):
        uri = stores.add("image", RandomStream(size), size, _BOTH)
        with _first_reader(stores, uri):
            before = cloud.attachments()
            result = measured(lambda: stores.get(uri))
            again = cloud.attachments() - before
        assert again == (name == Peer.name), f"{again} attachments for that reader"
        return Result(result.seconds, 0, result.memory, result.processor)


@contextlib.contextmanager
def _first_reader(stores: Any, uri: str) -> Iterator[None]:
    if isinstance(stores, Ours):
        with stores._store.open(uri) as reader:
            reader.read(MIB)
            yield
        return
    # The peer attaches for each reader, and Cinder lets it only once the first one is done.
    yield


def _move(move: bool, kinds: tuple[str, str]) -> Callable[[str, Path], Result]:
    """Bring an image into a store of another volume type: inside Cinder, or by its bytes."""

    def run(name: str, folder: Path) -> Result:
        from oslo_config import cfg

        from store_lib import Stores

        cloud = Cloud(folder)
        cloud.clear()
        by_bytes = {"disabled_features": "copy, move"} if name == _STREAMED else {}
        sections = {
            "DEFAULT": {"enabled_backends": "one:cinder, two:cinder"},
            "glance_store": {"default_backend": "one"},
        }
        for store, kind in zip(("one", "two"), kinds, strict=True):
            sections[store] = cloud.section() | {"cinder_volume_type": kind} | by_bytes
        with Stores.from_config(configured(cfg.ConfigOpts(), sections)) as stores:
            warm = stores["one"].add("warm", RandomStream(MIB), MIB).location
            stores["one"].delete(warm)
            stores["two"].delete(stores["two"].add("warm", RandomStream(MIB), MIB).location)
            location = stores["one"].add("image", RandomStream(GIB), GIB, digests=["md5"]).location

            def work() -> int:
                stores.copy(location, "two", image_id="image", delete_source=move)
                return GIB

            result = measured(work)
        cloud.clear()
        return result

    return run


CASES = [
    Case("cinder-add-1g", "add 1 GiB to Cinder (rbd)", _add(GIB, True), [], [Target("throughput", 1.5)], rounds=3),
    Case("cinder-get-1g", "read 1 GiB from Cinder (rbd)", _get, [], [Target("throughput", 1.5)], rounds=3),
    Case(
        "cinder-add-3g-unknown",
        "add 3 GiB to Cinder (rbd), size not known",
        _add(3 * GIB, False),
        [_KNOWN],
        [Target("throughput", 1.5), Target("throughput", 0.85, _KNOWN)],
        rounds=3,
    ),
    Case(
        "cinder-move-1g",
        "move 1 GiB to another backend of Cinder (rbd to rbd)",
        _move(True, ("rbd1", "rbd2")),
        [_STREAMED],
        [Target("throughput", 5.0, _STREAMED)],
        rounds=3,
        peer=False,
    ),
    Case(
        "cinder-move-1g-pool",
        "move 1 GiB to another backend of Cinder (rbd to rbd, of one pool)",
        _move(True, ("rbd1", "rbd3")),
        [_STREAMED],
        [Target("throughput", 5.0, _STREAMED)],
        rounds=3,
        peer=False,
    ),
    Case(
        "cinder-copy-1g",
        "copy 1 GiB to another backend of Cinder (rbd to rbd)",
        _move(False, ("rbd1", "rbd2")),
        [_STREAMED],
        [Target("throughput", 1.0, _STREAMED)],
        rounds=3,
        peer=False,
    ),
    Case(
        "cinder-move-1g-nfs",
        "move 1 GiB from Ceph to NFS inside Cinder",
        _move(True, ("rbd1", "nfs1")),
        [_STREAMED],
        [],
        rounds=1,
        peer=False,
    ),
    Case(
        "cinder-second-reader",
        "read 64 MiB from Cinder (rbd) while another reader has it open; the peer by itself",
        _second_reader,
        [],
        [Target("latency", 1.0)],
        rounds=3,
    ),
]
