"""Tokens: of the service's own account, of a caller, and by a trust between the two."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from store_lib import errors
from store_lib.drivers._keystone import Caller, Login
from store_lib.drivers.swift import failures

__all__ = ["CallerTokens", "ServiceTokens", "Trust"]

LOG = logging.getLogger(__name__)


class ServiceTokens:
    """Tokens of a login that may change while the service runs.  Safe for threads; made anew in each process.

    :param login: returns the credentials as they are configured now.
    :param session: makes a keystoneauth1 session of them.
    """

    own = True

    def __init__(self, login: Callable[[], Login], session: Callable[[Login], Any]) -> None:
        self._configured = login
        self._make = session
        self._lock = threading.Lock()
        self._login: Login | None = None
        self._session: Any = None

    def session(self) -> Any:
        """Return the session of the present credentials."""
        with self._lock:
            if self._session is None:
                self._login = self._configured()
                self._session = self._make(self._login)
            return self._session

    def token(self) -> str:
        """Return a token that has not expired.

        :raises Forbidden: the identity service refuses the credentials, those of a file that was replaced included.
        """
        try:
            return self._ask()
        except errors.Forbidden:
            if not self._replaced():
                raise
            return self._ask()

    def _ask(self) -> str:
        try:
            token: str = self.session().get_token()
            return token
        except Exception as error:
            translated = failures.translate(error)
            if translated is None:
                raise
            raise translated from error

    def headers(self) -> Mapping[str, str]:
        """Return the headers with a token."""
        return {"X-Auth-Token": self.token()}

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Get another token in place of the one that was refused, with the credentials as they are now."""
        session = self.session()
        if self.token() != refused["X-Auth-Token"]:
            return True  # another thread was here before
        if not self._replaced():
            session.invalidate()
        self.token()
        return True

    def _replaced(self) -> bool:
        """Take the credentials that are configured now, if they are others."""
        now = self._configured()
        with self._lock:
            if now == self._login:
                return False
            self._login, self._session = now, self._make(now)
        LOG.info("the credentials of %s were replaced", now.auth_url)
        return True

    def endpoint(self, service: str, interface: str, region: str | None) -> str:
        """Return the URL that the catalog has for the project of these credentials.

        :raises StoreUnavailable: it has none, or the identity service does not answer.
        """
        from keystoneauth1 import exceptions

        self.token()
        found = None
        try:
            found = self.session().get_endpoint(service_type=service, interface=interface, region_name=region)
        except exceptions.EndpointNotFound:
            pass  # told below, with what was looked for
        except Exception as error:
            translated = failures.translate(error)
            if translated is None:
                raise
            raise translated from error
        if not found:
            self.session().invalidate()  # who asks next is told of the catalog as it is then
            where = f" in region {region}" if region else ""
            raise errors.StoreUnavailable(
                f"the identity service's catalog has no {interface} endpoint of type {service}{where}", transient=False
            )
        return str(found)

    def project(self) -> str:
        """Return the id of the project of these credentials; errors as of `token`."""
        self.token()
        return str(self.session().get_project_id())

    def close(self) -> None:
        """Keep the session: others use it as well."""


class CallerTokens:
    """The token of a caller, with the service's own beside it: then Swift takes the caller's for a while longer."""

    own = False

    def __init__(self, token: str, service: ServiceTokens | None) -> None:
        self._token = token
        self._service = service

    def headers(self) -> Mapping[str, str]:
        """Return the headers with both."""
        proof = {"X-Auth-Token": self._token}
        if self._service is not None:
            try:
                proof["X-Service-Token"] = self._service.token()
            except errors.StoreLibError as error:
                LOG.info("a request goes without the service's own token: %s", error.message)
        return proof

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Get another token of the service; the caller's is what it is.

        :raises StoreUnavailable: the identity service is down, which Swift also tells by refusing tokens.
        """
        if self._service is None or "X-Service-Token" not in refused:
            return False
        return self._service.renew({"X-Auth-Token": refused["X-Service-Token"]})

    def close(self) -> None:
        """Nothing was borrowed."""


class Trust(ServiceTokens):
    """Tokens by which the service acts for a caller, for the time of one transfer.

    :param caller: who trusts.
    :param service: whom he trusts.
    :param login: the service's credentials.
    :param session: makes a session that uses the trust of that id.
    """

    def __init__(
        self,
        caller: Caller,
        service: ServiceTokens,
        login: Callable[[], Login],
        session: Callable[[Login, str], Any],
    ) -> None:
        self._caller = caller
        self._service = service
        self.id = self._create()
        super().__init__(login, lambda found: session(found, self.id))

    def _call(self, method: str, path: str, token: str, body: Any = None) -> Any:
        session = self._service.session()
        url = session.auth.auth_url.rstrip("/") + path
        return session.request(url, method, json=body, headers={"X-Auth-Token": token}, authenticated=False)

    def _create(self) -> str:
        """Have the caller's token make the trust.

        :raises Exception: of keystoneauth1, when the identity service refuses.
        """
        session = self._service.session()
        wanted = {
            "trustor_user_id": self._caller.user,
            "trustee_user_id": session.get_user_id(),
            "project_id": self._caller.project,
            "impersonation": True,
            "roles": [{"name": role} for role in self._caller.roles],
        }
        answer = self._call("POST", "/OS-TRUST/trusts", self._caller.token or "", {"trust": wanted})
        return str(answer.json()["trust"]["id"])

    def close(self) -> None:
        """Remove the trust; one that cannot be removed is logged."""
        problem: Exception | None = None
        tokens: tuple[Callable[[], str], ...] = (lambda: self._caller.token or "", self.token)
        for token in tokens:
            try:
                self._call("DELETE", f"/OS-TRUST/trusts/{self.id}", token())
                return
            except Exception as error:  # of keystoneauth1 or store_lib; whatever it is, the transfer is over
                problem = error
        LOG.warning("trust %s could not be removed, remove it by hand: %s", self.id, type(problem).__name__)
