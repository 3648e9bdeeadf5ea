"""Requests to one account: connections, tokens, answers."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import email.utils
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from store_lib import errors
from store_lib.drivers.swift import failures
from store_lib.interface import KIB, MIB, Context

__all__ = ["Account", "Answer", "Body", "Connections", "Listing", "TokenSource", "server_info"]

_CHUNK = 1 * MIB
#: Connections kept open for the next request.
_IDLE = 16
#: Bytes that a body is sent in, each well within the time that the server may be silent.
_BLOCK = 256 * KIB


class TokenSource(Protocol):
    """Where the tokens of an account come from.  Safe for threads."""

    #: Whether `renew` gets a token that must be good, so that Swift is to blame when it refuses that one, too.
    own: bool

    def headers(self) -> Mapping[str, str]:
        """Return the headers that prove who asks.

        :raises Forbidden: the credentials are refused.
        :raises StoreUnavailable: the identity service does not answer.
        """

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Get new credentials in place of those that were refused; return whether there are others now."""

    def close(self) -> None:
        """Give back what was borrowed; never raises."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """An answer whose body was read.

    :param headers: names in lower case.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300

    @property
    def etag(self) -> str:
        """The ETag without quotes, empty when there is none."""
        return self.headers.get("etag", "").strip('"')

    @property
    def modified(self) -> datetime.datetime | None:
        """When the object was written, UTC."""
        if "x-timestamp" in self.headers:
            return datetime.datetime.fromtimestamp(float(self.headers["x-timestamp"]), datetime.UTC)
        text = self.headers.get("last-modified")
        return email.utils.parsedate_to_datetime(text) if text else None

    @property
    def date(self) -> datetime.datetime | None:
        """The server's time of day."""
        text = self.headers.get("date")
        return email.utils.parsedate_to_datetime(text) if text else None

    def error(self) -> errors.StoreLibError:
        """Return the error that the status stands for."""
        return failures.answered(self.status, self.reason, self.headers.get("x-trans-id"))

    def check(self) -> Answer:
        """Return the answer itself.

        :raises StoreLibError: it is no success.
        """
        if not self.ok:
            raise self.error()
        return self


@dataclasses.dataclass(frozen=True)
class Listing:
    """An object in a container.

    :param modified: UTC.
    """

    name: str
    size: int
    etag: str
    modified: datetime.datetime


class Connections:
    """Connections of one process to any number of servers, reused; safe for threads.

    :param verify: whether certificates are verified, or the file of authorities.
    """

    def __init__(self, verify: bool | str, connect_timeout: float) -> None:
        self._verify = verify
        self._connect_timeout = connect_timeout
        self._idle: dict[str, collections.deque[Any]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def take(self, url: str, timeout: float | None) -> Any:
        """Return a connection that nobody else uses.

        :param timeout: seconds that the server may be silent.
        """
        with self._lock:
            waiting = self._idle.setdefault(url, collections.deque())
            connection = waiting.pop() if waiting else None
        if connection is None:
            connection = self._make(url)
        silence = None if timeout is None else max(timeout, 0.01)  # a deadline may pass just now
        connect = self._connect_timeout if silence is None else min(self._connect_timeout, silence)
        connection.requests_args["timeout"] = (connect, silence)
        return connection

    def give_back(self, url: str, connection: Any) -> None:
        """Keep a connection whose answer was read to its end."""
        with self._lock:
            waiting = self._idle.setdefault(url, collections.deque())
            if not self._closed and len(waiting) < _IDLE:
                waiting.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """End all that are idle."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, {}
        for waiting in idle.values():
            for connection in waiting:
                connection.close()

    def _make(self, url: str) -> Any:
        from requests.adapters import HTTPAdapter
        from swiftclient.client import HTTPConnection

        authorities = self._verify if isinstance(self._verify, str) else None
        connection = HTTPConnection(url, cacert=authorities, insecure=self._verify is False)
        connection.requests_args["allow_redirects"] = False  # a token goes to no other server
        connection.request_session.mount(f"{urllib.parse.urlsplit(url).scheme}://", HTTPAdapter(pool_maxsize=1))
        return connection


class Blocks:
    """The body of a request as HTTP clients send it block by block, without a copy of the bytes."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[memoryview]:
        for at in range(0, len(self._data), _BLOCK):
            yield self._data[at : at + _BLOCK]

    def let_go(self) -> None:
        """Forget the bytes: the client keeps a request for as long as its connection."""
        self._data = memoryview(b"")


class Body:
    """The body of an answer, read piece by piece; used by one thread."""

    def __init__(self, answer: Answer, response: Any, done: Callable[[bool], None]) -> None:
        self.answer = answer
        self._response = response
        self._done: Callable[[bool], None] | None = done

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes; the connection is free for others at the end, and is cut when the iterator is closed."""
        clean = False
        try:
            while chunk := self._response.raw.read(_CHUNK, decode_content=False):
                yield chunk
            clean = True
        finally:
            self.close(clean)

    def read(self) -> bytes:
        """Return all bytes."""
        return b"".join(self.chunks())

    def close(self, clean: bool = False) -> None:
        """Let go of the connection."""
        done, self._done = self._done, None
        if done is not None:
            done(clean)


class Account:
    """One account by its storage URL, with somebody's credentials.  Safe for threads.

    Nothing is sent twice, but for one time after a token was refused.
    """

    def __init__(self, url: str, tokens: TokenSource, connections: Connections) -> None:
        self.url = url.rstrip("/")
        self.tokens = tokens
        self._connections = connections
        parts = urllib.parse.urlsplit(self.url)
        self._server = f"{parts.scheme}://{parts.netloc}"
        self.path = parts.path

    def request(
        self,
        ctx: Context,
        method: str,
        container: str | None = None,
        name: str | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview | None = None,
    ) -> Answer:
        """Send a request and return the answer, whatever its status, once its body was read.

        :param body: of a memoryview nothing is held once this returns or raises.
        :raises Forbidden: Swift takes no token of these credentials.
        :raises StoreUnavailable: no token can be had, or Swift cannot check it.
        """
        found = self.open(ctx, method, container, name, query=query, headers=headers, body=body)
        read = found.read()
        return dataclasses.replace(found.answer, body=read) if read else found.answer

    def open(
        self,
        ctx: Context,
        method: str,
        container: str | None = None,
        name: str | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview | None = None,
    ) -> Body:
        """Send a request as `request` does and return the answer with its body still to be read, or closed."""
        target = self.path + "".join(f"/{_quoted(part)}" for part in (container, name) if part is not None)
        if query:
            target += "?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
        proof = self.tokens.headers()
        found = self._send(ctx, method, target, {**(headers or {}), **proof}, body)
        if found.answer.status != 401:
            return found
        found.close()
        if not self.tokens.renew(proof):
            raise errors.Forbidden("Swift refuses the token")
        found = self._send(ctx, method, target, {**(headers or {}), **self.tokens.headers()}, body)
        if found.answer.status == 401:
            found.close()
            if not self.tokens.own:
                raise errors.Forbidden("Swift refuses the caller's token")
            # The identity service has just given this token, so it is Swift that cannot have it checked.
            raise errors.StoreUnavailable("Swift cannot check tokens with its identity service, or is another cloud's")
        return found

    def _send(
        self, ctx: Context, method: str, target: str, headers: Mapping[str, str], body: bytes | memoryview | None
    ) -> Body:
        ctx.check()
        connection = self._connections.take(self._server, ctx.timeout)
        blocks = Blocks(memoryview(body or b""))
        try:
            length = {"Content-Length": str(len(body))} if body is not None else {}
            response = connection.request(method, target, blocks if body else b"", {**headers, **length})
        except BaseException:
            connection.close()
            raise
        finally:
            blocks.let_go()

        def done(clean: bool) -> None:
            if clean:
                self._connections.give_back(self._server, connection)
            else:
                connection.close()

        told = {
            key.lower(): value.encode("iso-8859-1").decode("utf-8", "replace")
            for key, value in response.headers.items()
        }
        return Body(Answer(response.status_code, response.reason or "", told), response, done)

    def objects(
        self, ctx: Context, container: str, prefix: str = "", *, delimiter: str | None = None
    ) -> Iterator[Listing]:
        """Yield the objects of a container in the order of their names, all pages.

        :param delimiter: leave out names that hold it behind `prefix`.
        :raises NotFound: there is no such container.
        """
        for page in self.pages(ctx, container, prefix, delimiter=delimiter):
            yield from page[1]

    def pages(
        self, ctx: Context, container: str, prefix: str = "", *, delimiter: str | None = None, limit: int | None = None
    ) -> Iterator[tuple[Answer, list[Listing]]]:
        """Yield the pages of `objects`, each with its answer.

        :param limit: names on a page, few, so that a page that is not full is known to be the last.  Without it pages
            are as long as the server makes them, which refuses to make longer ones, and the last is empty.
        """
        marker = ""
        while True:
            query: dict[str, Any] = {"format": "json", "prefix": prefix}
            query |= {"limit": limit} if limit else {}
            query |= {"delimiter": delimiter} if delimiter else {}
            query |= {"marker": marker} if marker else {}
            answer = self.request(ctx, "GET", container, query=query)
            if answer.status == 404:
                raise errors.NotFound(f"there is no container {container}")
            answer.check()
            found = json.loads(answer.body or b"[]")
            yield answer, [_listed(each) for each in found if "name" in each]
            if len(found) < (limit or 1):
                return
            marker = found[-1].get("name") or found[-1]["subdir"]

    def containers(self, ctx: Context, prefix: str) -> list[str]:
        """Return the names of the containers that begin with `prefix`."""
        names: list[str] = []
        while True:
            query = {"format": "json", "prefix": prefix, "marker": names[-1] if names else ""}
            answer = self.request(ctx, "GET", query=query).check()
            found = [each["name"] for each in json.loads(answer.body or b"[]") if "name" in each]
            if not found:
                return names
            names += found


class Nobody:
    """Credentials of nobody, for what Swift tells everybody."""

    own = False

    def headers(self) -> Mapping[str, str]:
        return {}

    def renew(self, refused: Mapping[str, str]) -> bool:
        return False

    def close(self) -> None:
        pass


def server_info(url: str, connections: Connections, ctx: Context) -> Mapping[str, Any] | None:
    """Return what the server of a storage URL says of itself, None when it keeps that to itself."""
    parts = urllib.parse.urlsplit(url)
    server = Account(f"{parts.scheme}://{parts.netloc}", Nobody(), connections)
    try:
        answer = server.request(ctx, "GET", "info")
    except errors.Forbidden:
        return None
    if answer.status >= 500:
        raise answer.error()
    with contextlib.suppress(ValueError):
        found = json.loads(answer.body)
        return found if answer.ok and isinstance(found, dict) else None
    return None


def _listed(entry: Mapping[str, Any]) -> Listing:
    modified = datetime.datetime.fromisoformat(entry["last_modified"]).replace(tzinfo=datetime.UTC)
    return Listing(entry["name"], entry["bytes"], entry.get("hash", ""), modified)


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="/")
