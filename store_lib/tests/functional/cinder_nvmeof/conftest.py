"""Volumes of a real NVMe target that come over TCP, both ends in the guest's kernel, whose modules are built for that.

``tools/run-tests --long "cinder on NVMe over Fabrics"``, or, after ``tools/guest-modules``,
``tools/guest run -- .venv/bin/python -m pytest store_lib/tests/functional/cinder_nvmeof``
"""

import importlib.util
import os
import pathlib

import pytest

from store_lib.drivers.cinder.base import connector_of
from store_lib.drivers.cinder.host import Host
from store_lib.tests.functional.cinder_block import stand_in as servers
from store_lib.tests.functional.cinder_block.conftest import PARTS, tool
from store_lib.tests.functional.cinder_nvmeof.target import ADDRESSES, Target, disconnect

#: Seconds that a test may take.
LIMIT = 600


def pytest_collection_modifyitems(items):
    """Have tests run in the guest alone."""
    for item in items:
        if pathlib.Path(__file__).parent in item.path.parents:
            if "GUEST" not in os.environ:
                item.add_marker(pytest.mark.skip(reason="runs in the guest: tools/guest"))
            item.add_marker(pytest.mark.timeout(LIMIT))


@pytest.fixture(scope="session")
def _nvme():
    from oslo_concurrency import processutils  # a part of the extra, which is asked for only here

    found = importlib.util.spec_from_file_location("commands", PARTS / "commands.py")
    assert found
    assert found.loader
    commands = importlib.util.module_from_spec(found)
    found.loader.exec_module(commands)
    starter = commands.start()
    commands.use(processutils, starter)
    tool("nvme")
    yield
    commands.stop(starter)


@pytest.fixture
def make_target(_nvme):
    """Return a function that makes a target with one volume; after the test nothing of it may be on this host."""
    made = []

    def make(*arguments, **options):
        made.append(Target(*arguments, **options))
        return made[-1]

    yield make
    disconnect()
    for target in made:
        target.remove()


@pytest.fixture(scope="session")
def stand_in(_nvme):
    """Return what answers as a Cinder would, whose volumes are such targets."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(servers, "Target", Target)
        patches.setattr(servers, "PORTALS", ADDRESSES)
        made = servers.StandIn()
        yield made
        disconnect()
        made.stop()


@pytest.fixture
def make_connector(make_stores, stand_in):
    """Return a function that makes the connector; its keyword arguments are options of the store."""

    def make(**options):
        section = stand_in.section("it", probe_interval=0, **options)
        stores = make_stores(f"[DEFAULT]\nenabled_backends = it:cinder\n{section}\n")
        return connector_of(Host(stores["it"].settings), "nvmeof")

    return make
