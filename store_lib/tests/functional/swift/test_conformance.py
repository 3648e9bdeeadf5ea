"""The swift store does what every store does, on a real Swift with Keystone."""

import contextlib
import shutil
import uuid

import pytest

from store_lib.conformance import Conformance
from store_lib.tests.functional.swift.support import own_account


class TestOwnAccount(Conformance):
    """All images in the account of the service."""

    other_id = "other"
    keep_stores = True
    container = f"images-{uuid.uuid4().hex[:8]}"
    unreachable = {"swift_store_auth_address": "http://127.0.0.1:9/v3"}  # noqa: RUF012 (read only)
    foreign = ("swift+config://ref1/elsewhere/image", "swift+https://server/v1/AUTH_1/images/image")

    @pytest.fixture
    def store_config(self, server):
        """Return the configuration of two stores in one account."""
        self.server = server
        group = own_account(server, container=self.container)
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
