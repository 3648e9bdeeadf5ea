"""The swift store does what every store does, on a real Swift with Keystone."""

import contextlib
import dataclasses
import shutil
import uuid

import pytest

from store_lib.conformance import Conformance, behaviours
from store_lib.drivers.swift import SwiftDriver
from store_lib.interface import KIB
from store_lib.tests.functional.swift.support import client, own_account

KEY = "signs-temporary-urls"

pytestmark = pytest.mark.usefixtures("one_login")


@pytest.fixture(scope="module")
def signing(server):
    """Have the account honour URLs that are signed with KEY."""
    client(server).post_account({"X-Account-Meta-Temp-URL-Key": KEY})


class SmallSwift(SwiftDriver):
    """Begins with segments at 128 KiB, so that the tests need four of them and not twenty."""

    def _limits(self, abilities):
        return dataclasses.replace(super()._limits(abilities), whole_max=128 * KIB)


class TestOwnAccount(Conformance):
    """All images in the account of the service."""

    other_id = "other"
    keep_stores = True
    drivers = {"swift": SmallSwift}  # noqa: RUF012 (read only)
    container = f"images-{uuid.uuid4().hex[:8]}"
    unreachable = {"swift_store_auth_address": "http://127.0.0.1:9/v3"}  # noqa: RUF012 (read only)
    foreign = ("swift+config://ref1/elsewhere/image", "swift+https://server/v1/AUTH_1/images/image")

    @pytest.fixture
    def store_config(self, server, signing):
        """Return the configuration of two stores in one account."""
        self.server = server
        group = own_account(server, container=self.container, swift_temp_url_key=KEY)
        other = own_account(server, container=f"{self.container}-other")
        return f"[DEFAULT]\nenabled_backends = it:swift, other:swift\n[it]\n{group}\n[other]\n{other}"

    @contextlib.contextmanager
    def vanish(self, place):
        """Have the disk of the servers unmounted."""
        disk = self.server.folder / "devices/d1"
        disk.rename(disk.with_name("away"))
        try:
            yield
        finally:
            shutil.rmtree(disk, ignore_errors=True)
            disk.with_name("away").rename(disk)


class _Tenants(Conformance):
    """A container for each image."""

    keep_stores = True
    drivers = {"swift": SmallSwift}  # noqa: RUF012 (read only)
    container = f"tenants-{uuid.uuid4().hex[:8]}"
    foreign = ("swift+config://ref1/images/image", "swift+https://server/v1/AUTH_1/images/image")

    @pytest.fixture
    def store_config(self, server):
        """Return the configuration of a store that works with its own credentials, since nobody calls."""
        group = own_account(server, container=self.container, swift_store_multi_tenant="true")
        return f"[DEFAULT]\nenabled_backends = it:swift\n[it]\n{group}"


class TestTenants(_Tenants):
    """What differs by that: making and removing the container, and what proves that an image is not there."""

    numbers = (4, 5, 11, 13, 15, 16, 17, 32, 36, 51, 54, 55, 56, 64, 69, 80, 100)


@pytest.mark.long
class TestTenantsLong(_Tenants):
    """What uses most of the driver."""

    numbers = (25, 26, 40, 63, 65, 81, 90, 95)


for _class in (TestTenants, TestTenantsLong):
    for _each in behaviours():
        if _each.number not in _class.numbers:
            setattr(_class, _each.test, None)
