"""Servers and stores for the tests of the http store."""

import pathlib
import ssl

import pytest
import trustme

from store_lib.tests.functional.http.server import Server


def pytest_collection_modifyitems(items):
    """Mark the tests of this folder."""
    for item in items:
        if pathlib.Path(__file__).parent in item.path.parents:
            item.add_marker("functional")


@pytest.fixture(scope="session")
def authority():
    """Return a certificate authority that nobody knows."""
    return trustme.CA()


@pytest.fixture
def web():
    """Return a plain web server."""
    with Server() as server:
        yield server


@pytest.fixture
def other_web():
    """Return a second one: another origin."""
    with Server() as server:
        yield server


@pytest.fixture
def secure_web(authority):
    """Return a web server with TLS, called localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    with Server(context, "localhost") as server:
        yield server


@pytest.fixture
def ca_file(authority, tmp_path):
    """Return the path of the authority's certificate."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def make_http_store(make_stores):
    """Return a function that makes one http store; its keyword arguments are options."""

    def make(**options):
        options = {"retry_attempts": 1, "probe_interval": 0, **options}
        lines = ["[DEFAULT]", "enabled_backends = it:http", "[it]", *(f"{key} = {options[key]}" for key in options)]
        return make_stores("\n".join(lines) + "\n")["it"]

    return make


@pytest.fixture
def store(make_http_store):
    """Return an http store whose requests are tried three times."""
    return make_http_store(retry_attempts=3)


@pytest.fixture(autouse=True)
def _counted(no_leaks):
    pass
