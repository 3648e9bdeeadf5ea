"""Whose account an image is in: the service's own, or that of the project which adds it."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from store_lib import errors
from store_lib.drivers import _keystone
from store_lib.drivers._keystone import Caller, Login
from store_lib.drivers.swift import failures
from store_lib.drivers.swift.auth import CallerTokens, ServiceTokens, Trust
from store_lib.drivers.swift.client import Account, Connections, server_info
from store_lib.drivers.swift.names import SwiftAddress, root_of
from store_lib.drivers.swift.references import References
from store_lib.interface import Context, Runtime
from store_lib.settings import StoreSettings

__all__ = ["Abilities", "Cloud", "OwnAccount", "Tenancy", "TenantAccounts"]

LOG = logging.getLogger(__name__)

#: Names in one bulk delete: many are no faster, and each request must end well within operation_timeout.
_BULK = 25


@dataclasses.dataclass(frozen=True)
class Abilities:
    """What a server says that it can do.

    :param manifest: most segments of a static manifest; 0 where there are none.
    :param certain: whether the server said so, rather than kept it to itself.
    :param least: smallest segment in bytes but for the last one.
    :param largest: largest object in bytes.
    :param bulk: most names in one bulk delete; 0 where there is none.
    """

    manifest: int = 1000
    certain: bool = False
    least: int = 1
    largest: int = 5 * 1024**3
    bulk: int = 0
    signatures: tuple[str, ...] = ("sha256",)

    @classmethod
    def of(cls, info: Mapping[str, Any] | None) -> Abilities:
        """Return what the answer to ``/info`` tells; without one, what every cluster of our days has."""
        if info is None:
            return cls()
        slo = info.get("slo")
        return cls(
            manifest=int(slo.get("max_manifest_segments", 1000)) if slo is not None else 0,
            certain=True,
            least=int(slo.get("min_segment_size", 1)) if slo is not None else 1,
            largest=int(info.get("swift", {}).get("max_file_size", cls.largest)),
            bulk=min(int(info.get("bulk_delete", {}).get("max_deletes_per_request", 0)), _BULK),
            signatures=tuple(info.get("tempurl", {}).get("allowed_digests", ("sha1",))),
        )


class Cloud:
    """What the requests of one process share; made anew after a fork."""

    def __init__(self, settings: StoreSettings, references: References) -> None:
        self.settings = settings
        self.references = references
        self.verify: bool | str = not settings["swift_store_auth_insecure"] and (settings["swift_store_cacert"] or True)
        self.connections = Connections(self.verify, settings.base.connect_timeout)
        self._lock = threading.Lock()
        self._services: dict[str, ServiceTokens] = {}
        self._urls: dict[str, str] = {}
        self._abilities: dict[str, Abilities] = {}

    def session(self, login: Login, trust: str | None = None) -> Any:
        """Return a new session."""
        return _keystone.make_session(
            login,
            verify=self.verify,
            timeout=self.settings.base.operation_timeout,
            renew=self.settings["swift_store_expire_soon_interval"],
            trust=trust,
        )

    def service(self, reference: str) -> ServiceTokens:
        """Return the tokens of a reference."""
        with self._lock:
            if reference not in self._services:
                self._services[reference] = ServiceTokens(lambda: self.references.get(reference), self.session)
            return self._services[reference]

    def endpoint(self, reference: str) -> str:
        """Return the storage URL of the account of a reference."""
        settings = self.settings
        if settings["swift_store_endpoint"]:
            return str(settings["swift_store_endpoint"])
        if reference not in self._urls:
            self._urls[reference] = self.service(reference).endpoint(*self.place())
        return self._urls[reference]

    def place(self) -> tuple[str, str, str | None]:
        """Return type, interface and region by which the catalog is searched."""
        settings = self.settings
        interface = settings["swift_store_endpoint_type"].removesuffix("URL")
        return settings["swift_store_service_type"], interface, settings["swift_store_region"]

    def abilities(self, url: str, ctx: Context) -> Abilities:
        """Return what the server of a storage URL can do; asked once."""
        root = root_of(url) or url
        if root not in self._abilities:
            self._abilities[root] = Abilities.of(server_info(url, self.connections, ctx))
        return self._abilities[root]

    def close(self) -> None:
        """End the connections."""
        self.connections.close()


class Tenancy(Protocol):
    """Which account a request goes to."""

    def account(self, address: SwiftAddress, ctx: Context) -> Account:
        """Return the account of an address."""

    def target(self, ctx: Context, *, long: bool) -> tuple[str, Account]:
        """Return the account that a new image goes to, and its name for the address.

        :param long: the transfer may outlive the caller's token.
        """

    def probed(self, ctx: Context) -> Account:
        """Return the account that tells whether the store is usable."""

    def has_own(self) -> bool:
        """Return whether the service has credentials of its own; it may work with those of its callers alone."""

    def cloud(self) -> Cloud:
        """Return what this process's requests share."""

    def close(self) -> None:
        """End it."""


class _Base:
    def __init__(self, settings: StoreSettings, runtime: Runtime, references: References) -> None:
        self._settings = settings
        self._references = references
        self._cloud = runtime.per_process(lambda: Cloud(settings, references), lambda cloud: cloud.close())

    def cloud(self) -> Cloud:
        return self._cloud.get()

    def close(self) -> None:
        self._cloud.close()


class OwnAccount(_Base):
    """All images in the account of the service; those of other references of the file are read there."""

    def _own(self, reference: str) -> Account:
        cloud = self.cloud()
        return Account(cloud.endpoint(reference), cloud.service(reference), cloud.connections)

    def has_own(self) -> bool:
        return True

    def account(self, address: SwiftAddress, ctx: Context) -> Account:
        return self._own(address.account)

    def target(self, ctx: Context, *, long: bool) -> tuple[str, Account]:
        return self._references.default, self._own(self._references.default)

    def probed(self, ctx: Context) -> Account:
        return self._own(self._references.default)


class TenantAccounts(_Base):
    """Each image in the account of the project that added it."""

    def account(self, address: SwiftAddress, ctx: Context) -> Account:
        """Return the account that a location names, after making sure that it is one of this cluster."""
        cloud = self.cloud()
        tokens, url = self._tokens(ctx)
        if root_of(address.account) != root_of(url):
            raise errors.ForeignLocation("the location is of another Swift than this store's")
        return Account(address.account, tokens, cloud.connections)

    def target(self, ctx: Context, *, long: bool) -> tuple[str, Account]:
        tokens, url = self._tokens(ctx)
        if long and self._settings["swift_store_use_trusts"] and ctx.caller is not None:
            tokens = self._trust(Caller(ctx.caller)) or tokens
        return url.rstrip("/"), Account(url, tokens, self.cloud().connections)

    def probed(self, ctx: Context) -> Account:
        cloud = self.cloud()
        return Account(self._own_url(), cloud.service(self._references.default), cloud.connections)

    def _own_url(self) -> str:
        """Return the storage URL of the service's own project."""
        cloud, reference = self.cloud(), self._references.default
        url = cloud.endpoint(reference)
        if "_" in url.rstrip("/").rpartition("/")[2]:
            return url
        return _of_project(url, cloud.service(reference).project())

    def has_own(self) -> bool:
        return self._references.get(self._references.default).complete

    def _service(self) -> ServiceTokens | None:
        return self.cloud().service(self._references.default) if self.has_own() else None

    def _tokens(self, ctx: Context) -> tuple[Any, str]:
        """Return the tokens of the caller, or of the service where nobody called, and the storage URL."""
        service = self._service()
        caller = Caller(ctx.caller) if ctx.caller is not None else None
        if caller is None or not caller.token:
            if service is None:
                raise errors.Forbidden("the store needs the context of a request, with a token in it")
            return service, self._own_url()
        return CallerTokens(caller.token, service), self._endpoint(caller, service)

    def _endpoint(self, caller: Caller, service: ServiceTokens | None) -> str:
        """Return the storage URL of the caller's project."""
        written = self._settings["swift_store_endpoint"]
        if not written:
            found = caller.endpoint(*self.cloud().place())
            if found is not None:
                return found
        if service is None and not written:
            raise errors.StoreUnavailable("neither the request nor the store's options say where Swift is")
        url = written or self.cloud().endpoint(self._references.default)
        if not caller.project:
            return str(url)
        return _of_project(str(url), caller.project)

    def _trust(self, caller: Caller) -> Trust | None:
        """Return a trust of the caller, None when the identity service makes none."""
        service, login = self._service(), self._references.get(self._references.default)
        # Keystone lets nobody who logged in by an application credential act for another.
        if service is None or login.application_id or not (caller.user and caller.project and caller.roles):
            return None
        cloud = self.cloud()
        make: Callable[[Login, str], Any] = cloud.session
        try:
            service.token()
            return Trust(caller, service, lambda: self._references.get(self._references.default), make)
        except Exception as error:
            translated = error if isinstance(error, errors.StoreLibError) else failures.translate(error)
            if translated is None:
                raise
            LOG.warning("no trust of user %s, his own token has to do: %s", caller.user, translated.message)
            return None


def _of_project(url: str, project: str) -> str:
    """Return the storage URL of a project by that of another one (``.../AUTH_other``), or by one without account."""
    root, _, account = url.rstrip("/").rpartition("/")
    prefix, found, _ = account.rpartition("_")
    if not found:
        return f"{url.rstrip('/')}/AUTH_{project}"
    return f"{root}/{prefix}_{project}"
