"""Block devices of a real iSCSI target, both in the guest's kernel.

``tools/run-tests "cinder on block devices"``, or
``tools/guest run -- .venv/bin/python -m pytest store_lib/tests/functional/cinder_block``
"""

import functools
import importlib.util
import os
import pathlib
import subprocess
import threading
import time
import types

import pytest

from store_lib.drivers.cinder.base import connector_of
from store_lib.drivers.cinder.host import Host
from store_lib.tests.functional.cinder_block.cloud import LIMIT, Cloud
from store_lib.tests.functional.cinder_block.stand_in import StandIn
from store_lib.tests.functional.cinder_block.target import Target, log_out
from store_lib.tests.support import until

TOP = pathlib.Path(__file__).resolve().parents[4]
PARTS = TOP / "tools/guest.d"
#: Seconds for what takes some on a busy machine.
PATIENCE = 120
#: By how much shorter os-brick's pauses are here, which it makes between looks at devices that are there by then.
HASTE = 4


def pytest_collection_modifyitems(items):
    """Have tests run in the guest alone, and those with a Cinder at the end: it keeps the processor busy."""
    for item in items:
        if pathlib.Path(__file__).parent in item.path.parents:
            if "GUEST" not in os.environ:
                item.add_marker(pytest.mark.skip(reason="runs in the guest: tools/guest"))
            item.add_marker(pytest.mark.timeout(3 * LIMIT if item.get_closest_marker("long") else LIMIT))
    if "GUEST" in os.environ:
        items.sort(key=lambda item: "cloud" in getattr(item, "fixturenames", ()))


def tool(action):
    """Have the guest become a host of block devices."""
    # Daemons keep what they inherit.
    subprocess.run([PARTS / "block-host", action], check=True, stdin=subprocess.DEVNULL, timeout=LIMIT)


@pytest.fixture(scope="session")
def _up():
    from oslo_concurrency import processutils  # a part of the extra, which is asked for only here

    found = importlib.util.spec_from_file_location("commands", PARTS / "commands.py")
    assert found
    assert found.loader
    commands = importlib.util.module_from_spec(found)
    found.loader.exec_module(commands)
    starter = commands.start()
    commands.use(processutils, starter)
    tool("up")
    with pytest.MonkeyPatch.context() as patches:
        hasten(patches)
        yield
    commands.stop(starter)


def hasten(patches):
    """Have os-brick look for devices more often."""
    import tenacity
    from os_brick import utils
    from os_brick.initiator.connectors import iscsi

    def sleep(seconds):
        time.sleep(seconds / HASTE)

    retrying = {"Retrying": functools.partial(tenacity.Retrying, sleep=sleep)}
    patches.setattr(iscsi, "time", types.SimpleNamespace(sleep=sleep, time=time.time))
    patches.setattr(utils, "tenacity", types.SimpleNamespace(**{**vars(tenacity), **retrying}))


@pytest.fixture(scope="class")
def multipathd(_up):
    """Have several paths to a device become one for the time of the test, or of the class of tests."""
    tool("multipath")
    yield
    tool("singlepath")


@pytest.fixture(scope="session")
def cloud(_up):
    """Return a Cinder with the volume groups lvm1 and lvm2; it ends with the guest."""
    tool("groups")
    return Cloud()


@pytest.fixture(scope="session")
def stand_in(_up):
    """Return what answers as a Cinder would, with real devices."""
    made = StandIn()
    yield made
    log_out()
    made.stop()


@pytest.fixture
def make_target(_up):
    """Return a function that makes a target with one volume; after the test nothing of it may be on this host."""
    made = []

    def make(*arguments):
        made.append(Target(*arguments))
        return made[-1]

    yield make
    log_out()
    for target in made:
        target.remove()


@pytest.fixture
def make_connector(make_stores, tmp_path):
    """Return a function that makes the connector; its keyword arguments are options of the store."""

    def make(**options):
        lines = [f"{name} = {value}" for name, value in options.items()]
        text = f"""[DEFAULT]
enabled_backends = it:cinder
[it]
cinder_store_auth_address = http://127.0.0.1:1
cinder_store_user_name = glance
cinder_store_password = a secret
cinder_store_project_name = service
cinder_mount_point_base = {tmp_path}/mnt
probe_interval = 0
"""
        return connector_of(Host(make_stores(text + "\n".join(lines))["it"].settings), "iscsi")

    return make


def left():
    """Return what of iSCSI's is on this host: devices, maps of several paths, and sessions."""
    found = [path.name for path in pathlib.Path("/sys/class/block").glob("sd*")]
    found += [path.parts[4] for path in pathlib.Path("/sys/class/block").glob("dm-*/dm/uuid") if _is_map(path)]
    return found + [path.name for path in pathlib.Path("/sys/class/iscsi_session").glob("session*")]


def _is_map(path):
    return path.read_text().startswith("mpath-")


def nothing_left():
    """Wait until nothing is."""
    until(lambda: not left(), PATIENCE)


def in_time(step):
    """Return what a step returns, or fail as it fails, though not later than a device may hang."""
    results, problems = [], []

    def run():
        try:
            results.append(step())
        except BaseException as error:
            problems.append(error)

    threading.Thread(target=run, daemon=True).start()
    until(lambda: results or problems, PATIENCE)
    if problems:
        raise problems[0]
    return results[0]
