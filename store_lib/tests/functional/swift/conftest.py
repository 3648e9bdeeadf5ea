"""A real Swift with Keystone, made for these tests alone: they kill and hang its servers."""

import os
import pathlib
import shlex
import shutil
import socket
import subprocess
import tempfile
import uuid

import pytest

from store_lib.drivers import _keystone
from store_lib.tests.functional.swift.support import client, shared_session, wipe

TOOL = pathlib.Path(__file__).resolve().parents[4] / "tools/services/swift"


class Server:
    """The servers of one folder."""

    def __init__(self, folder):
        self.folder = folder
        self._disturbed = False

    def run(self, action, *servers):
        """Have the tool do something with some of the servers, or with all."""
        found = subprocess.run([TOOL, action, self.folder, *servers], capture_output=True, text=True, timeout=400)
        assert found.returncode == 0, found.stderr

    def start(self, *servers):
        """Start what does not run, without names what most tests need, and wait until it answers."""
        self.run("start", *(servers or ["proxy"]))

    def stop(self, *servers):
        """End servers."""
        self._disturbed = True
        self.run("stop", *servers)

    def restore(self):
        """Have all servers run again, if anything was done to them."""
        if self._disturbed:
            self.start()
            self._disturbed = False

    def forget(self):
        """Have Swift forget which tokens are good, as it does after some minutes: it asks Keystone again."""
        with socket.create_connection(("127.0.0.1", int(self.env["MEMCACHED_PORT"])), 60) as memcached:
            memcached.sendall(b"flush_all\r\n")
            assert memcached.recv(100) == b"OK\r\n"

    @property
    def env(self):
        """What the tool tells of addresses and accounts."""
        lines = (self.folder / "env").read_text().splitlines()
        return {name: shlex.split(value)[0] for name, _, value in (line.partition("=") for line in lines)}

    def pid(self, name):
        """Return the process of a server, for what is to be done to it."""
        self._disturbed = True
        return int((self.folder / "run" / f"{name}.pid").read_text().split()[0])


def pytest_collection_modifyitems(items):
    """Let the first test wait until the servers are up, which takes minutes where they have to be installed."""
    here = pathlib.Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(600), append=False)


@pytest.fixture(scope="session")
def server():
    """Swift and Keystone, from nothing; STORE_LIB_SWIFT_DIR names a folder that was started and is left running."""
    given = os.environ.get("STORE_LIB_SWIFT_DIR")
    if given:
        found = Server(pathlib.Path(given))
        found.start()
        yield found
        return
    folder = pathlib.Path(tempfile.mkdtemp(prefix="store_lib-swift-"))
    made = Server(folder)
    try:
        made.start()
        yield made
    finally:
        made.run("stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def one_login():
    """Have all stores of an account log in once; for tests that are not about logging in, which takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_keystone, "make_session", shared_session)
        yield


@pytest.fixture
def container(server):
    """Return the name of a container of this test; all servers run again at its end."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    client(server).put_container(name)
    yield name
    server.restore()
    wipe(client(server), name)
