"""A real Cinder with Keystone and Ceph under these tests, and an administrator's view of it."""

import contextlib
import functools
import json
import os
import pathlib
import shlex
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

import psutil
import pytest

from store_lib.tests import support
from store_lib.tests.relay import Relay

TOP = pathlib.Path(__file__).resolve().parents[4]
TOOL = TOP / "tools/services/cinder"
GIB = 1024**3
#: Seconds that Cinder may take for what takes it a second, on a busy machine.
PATIENCE = 120


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


class Cloud:
    """The servers of one folder, and what an administrator sees and does."""

    def __init__(self, folder):
        self.folder = folder
        self.start()

    def run(self, action):
        """Have the tool do something; return what it printed."""
        done = subprocess.run([TOOL, action, self.folder], capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self):
        """Start what does not run and wait until it answers."""
        self.run("start")
        lines = (self.folder / "env").read_text().splitlines()
        self.env = {name: shlex.split(value)[0] for name, _, value in (line.partition("=") for line in lines)}

    # -- processes ----------------------------------------------------------------------------------------------------

    @property
    def pid(self):
        """The process of Cinder."""
        return int((self.folder / "run/cinder.pid").read_text().split()[0])

    @contextlib.contextmanager
    def killed(self):
        """Have Cinder gone for the time of ``with``."""
        pid = self.pid
        os.killpg(pid, signal.SIGKILL)
        support.until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 30)
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def stopped(self):
        """Have Cinder hang for the time of ``with``."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def change_database(self, statement, *values):
        """Change what Cinder remembers, where its API has no means or no working one."""
        with contextlib.closing(sqlite3.connect(self.folder / "lib/cinder.sqlite", timeout=PATIENCE)) as database:
            with database:
                database.execute(statement, values)

    @contextlib.contextmanager
    def relay(self):
        """Yield a relay in front of Cinder's API, which looks at every request."""
        with Relay(int(self.env["CINDER_PORT"])) as relay:
            relay.set(http=True)
            yield relay

    @contextlib.contextmanager
    def quick_to_forget(self):
        """Have Ceph give up who opens a volume in the time of ``with``, and dies, after 8 seconds instead of 30."""
        import rados

        with rados.Rados(conffile=self.env["CEPH_CONF"], rados_id="admin") as cluster:

            def ask(**command):
                code, _, problem = cluster.mon_command(json.dumps(command), b"")
                assert not code, problem

            option = {"who": "osd", "name": "osd_client_watch_timeout"}
            ask(prefix="config set", value="8", **option)
            try:
                yield
            finally:
                ask(prefix="config rm", **option)

    # -- stores -------------------------------------------------------------------------------------------------------

    def options(self, kind, user="images"):
        """Return the options of a store whose volumes are of that type.

        :param kind: name of the volume type.
        :param user: `images`, `poor` (who has a small quota) or `cinder` (who is an administrator).
        """
        return {
            "cinder_volume_type": kind,
            "cinder_store_auth_address": self.env["AUTH_URL"],
            "cinder_store_user_name": user,
            "cinder_store_password": f"{user}-pw",
            "cinder_store_project_name": self.env[f"USER_{user.upper()}_PROJECT"],
            "cinder_os_region_name": self.env["REGION"],
            "cinder_mount_point_base": self.mounts,
            "cinder_rbd_keyring": self.env["CEPH_KEYRING"],
        }

    @property
    def mounts(self):
        """The folder below which stores mount shares and keep their locks."""
        return self.folder / "client"

    # -- what is there ------------------------------------------------------------------------------------------------

    @functools.cached_property
    def admin(self):
        """The client of an administrator."""
        return self.client()

    def client(self, user="admin"):
        """Return a client of Cinder; of an administrator it shows the volumes of all projects."""
        from cinderclient import client
        from keystoneauth1 import session
        from keystoneauth1.identity import v3

        auth = v3.Password(
            auth_url=self.env["AUTH_URL"],
            username=user,
            password=f"{user}-pw",
            project_name=self.env.get(f"USER_{user.upper()}_PROJECT", "admin"),
            user_domain_id="default",
            project_domain_id="default",
        )
        logged_in = session.Session(auth=auth, timeout=PATIENCE)
        return client.Client("3.59", session=logged_in, connect_retries=3)


class View:
    """What is in Cinder and on this host, beyond what was there when the view was made."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.admin = cloud.admin
        self._before = {each.id for each in self._all()}

    def _all(self):
        return self.admin.volumes.list(search_opts={"all_tenants": 1})

    def volumes(self):
        """Return the volumes that were made since."""
        return [each for each in self._all() if each.id not in self._before]

    def statuses(self):
        """Return the states of those volumes, sorted."""
        return sorted(each.status for each in self.volumes())

    def attachments(self, volumes=None):
        """Return the attachments of those volumes, or of some that are known."""
        ours = {each.id for each in volumes or self.volumes()}
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
        volumes = self.volumes()
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
        """Remove what was made since, whatever state it is in."""
        volumes = self.volumes()
        ids = {each.id for each in volumes}
        for attachment in self.attachments(volumes) if ids else ():
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
                self.admin.volumes.reset_state(volume, state="error", attach_status="detached")
                volume.force_delete()


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
    Stores try nothing twice unless the test says otherwise, so that failing is quick.
    """

    def make(kind, user="images", called="it", **options):
        given = {"retry_attempts": 1, "probe_interval": 0, "probe_timeout": 60, "operation_timeout": PATIENCE}
        given |= cloud.options(kind, user) | options
        lines = ["[DEFAULT]", f"enabled_backends = {called}:cinder", f"[{called}]"]
        lines += [f"{name} = {value}" for name, value in given.items() if value is not None]
        return make_stores("\n".join(lines))[called]

    return make
