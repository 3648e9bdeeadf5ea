"""The swift store does what every store does, on a real Swift with Keystone."""

import contextlib
import copy
import dataclasses
import shutil
import uuid
from typing import Any, ClassVar

import pytest

from store_lib.conformance import Conformance, behaviours
from store_lib.drivers.swift import SwiftDriver
from store_lib.drivers.swift.tenancy import TenantAccounts
from store_lib.interface import KIB
from store_lib.tests.functional.swift.support import Request, client, own_account

KEY = "signs-temporary-urls"

pytestmark = pytest.mark.usefixtures("one_login")


@pytest.fixture(scope="module")
def signing(server):
    """Have the accounts honour URLs that are signed with KEY."""
    for user in ("glance", "demo"):
        client(server, user).post_account({"X-Account-Meta-Temp-URL-Key": KEY})


class SmallSwift(SwiftDriver):
    """Begins with segments at 128 KiB, so that the tests need four of them and not twenty."""

    def _limits(self, abilities):
        return dataclasses.replace(super()._limits(abilities), whole_max=128 * KIB)


class Called(TenantAccounts):
    """Accounts of whom `caller` tells, where a check names nobody."""

    #: Context of a request.
    caller: Any = None

    def _tokens(self, ctx):
        return super()._tokens(self._with_caller(ctx))

    def target(self, ctx, *, long):
        return super().target(self._with_caller(ctx), long=long)

    def _with_caller(self, ctx):
        found = copy.copy(ctx)
        found.caller = ctx.caller or self.caller
        return found


@pytest.fixture(scope="module")
def user(server):
    """Have a request of one user served where a check names nobody."""
    Called.caller = Request(server, "demo")


class CalledSwift(SmallSwift):
    """Works for a user in the user's own project, with the user's token."""

    def __init__(self, settings, runtime):
        super().__init__(settings, runtime)
        self._tenancy = Called(settings, runtime, self._references)


class OnSwift(Conformance):
    """Two stores of one cluster, in containers of their own."""

    other_id = "other"
    keep_stores = True
    drivers = {"swift": SmallSwift}  # noqa: RUF012 (read only)
    unreachable = {"swift_store_auth_address": "http://127.0.0.1:9/v3"}  # noqa: RUF012 (read only)
    #: Options of both stores.
    options: ClassVar[dict[str, str]] = {}
    container = "images"

    @pytest.fixture
    def store_config(self, server, signing):
        """Return the configuration of the two."""
        self.server = server
        group = own_account(server, container=self.container, swift_temp_url_key=KEY, **self.options)
        other = own_account(server, container=f"{self.container}-other", **self.options)
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


class TestOwnAccount(OnSwift):
    """All images in the account of the service."""

    container = f"images-{uuid.uuid4().hex[:8]}"
    foreign = ("swift+config://ref1/elsewhere/image", "swift+https://server/v1/AUTH_1/images/image")


@pytest.mark.usefixtures("user")
class OfTenants(OnSwift):
    """A container for each image, in the account of the project of a user whose requests the stores serve."""

    drivers = {"swift": CalledSwift}  # noqa: RUF012 (read only)
    options: ClassVar[dict[str, str]] = {"swift_store_multi_tenant": "true"}
    container = f"tenants-{uuid.uuid4().hex[:8]}"
    foreign = ("swift+config://ref1/images/image", "swift+https://server/v1/AUTH_1/images/image")


class TestTenants(OfTenants):
    """What differs by that: making and removing the container, and what proves that an image is not there."""

    existing = (2, 4, 5, 11, 13, 15, 16, 17, 18, 32, 35, 36, 86, 100)
    committed = (45, 51, 52, 53, 54, 55, 56, 62, 64, 65, 69)
    numbers = (*existing, *committed, 80, 95, 132, 134, 136, 140)


@pytest.mark.long
class TestTenantsWhole(OfTenants):
    """All of it."""


@pytest.mark.long
class TestTenantsOfNobody(OfTenants):
    """Without a request, as from the command, in the account of the service's own project."""

    drivers = {"swift": SmallSwift}  # noqa: RUF012 (read only)


for _each in behaviours():
    if _each.number not in TestTenants.numbers:
        setattr(TestTenants, _each.test, None)
