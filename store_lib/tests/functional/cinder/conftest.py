"""A real Cinder with Keystone and Ceph under these tests, and an administrator's view of it."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
from typing import Any

import pytest
from oslo_config import cfg

from store_lib import Stores
from store_lib.tests import support
from store_lib.tests.functional.cinder.cloud import PATIENCE, TOOL, Cloud
from store_lib.tests.support import KIB, MIB, payload

GIB = 1024**3
#: What images hold; their last part is short.
DATA = payload(3 * MIB + 2400)
#: Options with which half of DATA is far more than what is read before anything is made.
SMALL_PARTS = {"part_size": 64 * KIB}
#: Options of a store that has no credentials of its own.
NO_LOGIN = dict.fromkeys(f"cinder_store_{name}" for name in ("auth_address", "user_name", "password", "project_name"))


def pytest_collection_modifyitems(items):
    """Let the first test wait until the servers are up, which takes minutes where they have to be installed."""
    here = pathlib.Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("functional")
            item.add_marker(pytest.mark.timeout(600), append=False)


def until(ready, seconds=PATIENCE):
    """Wait until `ready()`, which asks Cinder: not all of the time, which would keep Cinder from what is waited for."""

    def seldom():
        found = ready()
        if not found:
            time.sleep(0.1)
        return found

    return support.until(seldom, seconds)


def between(step):
    """Yield DATA in two halves, with a step between them."""
    yield DATA[: len(DATA) // 2]
    step()
    yield DATA[len(DATA) // 2 :]


class View:
    """What is in Cinder and on this host, beyond what was there when the view was made."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.admin = cloud.admin
        self._before = {each.id for each in self._all()}
        self._used = set()

    def _all(self):
        return self.admin.volumes.list(search_opts={"all_tenants": 1})

    def volumes(self):
        """Return the volumes that were made since."""
        return [each for each in self._all() if each.id not in self._before]

    def use(self, volume_id):
        """Have a volume looked at that tests share."""
        self._before.add(volume_id)
        self._used.add(volume_id)

    def _touched(self):
        """Return the volumes that were made since, and the shared ones that the test uses."""
        return [each for each in self._all() if each.id not in self._before or each.id in self._used]

    def statuses(self):
        """Return the states of the volumes that the test has to do with, sorted."""
        return sorted(each.status for each in self._touched())

    def attachments(self, volumes=None):
        """Return the attachments of those volumes, or of some that are known."""
        ours = {each.id for each in volumes or self._touched()}
        found = self.admin.attachments.list(search_opts={"all_tenants": 1})
        return [each for each in found if each.volume_id in ours]

    def mounts(self):
        """Return where stores have shares mounted on this host."""
        lines = pathlib.Path("/proc/mounts").read_text().splitlines()
        places = [line.split(" ")[1] for line in lines]
        return [place for place in places if place.startswith(f"{self.cloud.mounts}/")]

    def watchers(self, volumes):
        """Return the ids of volumes that some process has open in Ceph."""
        import rados

        found = []
        with rados.Rados(conffile=self.cloud.env["CEPH_CONF"], rados_id="admin") as cluster:
            for pool in (self.cloud.env["POOL_RBD1"], self.cloud.env["POOL_RBD2"]):
                with cluster.open_ioctx(pool) as ioctx:
                    found += [each.id for each in volumes if _watched(ioctx, f"volume-{each.id}")]
        return found

    def idle(self):
        """Return whether nothing is attached, mounted, open, or on its way to another state."""
        volumes = self._touched()
        if self.mounts() or any(each.status != "available" for each in volumes):
            return False
        return not volumes or not (self.attachments(volumes) or self.watchers(volumes))

    def empty(self):
        """Return whether nothing at all is left."""
        return not self.volumes() and not self.mounts()

    def settled(self):
        """Wait until nothing is attached, mounted or open."""
        until(self.idle)

    def gone(self):
        """Wait until nothing at all is left."""
        until(self.empty)

    def wipe(self):
        """Remove what was made since, whatever state it is in, and shared images that the test has harmed."""
        found = self._all()
        harmed = self._used - {each.id for each in found if each.status == "available"}
        for kind, location in [*self.cloud.kept.items()]:
            if volume_of(location) in harmed:
                del self.cloud.kept[kind]
        volumes = [each for each in found if each.id not in self._before or each.id in harmed]
        ids = {each.id for each in volumes}
        for attachment in self.attachments(volumes) if any(each.status != "available" for each in volumes) else ():
            with contextlib.suppress(Exception):
                self.admin.attachments.delete(attachment.id)
        for snapshot in self.admin.volume_snapshots.list(search_opts={"all_tenants": 1}) if ids else ():
            with contextlib.suppress(Exception):
                if snapshot.volume_id in ids:
                    self.admin.volume_snapshots.delete(snapshot, force=True)
        for place in self.mounts():
            subprocess.run(["umount", "--lazy", place], check=False)
        for volume in volumes:
            with contextlib.suppress(Exception):
                if volume.status not in ("available", "error"):
                    self.admin.volumes.reset_state(volume, state="error", attach_status="detached")
                volume.force_delete()


def volume_of(location):
    """Return the id of the volume of an image."""
    return location.uri.rpartition("/")[2]


def _watched(ioctx, name):
    import rbd

    try:
        with rbd.Image(ioctx, name, read_only=True) as image:
            return bool(list(image.watchers_list()))
    except rbd.ImageNotFound:
        return False


@pytest.fixture(scope="session")
def cloud():
    """Return the servers; STORE_LIB_SERVICES names a folder in which they are left running, for trying things out."""
    kept = os.environ.get("STORE_LIB_SERVICES")
    folder = pathlib.Path(kept, "cinder") if kept else pathlib.Path(tempfile.mkdtemp(prefix="store_lib-cinder-"))
    try:
        made = Cloud(folder)
        with pytest.MonkeyPatch.context() as patch:
            # Where `mount -t nfs` works without the kernel's client: see tools/services/cinder.
            patch.setenv("PATH", os.pathsep.join([made.env["BIN"], os.environ["PATH"]]))
            yield made
    finally:
        if not kept:
            subprocess.run([TOOL, "stop", folder], check=True, timeout=200)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def view(cloud):
    """Return what an administrator sees of what the test makes; all of it is removed after the test."""
    found = View(cloud)
    yield found
    found.wipe()


@pytest.fixture
def make_cinder(make_stores, cloud, view):
    """Return a function that makes a store; its keyword arguments are options, None leaves one out.

    ``make_cinder("rbd1")`` has volumes of the type ``rbd1``; `user` is that of `Cloud.options`, `called` its id.
    """

    def make(kind, user="images", called="it", **options):
        return make_stores(cloud.configuration(kind, user, called, options))[called]

    return make


@pytest.fixture(scope="session")
def shared(cloud, tmp_path_factory):
    """Return a function that returns the store of a kind, and of some options, which tests share.

    It has logged in and was probed before; who wants another begins with `make_cinder`.
    """
    folder = tmp_path_factory.mktemp("shared")
    made: dict[tuple[Any, ...], Stores] = {}

    def of(kind, called="it", **options):
        key = (kind, called, *sorted(options.items()))
        if key not in made:
            path = folder / f"{len(made)}.conf"
            path.write_text(cloud.configuration(kind, "images", called, options))
            conf = cfg.ConfigOpts()
            conf(["--config-file", str(path)], project="store_lib", default_config_files=[], default_config_dirs=[])
            made[key] = Stores.from_config(conf)
        return made[key][called]

    yield of
    for stores in made.values():
        stores.close()


@pytest.fixture
def kept(cloud, shared, view):
    """Return a function that returns the location of an image of DATA in volumes of a type.

    Tests share it: they read it, and neither change it nor delete it.
    """

    def of(kind):
        if kind not in cloud.kept:
            cloud.kept[kind] = shared(kind).add(f"kept-{kind}", DATA, len(DATA)).location
        view.use(volume_of(cloud.kept[kind]))
        return cloud.kept[kind]

    return of
