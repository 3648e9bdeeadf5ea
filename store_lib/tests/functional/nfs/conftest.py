"""Stores on real NFS shares, inside the guest.

``tools/run-tests nfs``, or ``tools/guest run -- .venv/bin/python -m pytest store_lib/tests/functional/nfs``.  Each test
prints what it saw: with pytest's -rP it is shown of those that passed, too.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from store_lib.tests import support
from store_lib.tests.functional.nfs.watchdog import Watchdog
from store_lib.tests.relay import Relay

TOP = pathlib.Path(__file__).resolve().parents[4]
SERVER = TOP / "tools/guest.d/nfs-server"
ROOT = pathlib.Path("/nfsroot")
#: Where the server itself listens.
PORT = 2050
#: Seconds for one call to the server, in tests where it does not answer.
TIMEOUT = 3.0
#: Versions that what a mount does is asked of: every day of one, in long runs of the other, too.
VERSIONS = ["4.2", pytest.param("3", marks=pytest.mark.long)]
#: Mount points that several tests use.
LASTING: set[str] = set()
#: What ends with the guest.
LEFT_RUNNING: list[object] = []
#: Seconds for a command that mounts or unmounts, and for a test, on a busy machine.
PATIENCE, LIMIT = 100.0, 300


def in_the_guest_alone(items, folder, suite, limit):
    """Have the tests of a folder skipped outside the guest, and watched inside: each has so many seconds."""
    for item in items:
        if folder in pathlib.Path(item.fspath).parents:
            if "GUEST" not in os.environ:
                item.add_marker(pytest.mark.skip(reason=f"runs in the guest: tools/run-tests '{suite}'"))
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(limit))


def pytest_collection_modifyitems(items):
    in_the_guest_alone(items, pathlib.Path(__file__).parent, "nfs", LIMIT)


def run(*command, check=True):
    """Run a command to its end; one that hangs in the kernel, where it can't be killed, is left behind."""
    # By its path: looking for a program in folder after folder, the guest makes a process for each that it tries.
    command = (shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin"), *command[1:])
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = None
        said.seek(0)
        words = " ".join(map(str, command))
        assert code is not None, f"{words} did not end within {PATIENCE:g} s: {said.read()}"
        assert code == 0 or not check, f"{words} ended with {code}: {said.read()}"


def mounted():
    """Return the mount points of NFS."""
    lines = pathlib.Path("/proc/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[2] in ("nfs", "nfs4")]


def show(**seen):
    """Print what a test saw."""
    print(", ".join(f"{name}: {value}" for name, value in seen.items()))


def server(action):
    """Have the NFS server start or stop."""
    run(SERVER, action)


def mount(share, point, options="", version="4.2"):
    """Mount a share."""
    words = [f"vers={version}", "nolock" if version == "3" else "", options]
    # Not by way of mount: starting a program takes long in the guest.
    run("mount.nfs", f"127.0.0.1:{share.export}", str(point), "-o", ",".join(filter(None, words)))


def mount_before(store, shares, options="", version="4.2"):
    """Mount shares where a store would, which takes long in the guest, for what os-brick imports."""
    points = {each["export"]: each["mount_point"] for each in store.describe()["shares"]}
    for share in shares:
        point = pathlib.Path(points[share.export])
        point.mkdir(parents=True)
        mount(share, point, options, version)


def unmount(point):
    """Unmount behind the back of who still has it open."""
    run("umount", "-i", "-l", str(point))


@pytest.fixture(scope="session")
def _relay():
    # One for all tests: the kernel knows a server of NFS 4 again on another port, and keeps the connection that it has.
    os.environ["PORT"] = str(PORT)
    os.environ["PATH"] = "/usr/bin:/usr/sbin:/bin:/sbin"  # for the commands of os-brick; see `run`
    server("up")
    made = Relay(PORT, listen=2049)
    # It ends with the guest, for a process holds its input: this one, when it exits, may have to tell the server that
    # something of a share is let go, and would wait for the answer for ever.
    keeper = subprocess.Popen(["sleep", "infinity"], pass_fds=[made.input], start_new_session=True)
    LEFT_RUNNING.extend([made, keeper])
    return made


@pytest.fixture(scope="session")
def _watchdog(_relay, pytestconfig):
    # What it says is not for the report of a test, which perhaps never comes.
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        watchdog = Watchdog(_relay.pid)
    yield watchdog
    watchdog.close()


@pytest.fixture(autouse=True)
def _watched(_watchdog, request):
    # The first fixture of a test, and so the last to be left.
    _watchdog.begin(request.node.nodeid, request.node.get_closest_marker("timeout").args[0])
    yield
    _watchdog.begin("", 0)


@pytest.fixture
def relay(_relay):
    """The relay between clients and the server; by port 2049, all of NFS 4 goes through it."""
    yield _relay
    _relay.set(stall=False)


@pytest.fixture(autouse=True)
def _unmount(_watched):
    yield
    if points := [each for each in mounted() if each not in LASTING]:
        run("umount", "-i", "-f", "-l", *reversed(points), check=False)


class Share:
    """A directory that is served.

    :ivar folder: where it is on the server.
    :ivar export: its path for clients.
    """

    _number = 0

    def __init__(self, parent="rw"):
        Share._number += 1
        self.export = f"/{parent}/{Share._number}" if parent in ("rw", "other") else f"/{parent}"
        self.folder = ROOT / self.export.strip("/")
        self.folder.mkdir(exist_ok=True)

    @property
    def names(self):
        """What lies in it, the marker not."""
        return [name for name in support.names(self.folder) if name != ".store_lib"]


@pytest.fixture
def make_share():
    """Return a function that makes a share on the server."""
    return Share


@pytest.fixture
def make_nfs(make_stores, tmp_path):
    """Return a function that makes a store on a share, mounted and marked.

    The share is mounted here and the store only verifies it, which takes less time, or by the store with `by_store`.
    """

    def make(share, version="4.2", *, prepare=True, by_store=False, kind="nfs", threads=None, **options):
        point = tmp_path / "mnt"
        if not by_store and kind == "nfs" and "nfs_mount" not in options:
            point = tmp_path / f"mnt{len(mounted())}"
            point.mkdir()
            mount(share, point, options.get("nfs_mount_options", ""), version)
            options["nfs_mount"] = "false"
        own = {
            "nfs_host": "127.0.0.1",
            "nfs_export": share.export,
            "nfs_version": version,
            "nfs_mount_options": "",
            "nfs_mount_point_base": point,
            "filesystem_store_timeout": 60,
            "retry_attempts": 1,
            "probe_interval": 0,
            "probe_timeout": 60,
        }
        options = {name: value for name, value in {**own, **options}.items() if value not in (None, "")}
        if version == "3" and kind == "nfs":
            options["nfs_mount_options"] = ",".join(filter(None, ["nolock", options.get("nfs_mount_options")]))
        lines = ["[DEFAULT]", f"enabled_backends = it:{kind}", "[it]", *(f"{k} = {v}" for k, v in options.items())]
        store = make_stores("\n".join(lines) + "\n", threads=threads)["it"]
        if prepare:
            store.initialise()
        return store

    return make


@pytest.fixture
def watch():
    """Return a function that runs something that must fail within a time, and returns the error and prints both."""

    def watched(function, within, expected):
        began = time.monotonic()
        with pytest.raises(expected) as raised:
            function()
        took = time.monotonic() - began
        print(f"{took:6.2f} s  {type(raised.value).__name__}: {raised.value}")
        assert took < within, f"it took {took:.2f} s"
        return raised.value

    return watched
