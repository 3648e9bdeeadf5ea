"""A real web server for tests, on loopback, with the faults that tests ask for."""

import contextlib
import gzip
import hashlib
import http.server
import re
import socket
import threading
import typing
import urllib.parse

#: Far enough back to be a time that tells versions apart.
LONG_AGO = "Wed, 01 Jan 2020 00:00:00 GMT"


class Resource:
    """What lies at one path.

    :param data: its bytes.
    :param ranges: whether ranges of it are served.
    :param etag: whether it has one; `modified`: its time, or None.
    :param fault: ``function(handler, resource)`` that answers instead when it returns True.
    """

    def __init__(self, data=b"", *, ranges=True, etag=True, modified=LONG_AGO, fault=None):
        self.data = data
        self.ranges = ranges
        self.has_etag = etag
        self.modified = modified
        self.fault = fault

    @property
    def etag(self):
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"' if self.has_etag else None


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET with whole files and single ranges."""

    server: typing.Any
    protocol_version = "HTTP/1.1"
    timeout = 60

    def setup(self):
        super().setup()
        self.server.owner.connections += 1

    def do_GET(self):
        owner = self.server.owner
        path = urllib.parse.urlsplit(self.path).path
        owner.requests.append((path, dict(self.headers)))
        resource = owner.resources.get(path)
        if resource is None:
            return self.answer(404, b"nothing here, and a SECRET of the server")
        if resource.fault is None or not resource.fault(self, resource):
            self.serve(resource)
        return None

    def answer(self, status, body=b"", **headers):
        """Send a whole answer."""
        self.start(status, len(body), **headers)
        self.wfile.write(body)

    def start(self, status, length=None, **headers):
        """Send what stands before the body."""
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def named(self, resource):
        """Return the headers that tell the version."""
        found = {"ETag": resource.etag, "Last_Modified": resource.modified}
        return {name: value for name, value in found.items() if value}

    def span(self, resource):
        """Return first and last byte that are asked for; None: all of it; False: there are none."""
        size = len(resource.data)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        pin = self.headers.get("If-Range")
        if not asked or not resource.ranges or (pin and pin not in (resource.etag, resource.modified)):
            return None
        first = int(asked[1])
        return (first, min(int(asked[2] or size), size - 1)) if first < size else False

    def serve(self, resource):
        """Answer as a good server does."""
        head, body = self.good(resource)
        self.start(*head[0], **head[1])
        self.wfile.write(body)

    def good(self, resource):
        """Return the arguments of `start` and the body of a good answer."""
        size, named, found = len(resource.data), self.named(resource), self.span(resource)
        if found is None:
            return ((200, size), named), resource.data
        if found is False:
            return ((416, 0), {"Content_Range": f"bytes */{size}"}), b""
        first, last = found
        named["Content_Range"] = f"bytes {first}-{last}/{size}"
        return ((206, last + 1 - first), named), resource.data[first : last + 1]

    def drop(self):
        """End the connection so that the other side notices."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *details):
        pass


class _Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass  # clients that go away are part of the tests


class Server:
    """A web server in threads; use it in ``with``.

    :param context: of TLS, or None for plain http.
    :param host: what URLs call it.
    """

    def __init__(self, context=None, host="127.0.0.1", family=socket.AF_INET, handler=Handler):
        kind = type("_", (_Listener,), {"address_family": family})
        self._listener = kind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), handler)
        self._listener.owner = self
        if context:
            self._listener.socket = context.wrap_socket(
                self._listener.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._listener.server_address[1]
        self.base = f"{'https' if context else 'http'}://{host}:{self.port}"
        self.resources = {}
        self.requests = []
        self.connections = 0
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,), name="web server")

    def put(self, path, data=b"", **kinds):
        """Lay something at a path and return its URL."""
        self.resources[path] = Resource(data, **kinds)
        return self.base + path

    def redirect(self, path, target, status=302):
        """Have a path lead somewhere else, and return its URL."""

        def away(handler, resource):
            handler.answer(status, b"see there", Location=target)
            return True

        return self.put(path, fault=away)

    def asked(self, path):
        """Return the headers of the requests for a path."""
        return [headers for asked, headers in self.requests if asked == path]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *details):
        self.over.set()
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()


# -- faults -----------------------------------------------------------------------------------------------------------


def times(count, fault):
    """Return a fault that happens `count` times and then no more."""
    left = [count]

    def now_and_then(handler, resource):
        if left[0] <= 0:
            return False
        left[0] -= 1
        return fault(handler, resource)

    return now_and_then


def dropping(after):
    """Return a fault: the connection ends after some bytes of the body."""

    def fault(handler, resource):
        head, body = handler.good(resource)
        handler.start(*head[0], **head[1])
        handler.wfile.write(body[:after])
        handler.drop()
        return True

    return fault


def status(number, body=b"words of the server", **headers):
    """Return a fault: an answer with this status."""

    def fault(handler, resource):
        handler.answer(number, body, **headers)
        return True

    return fault


def silent(handler, resource):
    """Say nothing for a long time."""
    handler.server.owner.over.wait(30)
    handler.drop()
    return True


def stalling(after):
    """Return a fault: some bytes of the body, and then nothing for a long time."""

    def fault(handler, resource):
        head, body = handler.good(resource)
        handler.start(*head[0], **head[1])
        handler.wfile.write(body[:after])
        return silent(handler, resource)

    return fault


def longer(handler, resource):
    """Send more bytes than announced."""
    head, body = handler.good(resource)
    handler.start(*head[0], **head[1])
    handler.wfile.write(body + b"more than that")
    return True


def compressing(handler, resource):
    """Compress although nobody asked for it."""
    handler.answer(200, gzip.compress(resource.data), Content_Encoding="gzip", **handler.named(resource))
    return True


def changing(data):
    """Return a fault: after the first answer breaks off, another file lies there."""

    def fault(handler, resource):
        dropping(len(resource.data) // 2)(handler, resource)
        resource.data, resource.fault = data, None
        return True

    return fault


def chunked(announced=True, extra=b""):
    """Return a fault that is none: the body comes in chunks, without a length."""

    def fault(handler, resource):
        head, body = handler.good(resource)
        handler.start(head[0][0], **head[1], Transfer_Encoding="chunked")
        for start in range(0, len(body), 50_000):
            piece = body[start : start + 50_000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if extra:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(extra), extra))
        handler.wfile.write(b"0\r\n\r\n")
        return True

    return fault
