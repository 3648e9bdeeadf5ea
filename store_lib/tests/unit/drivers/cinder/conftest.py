"""Stores on Cinder without a Cinder."""

import pytest

from store_lib.drivers.cinder.host import Host

VOLUME = "5c0f5a3e-95b1-4a53-9d6f-5c8f5d4f7c11"
LOGIN = {
    "cinder_store_auth_address": "http://127.0.0.1:1",
    "cinder_store_user_name": "glance",
    "cinder_store_password": "a secret",
    "cinder_store_project_name": "service",
}


@pytest.fixture
def make_cinder(make_stores, tmp_path):
    """Return a function that makes the store of an id; its keyword arguments are options, None leaves one out."""

    def make(name="volumes", **options):
        given = {**LOGIN, "cinder_mount_point_base": tmp_path / "mnt", **options}
        lines = [f"{option} = {value}" for option, value in given.items() if value is not None]
        return make_stores("\n".join(["[DEFAULT]", f"enabled_backends = {name}:cinder", f"[{name}]", *lines]))[name]

    return make


@pytest.fixture
def host(make_cinder):
    """Return this host as the driver sees it."""
    return Host(make_cinder().settings)
