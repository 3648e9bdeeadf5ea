"""A store behind an HTTP proxy that wants a password: one that works, one that stalls, and none."""

import contextlib
import selectors
import socket
import socketserver
import threading
import time
from typing import Any

import pytest

from store_lib import errors
from store_lib.tests.functional.s3.conftest import LARGE
from store_lib.tests.relay import Relay
from store_lib.tests.support import content, payload

PASSWORD = "theproxysword"


class Proxy(socketserver.StreamRequestHandler):
    """One connection through the proxy."""

    server: Any

    def handle(self):
        words = self.rfile.readline().decode().split()
        headers = list(iter(self.rfile.readline, b"\r\n"))
        self.server.seen.append((words[0], any(each.lower().startswith(b"proxy-authorization:") for each in headers)))
        host, _, port = words[1].rpartition(":")
        with socket.create_connection((host, int(port)), 30) as other, contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            self.pump(other)

    def pump(self, other):
        """Pass bytes on, both ways, until one side ends."""
        way: dict[Any, socket.socket] = {self.connection: other, other: self.connection}
        with selectors.DefaultSelector() as selector:
            for each in way:
                selector.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(60):
                    side: Any = key.fileobj
                    data = side.recv(65536)
                    if not data:
                        return
                    way[side].sendall(data)


class Server(socketserver.ThreadingTCPServer):
    """The proxy."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Proxy)
        self.seen = []


@pytest.fixture
def proxy():
    """Return a proxy that runs."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def through(port):
    """Return the option for a proxy at a port."""
    return {"s3_store_proxy": f"http://someone:{PASSWORD}@127.0.0.1:{port}"}


def test_a_proxy_that_works(make_store, bucket, proxy):
    """Everything goes through it, over TLS, and it gets the password."""
    store = make_store(**through(proxy.server_address[1]))
    record = store.add("it", payload(LARGE), LARGE)
    assert content(store, record.location) == payload(LARGE)
    assert set(proxy.seen) == {("CONNECT", True)}
    assert PASSWORD not in str(store.options())


def test_a_proxy_that_stalls(make_store, bucket, proxy):
    """It is an error in bounded time that does not tell the password; the store works once the proxy does."""
    with Relay(proxy.server_address[1]) as relay:
        store = make_store(operation_timeout=4, connect_timeout=4, probe_timeout=8, **through(relay.port))
        record = store.add("it", payload(1000))
        relay.set(stall=True)
        began = time.monotonic()
        with pytest.raises(errors.StoreUnavailable) as raised:
            store.stat(record.location)
        assert time.monotonic() - began < 60
        assert PASSWORD not in str(raised.value)
        relay.set(stall=False)
        assert content(store, record.location) == payload(1000)


def test_no_proxy_there(make_store, bucket):
    """The store is down, and the reason names the option, not the password."""
    health = make_store(**through(1)).probe()
    assert health.status.value == "down"
    assert "s3_store_proxy" in health.reason
    assert PASSWORD not in health.reason
