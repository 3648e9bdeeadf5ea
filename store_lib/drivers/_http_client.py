"""Requests of the http store: guarded connections, redirects by rule, urllib3's errors.

Imported when the first request is made: it imports urllib3.
"""

from __future__ import annotations

import base64
import dataclasses
import importlib.metadata
import logging
import re
import socket
import ssl
import urllib.parse
from collections.abc import Mapping
from typing import Any

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection

from store_lib import errors
from store_lib.drivers._http_guard import Guard
from store_lib.drivers._http_opts import Proxy, Rules, origin_of
from store_lib.interface import Context
from store_lib.location_forms import Credentials, HttpForm

__all__ = ["Client", "Response", "error_of"]

LOG = logging.getLogger(__name__)

Response = urllib3.BaseHTTPResponse

_REDIRECTS = (301, 302, 303, 307, 308)
#: Connections that are kept open to one server at most; more are made when needed, and closed after use.
_KEPT = 32
_HOST = re.compile(r"[\w.-]+|\[[0-9A-Fa-f:.]+(?:%[\w.%-]+)?\]")


class Client:
    """Sends GET requests and follows redirects.  Safe for threads.

    :param rules: of one store.
    :param guard: refuses addresses.
    """

    def __init__(self, rules: Rules, guard: Guard) -> None:
        self._rules = rules
        self._guard = guard
        self._managers = {scheme: self._manager(rules.proxy_for(scheme)) for scheme in HttpForm.SCHEMES}
        self._agent = f"store_lib/{importlib.metadata.version('store_lib')}"
        if rules.insecure:
            LOG.warning("https_insecure is set: whoever is on the way to a server can change what is read from it")

    def get(self, place: HttpForm, headers: Mapping[str, str], ctx: Context) -> tuple[Response, HttpForm]:
        """Ask for a place and return the answer, whatever its status, with the place that gave it.

        :param headers: further ones of the request.
        :raises ForeignLocation: the way leads to an address that is refused.
        :raises TooManyRedirects: it leads on and on.
        """
        for _ in range(self._rules.max_redirects + 1):
            response = self._send(place, headers, ctx)
            if response.status not in _REDIRECTS:
                return response, place
            response.close()
            place = _redirected(place, response.headers.get("Location"))
        raise errors.TooManyRedirects(f"more than {self._rules.max_redirects} redirects")

    def close(self) -> None:
        """Close the connections that are idle."""
        for manager in self._managers.values():
            manager.clear()

    def _send(self, place: HttpForm, headers: Mapping[str, str], ctx: Context) -> Response:
        ctx.check()
        if not _HOST.fullmatch(place.host):
            raise errors.BadLocation("the location names no host")
        self._guard.check_written(place.host)
        sent = {"User-Agent": self._agent, "Accept-Encoding": "identity", **headers}
        credentials = self._rules.credentials_for(place)
        if credentials is not None:
            sent["Authorization"] = _basic(credentials)
        allowed = ctx.timeout
        connect = min(self._rules.connect_timeout, allowed or self._rules.connect_timeout)
        return self._managers[place.scheme].urlopen(
            "GET",
            place.clean(),
            headers=sent,
            timeout=urllib3.Timeout(connect=connect, read=allowed),
            redirect=False,
            retries=False,  # the engine's business
            preload_content=False,
            decode_content=False,
        )

    def _manager(self, proxy: Proxy | None) -> urllib3.PoolManager:
        context = ssl.create_default_context(cafile=self._rules.ca_file)
        if self._rules.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        common: dict[str, Any] = {
            "ssl_context": context,
            "cert_reqs": context.verify_mode,
            "maxsize": min(_KEPT, self._rules.connections),
        }
        if proxy is not None:  # whose own address is the operator's choice
            headers = {"Proxy-Authorization": _basic_of(proxy.authorization)} if proxy.authorization else None
            return urllib3.ProxyManager(proxy.url, proxy_headers=headers, proxy_ssl_context=context, **common)
        manager = urllib3.PoolManager(**common)
        manager.pool_classes_by_scheme = _guarded_pools(self._guard)
        return manager


def _guarded_pools(guard: Guard) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Return urllib3's pools with connections that are made by `guard`."""

    def connected(connection: HTTPConnection) -> socket.socket:
        timeout: Any = connection.timeout  # resolved by urllib3 to seconds or None
        try:
            return guard.connect(connection.host, connection.port, timeout, connection.socket_options or ())
        except socket.gaierror as error:
            raise exceptions.NameResolutionError(connection.host, connection, error) from error
        except UnicodeError as error:
            raise errors.BadLocation(f"{connection.host[:80]} is no name of a host") from error
        except TimeoutError as error:
            raise exceptions.ConnectTimeoutError(connection, "connecting took too long") from error
        except OSError as error:
            raise exceptions.NewConnectionError(connection, str(error.strerror or error)) from error

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connected(self)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connected(self)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _redirected(place: HttpForm, target: str | None) -> HttpForm:
    """Return the place that a redirect names; the location's credentials go along on the same server only.

    :raises BadLocation: it must not be followed.
    """
    if not target:
        raise errors.BadLocation("the server redirects and does not say where to")
    try:  # header fields are read as Latin-1, and written by many in UTF-8
        target = target.encode("latin-1").decode()
    except UnicodeError:
        pass
    try:
        found = HttpForm.parse(urllib.parse.urljoin(place.clean(), target.strip()))
    except (errors.BadLocation, ValueError) as error:
        raise errors.BadLocation("the server redirects to what is no http location") from error
    if (place.scheme, found.scheme) == ("https", "http"):
        raise errors.BadLocation("the server redirects from https to http, which is not followed")
    return dataclasses.replace(found, credentials=place.credentials if _same_server(place, found) else None)


def _same_server(place: HttpForm, found: HttpForm) -> bool:
    before, after = origin_of(place), origin_of(found)
    return before == after or (before[1] == after[1] and (before[2], after[2]) == (80, 443))


def _basic(credentials: Credentials) -> str:
    # Clients decode what stands percent-quoted in a location before they send it.
    unquote = urllib.parse.unquote
    return _basic_of(f"{unquote(credentials.user)}:{unquote(credentials.secret)}")


def _basic_of(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def error_of(error: BaseException) -> errors.StoreLibError | None:
    """Return store_lib's error for one of urllib3's or of a socket; None for what is neither."""
    inner = error.args[-1] if error.args else None
    if isinstance(error, exceptions.SSLError) and isinstance(inner, ssl.SSLCertVerificationError):
        problem = f"the server's certificate is not trusted: {inner.verify_message}; see https_ca_certificates_file"
        return errors.StoreUnavailable(problem, transient=False)
    if isinstance(error, exceptions.NameResolutionError):
        return errors.StoreUnavailable("the server's name cannot be resolved")
    if isinstance(error, exceptions.NewConnectionError):
        return errors.StoreUnavailable("the server cannot be reached")
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return errors.OperationTimeout("the server did not answer in time")
    if isinstance(error, exceptions.ProxyError):
        return errors.StoreUnavailable("the proxy cannot be reached, or refuses to connect to the server")
    if isinstance(error, (exceptions.ProtocolError, exceptions.SSLError, OSError)):
        return errors.StoreUnavailable("the connection to the server broke off")
    if isinstance(error, exceptions.LocationValueError):
        return errors.BadLocation("the location names no host that can be asked")
    return errors.BackendError("the request failed") if isinstance(error, exceptions.HTTPError) else None
