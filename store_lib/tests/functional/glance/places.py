"""The stores under a Glance: one class for each kind of storage.

A kind that comes later is one class here and one row in the fixture ``places`` of ``conftest.py``.
"""

import contextlib
import http.server
import threading

from store_lib.tests import support


class Place:
    """One store of a Glance's configuration."""

    #: What stands in ``enabled_backends``.
    kind = ""
    #: Whether images can be added.
    writable = True

    def __init__(self, store):
        self.store = store

    def section(self):
        """Return the options of the store's section."""
        raise NotImplementedError

    def objects(self):
        """Return the names of everything in the store, in whatever state: images, parts, temporary files."""
        raise NotImplementedError

    def properties(self):
        """Return what stores-info detail tells of the store."""
        raise NotImplementedError

    def url(self, image):
        """Return the location of an image."""
        raise NotImplementedError

    def take_away(self, image):
        """Remove an image behind Glance's back."""
        raise NotImplementedError

    def holds(self, image):
        """Return whether the store holds something of an image."""
        return any(image in name for name in self.objects())


class FilePlace(Place):
    """A directory."""

    kind = "file"

    def __init__(self, store, folder, **options):
        super().__init__(store)
        self.folder = folder
        self._options = options

    def section(self):
        """Return the options of the store's section."""
        return {"filesystem_store_datadir": str(self.folder), **self._options}

    def objects(self):
        """Return the names of all files, hidden ones included."""
        return set(support.names(self.folder)) if self.folder.is_dir() else set()

    def url(self, image):
        """Return the location of an image."""
        return f"file://{self.folder}/{image}"

    def take_away(self, image):
        """Remove an image behind Glance's back."""
        (self.folder / image).unlink()

    def properties(self):
        """Return what stores-info detail tells of the store."""
        return {"data_dir": str(self.folder), "chunk_size": 65536, "thin_provisioning": False}


class HttpPlace(Place):
    """A web server with images, which belongs to somebody else."""

    kind = "http"
    writable = False

    def __init__(self, store, web):
        super().__init__(store)
        self.web = web

    def section(self):
        """Return the options of the store's section."""
        return {"store_description": "somebody else's"}

    def objects(self):
        """Return the paths that the server has."""
        return set(self.web.files)

    def properties(self):
        """Return what stores-info detail tells of the store."""
        return {}


class _Server(http.server.ThreadingHTTPServer):
    """Serves `files`, bytes by path."""

    daemon_threads = True
    files: dict[str, bytes]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        data = self.server.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        first, last = self._range(len(data))
        self.send_response(200 if first is None else 206)
        if first is not None:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            data = data[first : last + 1]
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who reads may have enough
            self.wfile.write(data if body else b"")

    def _range(self, size):
        asked = self.headers.get("Range", "")
        if not asked.startswith("bytes="):
            return None, None
        first, _, last = asked.removeprefix("bytes=").partition("-")
        return int(first), min(int(last or size), size - 1)

    def log_message(self, *arguments):
        """Say nothing."""


class Web:
    """A web server on loopback; `files` are bytes by path."""

    def __init__(self):
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self.files = self._server.files = {}
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def put(self, path, data):
        """Offer bytes and return their address."""
        self.files[path] = data
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def close(self):
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
