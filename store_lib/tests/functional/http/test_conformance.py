"""The http store keeps what every store that reads promises."""

import email.utils
import itertools

import pytest

from store_lib.conformance import Conformance
from store_lib.tests.functional.http.server import Server


class TestHttp(Conformance):
    """A web server on loopback; images are put there by other means."""

    foreign = ("ftp://127.0.0.1/image",)

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls):
        with Server() as server:
            yield server

    @pytest.fixture
    def store_config(self, server):
        numbers = itertools.count()
        nowhere = "127.0.0.1:9"  # port "discard": nobody listens there
        self.unreachable = {"http_proxy_information": f"all:{nowhere}", "http_store_probe_url": f"http://{nowhere}/"}
        now = email.utils.formatdate(usegmt=True)
        self.seed = lambda data: server.put(f"/{next(numbers)}", data, modified=now)
        return "[DEFAULT]\nenabled_backends = it:http\n"
