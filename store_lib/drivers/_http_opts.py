"""Options of the http store, and the rules that they come to."""

from __future__ import annotations

import dataclasses
import importlib.util
import ipaddress
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oslo_config import cfg

from store_lib import errors
from store_lib.errors import Mistake
from store_lib.location_forms import Credentials, HttpForm
from store_lib.settings import StoreSettings

__all__ = ["OPTIONS", "Network", "Origin", "Proxy", "Rules", "check", "origin_of"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Scheme, host in lower case and port: what credentials are for.
Origin = tuple[str, str, int]

#: Never connected to, whatever the settings say: there the clouds serve a machine its own credentials.
LINK_LOCAL: Sequence[Network] = (ipaddress.ip_network("169.254.0.0/16"), ipaddress.ip_network("fe80::/10"))

_PORTS = {"http": 80, "https": 443}

OPTIONS = [
    cfg.StrOpt(
        "https_ca_certificates_file",
        help="File with the certificates (PEM) of the authorities that the servers' certificates must come from. When "
        "not set, those of the operating system count.",
    ),
    cfg.BoolOpt(
        "https_insecure",
        default=False,
        help="Read from servers whose certificate proves nothing. Anybody on the way can then change images. Ignored "
        "where https_ca_certificates_file is set.",
    ),
    cfg.DictOpt(
        "http_proxy_information",
        default={},
        secret=True,
        help="Proxies by scheme of the location (http, https, or all), as SCHEME:URL, for instance "
        "http:proxy.example.org:3128, https:proxy.example.org:3128. Variables of the environment do not count. "
        "Through a proxy the networks below hold for addresses written in locations, not for names.",
    ),
    cfg.IntOpt(
        "http_store_max_redirects",
        default=5,
        min=0,
        max=50,
        help="Most redirects that are followed for one request. One from https to http is never followed.",
    ),
    cfg.ListOpt(
        "http_store_denied_networks",
        default=[],
        help="Networks, such as 127.0.0.0/8 or fd00::/8, that are never connected to, whatever name leads there. "
        "Link-local addresses (169.254.0.0/16, fe80::/10) are always refused.",
        sample_default="127.0.0.0/8, ::1/128, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7",
    ),
    cfg.ListOpt(
        "http_store_allowed_networks",
        default=[],
        help="When set, only addresses in these networks are connected to. A network that is denied stays denied.",
    ),
    cfg.StrOpt("http_store_user", help="User for the servers of http_store_auth_origins (basic authentication)."),
    cfg.StrOpt("http_store_password", secret=True, help="Password of http_store_user."),
    cfg.ListOpt(
        "http_store_auth_origins",
        default=[],
        help="Servers that are sent http_store_user and its password, as SCHEME://HOST or SCHEME://HOST:PORT. No other "
        "server ever sees them.",
        sample_default="https://images.example.org",
    ),
    cfg.StrOpt(
        "http_store_probe_url",
        help="What a probe asks for. When not set, nobody is asked: locations lead to any server, and the store counts "
        "as up.",
    ),
    cfg.IntOpt(
        "http_store_max_size",
        default=0,
        min=0,
        help="Largest image in bytes that is read; 0 means no limit.",
    ),
]


def origin_of(form: HttpForm) -> Origin:
    """Return the origin of a place."""
    return form.scheme, form.host.lower().rstrip("."), form.port or _PORTS[form.scheme]


@dataclasses.dataclass(frozen=True)
class Proxy:
    """A proxy; the URL holds no credentials.

    :param authorization: ``user:password``, or None.
    """

    url: str
    authorization: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True)
class Rules:
    """The options of one store in typed form.

    :param proxies: by scheme of the location.
    :param denied: networks that are refused, with why; link-local ones included.
    :param connect_timeout: seconds.
    """

    ca_file: str | None
    insecure: bool
    proxies: Mapping[str, Proxy]
    denied: Sequence[tuple[Network, str]]
    allowed: Sequence[Network]
    max_redirects: int
    credentials: Credentials | None
    auth_origins: frozenset[Origin]
    connect_timeout: float
    max_size: int
    connections: int

    @classmethod
    def of(cls, settings: StoreSettings) -> Rules:
        """Return the rules of settings that `check` found no fault with."""
        denied = "it lies in a network of http_store_denied_networks"
        user = settings["http_store_user"]
        return cls(
            ca_file=settings["https_ca_certificates_file"] or None,
            insecure=settings["https_insecure"] and not settings["https_ca_certificates_file"],
            proxies={name: _proxy(text) for name, text in (settings["http_proxy_information"] or {}).items()},
            denied=[
                *((network, "link-local addresses are never read from") for network in LINK_LOCAL),
                *((_network(text), denied) for text in settings["http_store_denied_networks"] or []),
            ],
            allowed=[_network(text) for text in settings["http_store_allowed_networks"] or []],
            max_redirects=settings["http_store_max_redirects"],
            credentials=Credentials(user, settings["http_store_password"] or "") if user else None,
            auth_origins=frozenset(_origin(text) for text in settings["http_store_auth_origins"] or []),
            connect_timeout=settings.base.connect_timeout,
            max_size=settings["http_store_max_size"],
            connections=settings.base.max_threads,
        )

    def credentials_for(self, form: HttpForm) -> Credentials | None:
        """Return the credentials to be sent with a request: the location's own, else the configured ones."""
        return form.credentials or (self.credentials if origin_of(form) in self.auth_origins else None)

    def proxy_for(self, scheme: str) -> Proxy | None:
        """Return the proxy for locations of a scheme."""
        return self.proxies.get(scheme) or self.proxies.get("all")


def _network(text: str) -> Network:
    return ipaddress.ip_network(text.strip(), strict=False)


def _proxy(text: str) -> Proxy:
    """Return the proxy that is written as a URL, or as host and port.

    :raises ValueError: it is neither.
    """
    parts = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("no URL of a proxy")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    user = urllib.parse.unquote(parts.username) if parts.username is not None else None
    secret = urllib.parse.unquote(parts.password or "")
    url = f"{parts.scheme}://{host}:{parts.port or _PORTS[parts.scheme]}"
    return Proxy(url, None if user is None else f"{user}:{secret}")


def _origin(text: str) -> Origin:
    form = HttpForm.parse(text.strip())
    if form.credentials or form.target != "/":
        raise ValueError("more than an origin")
    return origin_of(form)


def check(settings: StoreSettings) -> Iterator[Mistake]:
    """Yield every mistake in the options of an http store."""
    if importlib.util.find_spec("urllib3") is None:
        mend = "install what it needs: pip install store_lib[http]"
        yield Mistake(settings.id, "enabled_backends", "driver 'http' needs urllib3, which is not installed", mend)
    yield from _check_networks(settings)
    yield from _check_credentials(settings)
    yield from _check_files_and_urls(settings)


def _mistake(settings: StoreSettings, option: str, problem: str, mend: str) -> Mistake:
    return Mistake(settings.id, option, problem, mend)


def _check_networks(settings: StoreSettings) -> Iterator[Mistake]:
    for option in ("http_store_denied_networks", "http_store_allowed_networks"):
        for text in settings[option] or []:
            try:
                network = _network(text)
            except ValueError:
                yield _mistake(settings, option, f"{text!r} is no network", "write for instance 10.0.0.0/8 or fd00::/8")
                continue
            inside = any(
                isinstance(network, type(each)) and network.subnet_of(each)  # type: ignore[arg-type]
                for each in LINK_LOCAL
            )
            if inside and "allowed" in option:
                problem = f"{text} is link-local and refused whatever is written here"
                yield _mistake(settings, option, problem, "leave it out")


def _check_credentials(settings: StoreSettings) -> Iterator[Mistake]:
    user, origins = settings["http_store_user"], settings["http_store_auth_origins"] or []
    if bool(user) != bool(origins):
        option = "http_store_auth_origins" if user else "http_store_user"
        problem = "a user is set and no server to send it to" if user else "servers are set and no user"
        yield _mistake(settings, option, problem, "set both of them, or none")
    if user and ":" in user:
        yield _mistake(settings, "http_store_user", "it holds a colon, which basic authentication can't", "mend it")
    for text in origins:
        try:
            _origin(text)
        except (ValueError, errors.BadLocation):
            mend = "write SCHEME://HOST or SCHEME://HOST:PORT and nothing more"
            yield _mistake(settings, "http_store_auth_origins", "one of them is no server", mend)


def _check_files_and_urls(settings: StoreSettings) -> Iterator[Mistake]:
    path = settings["https_ca_certificates_file"]
    if path:
        try:
            ssl.create_default_context(cafile=path)
        except OSError as error:  # ssl.SSLError is one
            problem = f"{path} is of no use: {error.strerror or error}"
            yield _mistake(settings, "https_ca_certificates_file", problem, "name a file of certificates in PEM")
    for scheme, text in (settings["http_proxy_information"] or {}).items():
        problem = f"{scheme!r} is no scheme of a location" if scheme not in (*_PORTS, "all") else ""
        try:
            _proxy(text)
        except ValueError:
            problem = f"what is written for {scheme!r} is no URL of a proxy"
        if problem:
            mend = "write http:URL, https:URL or all:URL with an http or https URL"
            yield _mistake(settings, "http_proxy_information", problem, mend)
    url: Any = settings["http_store_probe_url"]
    if url:
        try:
            held = HttpForm.parse(url).credentials
        except errors.BadLocation:
            yield _mistake(settings, "http_store_probe_url", "it is no http or https URL", "write one, or leave it out")
            return
        if held:
            mend = "use http_store_user and http_store_auth_origins"
            yield _mistake(settings, "http_store_probe_url", "it holds a user or password", mend)
