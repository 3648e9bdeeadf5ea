"""A real Cinder with LVM, whose volumes come to this host by iSCSI; only in long runs: it takes minutes to start."""

import pathlib
import shlex
import subprocess
import threading

import pytest

from store_lib import errors
from store_lib.tests.functional.cinder_block.conftest import LIMIT, TOP, left, nothing_left, tool
from store_lib.tests.support import MIB, Child, content, payload, until

FOLDER = pathlib.Path("/tmp/cinder")
SERVICE = TOP / "tools/services/cinder"
DATA = payload(3 * MIB)

pytestmark = [pytest.mark.long, pytest.mark.timeout(3 * LIMIT)]


def service(action, *options):
    """Start or stop Cinder."""
    none = subprocess.DEVNULL
    subprocess.run([SERVICE, action, FOLDER, *options], check=True, stdin=none, stdout=none, timeout=2 * LIMIT)


@pytest.fixture(scope="module")
def cloud(_up):
    """Return addresses of a Cinder with the volume groups lvm1 and lvm2."""
    tool("groups")
    service("start", "--lvm")
    yield dict(shlex.split(line)[0].split("=", 1) for line in (FOLDER / "env").read_text().splitlines())
    service("stop")


@pytest.fixture
def make_lvm(make_stores, cloud):
    """Return a function that makes a store of the volume type lvm1."""

    def make(**options):
        own = {
            "cinder_volume_type": "lvm1",
            "cinder_store_auth_address": cloud["AUTH_URL"],
            "cinder_store_user_name": "images",
            "cinder_store_password": "images-pw",
            "cinder_store_project_name": "images",
            "cinder_os_region_name": cloud["REGION"],
            "cinder_mount_point_base": FOLDER / "client",
            "probe_interval": 0,
            "retry_attempts": 1,
            # A command takes Cinder seconds here.
            "probe_timeout": LIMIT,
            "operation_timeout": 2 * LIMIT,
            "cinder_api_timeout": LIMIT,
            "cinder_state_transition_timeout": LIMIT,
            "cinder_delete_timeout": LIMIT,
        }
        lines = [f"{name} = {value}" for name, value in (own | options).items()]
        return make_stores("\n".join(["[DEFAULT]", "enabled_backends = it:cinder", "[it]", *lines]) + "\n")["it"]

    return make


def volumes():
    """Return the logical volumes of the group."""
    told = subprocess.run(
        ["lvs", "--noheadings", "-o", "lv_name", "lvm1"], check=True, capture_output=True, text=True, timeout=LIMIT
    )
    return told.stdout.split()


def add(store, told):
    """Add an image whose second half never comes."""

    def halves():
        yield DATA[: 2 * MIB]
        pathlib.Path(told).touch()
        threading.Event().wait()

    store.add("an-image", halves(), len(DATA))


def test_a_killed_process(make_lvm, tmp_path):
    """A sweep of another process takes device, session, attachment and volume away."""
    store, told = make_lvm(part_size=MIB // 16), tmp_path / "told"
    with Child(add, store, told) as child:
        until(lambda: (told.exists() and volumes()) or child.ended(), LIMIT)
        until(lambda: len(left()) >= 2 or child.ended(), LIMIT)  # a device and a session
        child.kill(9)
        child.wait()
    until(lambda: store.sweep(older_than=0) and not volumes(), LIMIT)
    nothing_left()


@pytest.mark.parametrize("multipath", [False, True])
def test_an_image(request, make_lvm, multipath):
    """It is added, read and deleted, over one path or over two; then nothing of it is anywhere."""
    if multipath:
        request.getfixturevalue("multipathd")
    store = make_lvm(cinder_use_multipath=multipath)
    record = store.add("an-image", DATA, len(DATA))
    nothing_left()
    (volume,) = volumes()
    assert record.location.uri.rpartition("/")[2] in volume
    assert content(store, record.location) == DATA
    nothing_left()
    store.delete(record.location)
    assert volumes() == []
    with pytest.raises(errors.NotFound):
        store.stat(record.location)
