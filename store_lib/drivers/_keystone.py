"""Logging in to Keystone, for the drivers of OpenStack's storage services.

keystoneauth1 is imported when a session is first made, not with this module.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from store_lib import errors
from store_lib.drivers._tls import is_for_good

__all__ = ["Caller", "Login", "make_session", "translate"]


@dataclasses.dataclass(frozen=True)
class Login:
    """Who logs in where.  Holds secrets: it is in no ``repr``.

    Either `user` and `password`, or `application_id` and `application_secret`.

    :param auth_url: Keystone's address, with or without ``/v3``.
    :param project: name; `project_id` takes its place where both are given.
    """

    auth_url: str
    user: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    application_id: str | None = None
    application_secret: str | None = dataclasses.field(default=None, repr=False)
    project: str | None = None
    project_id: str | None = None
    user_domain: str | None = None
    user_domain_id: str | None = None
    project_domain: str | None = None
    project_domain_id: str | None = None

    @property
    def complete(self) -> bool:
        """Whether there is enough to log in with."""
        by_password = self.user and self.password
        return bool(self.auth_url and (by_password or (self.application_id and self.application_secret)))


class Caller:
    """What a service's request context tells of who asks; attributes go by OpenStack's names, old and new.

    :param context: the context, or a token alone.
    """

    def __init__(self, context: Any) -> None:
        self.token: str | None = context if isinstance(context, str) else getattr(context, "auth_token", None)
        self.user: str | None = getattr(context, "user_id", None) or getattr(context, "user", None)
        self.project: str | None = getattr(context, "project_id", None) or getattr(context, "tenant", None)
        self.roles: list[str] = list(getattr(context, "roles", None) or [])
        self.catalog: list[Any] = list(getattr(context, "service_catalog", None) or [])

    def endpoint(self, service: str, interface: str, region: str | None) -> str | None:
        """Return the URL that the context's catalog has, None when it has none."""
        for entry in self.catalog:
            if entry.get("type") == service:
                for each in entry.get("endpoints", ()):
                    if region is None or region in (each.get("region"), each.get("region_id")):
                        found = each.get(interface + "URL") or (
                            each.get("url") if each.get("interface") == interface else None
                        )
                        if found:
                            return str(found)
        return None


def make_session(
    login: Login, *, verify: bool | str, timeout: float | None, renew: int = 60, trust: str | None = None
) -> Any:
    """Return a keystoneauth1 session; no I/O.  It may be used by several threads.

    :param verify: whether the server's certificate is, or the file of the authorities to verify it by.
    :param timeout: seconds for one request.
    :param renew: seconds before its end that a token is replaced.
    :param trust: id of a trust; the session then acts for the project of the trustor.
    """
    from keystoneauth1 import session
    from keystoneauth1.identity import v3

    url = login.auth_url.rstrip("/")
    url = url if url.endswith("/v3") else f"{url}/v3"
    auth: Any
    if login.application_id:
        auth = v3.ApplicationCredential(
            auth_url=url,
            application_credential_id=login.application_id,
            application_credential_secret=login.application_secret or "",
        )
    else:
        place = {
            "project_name": login.project,
            "project_id": login.project_id,
            "project_domain_id": login.project_domain_id,
            "project_domain_name": login.project_domain,
        }
        auth = v3.Password(
            auth_url=url,
            username=login.user,
            password=login.password or "",
            user_domain_id=login.user_domain_id,
            user_domain_name=login.user_domain,
            **({"trust_id": trust} if trust else place),
        )
    auth.MIN_TOKEN_LIFE_SECONDS = renew
    return session.Session(auth=auth, verify=verify, timeout=timeout)


def translate(error: BaseException, authorities: str = "") -> errors.StoreLibError | None:
    """Return store_lib's error for one of keystoneauth1's, None when it is none of them.

    :param authorities: the option that names the file of the authorities, told where a certificate is not trusted.
    """
    if not type(error).__module__.startswith("keystoneauth1."):
        return None
    from keystoneauth1 import exceptions

    if isinstance(error, exceptions.ConnectTimeout):
        return errors.OperationTimeout("the identity service did not answer in time", outcome=errors.Outcome.NOT_DONE)
    # The name of the first differs between releases.
    if type(error).__name__ in ("SSLError", "SSLFailure") and is_for_good(error):
        text = "no TLS connection with the identity service: its certificate is not trusted, or it speaks plain HTTP"
        return errors.StoreUnavailable(f"{text}; see {authorities}" if authorities else text, transient=False)
    if isinstance(error, exceptions.ConnectionError):
        return errors.StoreUnavailable("the identity service cannot be reached")
    if isinstance(error, exceptions.Unauthorized):
        return errors.Forbidden("the identity service refuses the credentials")
    if isinstance(error, (exceptions.EndpointNotFound, exceptions.EmptyCatalog)):
        return errors.StoreUnavailable(
            "the identity service's catalog names no such endpoint: look at service type, region and endpoint type",
            transient=False,
        )
    if isinstance(error, exceptions.HttpError):
        status = error.http_status
        if status is not None and (status >= 500 or status == 429):
            return errors.StoreUnavailable(f"the identity service answered {status}")
        if status == 403:
            return errors.Forbidden("the identity service refuses the permission")
        return errors.StoreUnavailable(f"the identity service answered {status}", transient=False)
    if isinstance(error, exceptions.ClientException):
        return errors.StoreUnavailable(f"logging in failed ({type(error).__name__})", transient=False)
    return None
