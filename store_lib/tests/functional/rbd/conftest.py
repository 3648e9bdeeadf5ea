"""A Ceph cluster of its own for these tests."""

import contextlib
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import uuid

import pytest

from store_lib.tests import support

TOP = pathlib.Path(__file__).resolve().parents[4]
SERVICE = TOP / "tools/services/ceph"


class Cluster:
    """One cluster: its processes, and an administrator's view of it."""

    def __init__(self, folder):
        self.folder = folder
        self.start()
        env = dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines())
        self.conf = env["CEPH_CONF"]
        self.fsid = env["CEPH_FSID"]
        self.admin = self.connect("admin")
        # Of a client that was killed Ceph believes for 30 s that it is there.
        self.ask("config set", who="osd", name="osd_client_watch_timeout", value="5")

    def start(self):
        """Start what does not run."""
        subprocess.run([SERVICE, "start", self.folder], check=True, stdout=subprocess.DEVNULL, timeout=300)

    def connect(self, user):
        """Return a connection of one user."""
        import rados

        cluster = rados.Rados(conffile=self.conf, rados_id=user, conf={"client_mount_timeout": "60"})
        cluster.connect()
        return cluster

    def ask(self, prefix, **arguments):
        """Return the monitor's answer."""
        from store_lib.drivers._rbd_cluster import ask

        return ask(self.admin, prefix, **arguments)

    def pid(self, name):
        """Return the process id of ``mon.a`` or ``osd.0``."""
        return int((self.folder / "run" / f"{name}.pid").read_text())

    @contextlib.contextmanager
    def stopped(self, name):
        """Have a daemon hang for the time of ``with``, yet an OSD for ten seconds at most: see `settle`."""
        try:
            with support.stopped(self.pid(name), 10 if name == "osd.0" else 300):
                yield
        finally:
            self.settle()

    def settle(self):
        """Wait until all placement groups answer.

        An OSD that hung for long may leave some that never do again; it is started anew then.
        """
        end = time.monotonic() + 20
        while not self.answers():
            if time.monotonic() > end:
                with self.killed("osd.0"):
                    pass
                end = time.monotonic() + 60

    def answers(self):
        """Return whether every placement group of every pool answers."""
        import rados

        limits = {"client_mount_timeout": "20", "rados_osd_op_timeout": "5", "rados_mon_op_timeout": "5"}
        try:
            with rados.Rados(conffile=self.conf, rados_id="admin", conf=limits) as cluster:
                for pool in (each for each in cluster.list_pools() if each.startswith("p")):
                    with cluster.open_ioctx(pool) as ioctx:
                        for number in range(32):
                            ioctx.write_full(f"placement-{number}", b"x")
                            ioctx.remove_object(f"placement-{number}")
        except rados.TimedOut:
            return False
        return True

    @contextlib.contextmanager
    def killed(self, name):
        """Have a daemon gone for the time of ``with``."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        support.until(lambda: support.ended(pid), 30)
        try:
            yield
        finally:
            self.start()

    def run(self, command):
        """Run a command of Ceph's, written as for a shell, and return what it printed."""
        words = shlex.split(command)
        done = subprocess.run(
            [words[0], "-c", self.conf, *words[1:]], check=True, stdout=subprocess.PIPE, text=True, timeout=120
        )
        return done.stdout

    @contextlib.contextmanager
    def pool(self, name=None):
        """Yield the name of a new pool, which is removed with all in it."""
        name = name or f"p{uuid.uuid4().hex[:8]}"
        self.ask("osd pool create", pool=name, pg_num=4)
        self.ask("osd pool application enable", pool=name, app="rbd")
        try:
            yield name
        finally:
            self.ask("osd pool delete", pool=name, pool2=name, yes_i_really_really_mean_it=True)

    def section(self, name, pool, **options):
        """Return the section of a store."""
        lines = [f"[{name}]", f"rbd_store_ceph_conf = {self.conf}", f"rbd_store_pool = {pool}"]
        options = {"rbd_store_user": "images", **options}
        return "\n".join([*lines, *(f"{key} = {value}" for key, value in options.items())]) + "\n"

    def stop(self):
        """End everything."""
        self.admin.shutdown()
        subprocess.run([SERVICE, "stop", self.folder], check=True, timeout=120)


@pytest.fixture(scope="session")
def cluster():
    """Return the cluster; the bindings are made visible to this interpreter by ``tools/ceph-bindings``."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="store_lib-ceph-"))
    made = Cluster(folder)
    yield made
    made.stop()
    shutil.rmtree(folder)


@pytest.fixture
def pool(cluster):
    """Return the name of a pool that only this test has."""
    with cluster.pool() as name:
        yield name


@pytest.fixture
def make_store(make_stores, cluster, pool):
    """Return a function that makes a store in the test's pool; its keyword arguments are options."""

    def make(**options):
        options = {"retry_attempts": 1, "probe_interval": 0, "operation_timeout": 20, **options}
        return make_stores(f"[DEFAULT]\nenabled_backends = it:rbd\n{cluster.section('it', pool, **options)}")["it"]

    return make


@pytest.fixture
def store(make_store):
    """Return a store in the test's pool."""
    return make_store()


@pytest.fixture
def view(cluster, pool):
    """Return the pool as an administrator sees it."""
    found = View(cluster, pool)
    yield found
    found.ioctx.close()


class View:
    """What is in a pool, by Ceph's own bindings."""

    def __init__(self, cluster, pool):
        import rbd

        self.rbd = rbd
        self.cluster = cluster
        self.ioctx = cluster.admin.open_ioctx(pool)
        self.pool = pool

    def names(self):
        """Return the names of all images, those under way included."""
        return sorted(self.rbd.RBD().list(self.ioctx))

    def trash(self):
        """Return the names of the images in the trash."""
        return sorted(each["name"] for each in self.rbd.RBD().trash_list(self.ioctx))

    def objects(self):
        """Return the names of all objects that belong to some image."""
        bare = ("rbd_directory", "rbd_info", "rbd_trash", "rbd_children", "rbd_purge", "rbd_header_mirror")
        return sorted(each.key for each in self.ioctx.list_objects() if each.key not in bare)

    def empty(self):
        """Return whether nothing of any image is there."""
        return not self.names() and not self.trash() and not self.objects()

    @contextlib.contextmanager
    def image(self, name, **how):
        """Yield an open image."""
        image = self.rbd.Image(self.ioctx, name, **how)
        try:
            yield image
        finally:
            image.close()

    @contextlib.contextmanager
    def clone_format(self, number):
        """Have clones made in the old format, 1, or the new one, 2."""
        self.cluster.admin.conf_set("rbd_default_clone_format", str(number))
        try:
            yield
        finally:
            self.cluster.admin.conf_set("rbd_default_clone_format", "auto")

    def clone(self, parent, name, number):
        """Clone an image's snapshot as Nova and Cinder do."""
        with self.clone_format(number):
            self.rbd.RBD().clone(self.ioctx, parent, "snap", self.ioctx, name, self.rbd.RBD_FEATURE_LAYERING)
