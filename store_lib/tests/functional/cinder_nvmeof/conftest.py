"""Volumes of a real NVMe target that come over TCP, both ends in the guest's kernel, whose modules are built for that.

``tools/run-tests --long "cinder on NVMe over Fabrics"``, or, after ``tools/guest-modules``,
``tools/guest run -- .venv/bin/python -m pytest store_lib/tests/functional/cinder_nvmeof``
"""

import pytest

from store_lib.tests.functional.cinder_nvmeof.target import ADDRESSES, Target, disconnect, found
from store_lib.tests.functional.devices.fixtures import Protocol, make_connector, make_store, make_target, stand_in
from store_lib.tests.functional.devices.host import in_the_guest_alone, quick_commands, tool

__all__ = ["make_connector", "make_store", "make_target", "stand_in"]


def pytest_collection_modifyitems(items):
    """Have tests run in the guest alone."""
    in_the_guest_alone(__file__, items)


@pytest.fixture(scope="session")
def protocol():
    """Return NVMe over TCP, with this host set up for it."""
    with quick_commands():
        tool("nvme")
        yield Protocol("nvmeof", Target, ADDRESSES, found, disconnect)


@pytest.fixture(scope="class")
def several_paths():
    """Do nothing: the kernel makes one device of them."""
