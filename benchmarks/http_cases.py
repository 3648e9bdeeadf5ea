"""Reading an image from a web server."""

from __future__ import annotations

import http.server
import multiprocessing
import os
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Target
from benchmarks.file_cases import made_input
from benchmarks.measure import GIB, Result, measured
from benchmarks.sides import side

__all__ = ["CASES"]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    path_served: str

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._begin()

    def do_GET(self) -> None:
        size = self._begin()
        with open(self.path_served, "rb") as file:
            offset = 0
            while offset < size:
                offset += os.sendfile(self.connection.fileno(), file.fileno(), offset, size - offset)

    def _begin(self) -> int:
        size = os.path.getsize(self.path_served)
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.send_header("ETag", '"1"')
        self.end_headers()
        return size


def _serve(path: str, pipe: Any) -> None:
    handler = type("Handler", (_Handler,), {"path_served": path})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        pipe.send(server.server_port)
        server.serve_forever()


def _get(name: str, folder: Path) -> Result:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(str(made_input(folder, GIB)), theirs))
    server.start()
    try:
        uri = f"http://127.0.0.1:{ours.recv()}/image"
        stores = side(name)({"DEFAULT": {"enabled_backends": "web:http"}, "glance_store": {"default_backend": "web"}})
        stores.size(uri)
        result = measured(lambda: stores.get(uri))
        assert result.size == GIB
        return result
    finally:
        server.terminate()
        server.join()


CASES = [Case("http-get-1g", "read 1 GiB from a web server", _get, [], [Target("throughput", 1.0)])]
