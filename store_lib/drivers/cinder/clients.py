"""Clients of Cinder: one for the service's own project, kept, and one for each caller where there is none."""

from __future__ import annotations

from typing import Any

from store_lib import errors
from store_lib.drivers._keystone import Caller, Login, make_session
from store_lib.drivers.cinder import options
from store_lib.interface import Context, Runtime
from store_lib.settings import StoreSettings

__all__ = ["Clients"]

#: Attachments with a mode; all else that is used is older.
_VERSION = "3.54"


class Clients:
    """The clients of one store; nothing of them is shared with other stores.  Safe for threads.

    The service's own is made at first use in each process.
    """

    def __init__(self, settings: StoreSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._login = options.login(settings)
        self._held = runtime.per_process(self._own, _close, lambda made: None)

    @property
    def own(self) -> bool:
        """Whether the volumes belong to the service's project."""
        return self._login is not None

    def get(self, ctx: Context) -> Any:
        """Return a cinderclient: the service's own, else one with the token of the caller.

        :raises Forbidden: there are neither credentials nor a token.
        """
        return self._held.get() if self.own else self._of(ctx)

    def close(self) -> None:
        """Let go of the service's client."""
        self._held.close()

    def _own(self) -> Any:
        assert self._login is not None
        session = self._session(self._login)
        endpoint = None
        template = self._settings["cinder_endpoint_template"]
        if template:
            project = session.get_project_id()
            endpoint = template % {"tenant": project, "project_id": project}
        return self._client(session, None, endpoint)

    def _of(self, ctx: Context) -> Any:
        from keystoneauth1 import token_endpoint

        caller = Caller(ctx.caller)
        if not caller.token:
            raise errors.Forbidden(
                "the request carries no token, and the store has no credentials: set cinder_store_auth_address, "
                "cinder_store_user_name, cinder_store_password and cinder_store_project_name"
            )
        template = self._settings["cinder_endpoint_template"]
        service, _, interface = options.catalog(self._settings)
        if template:
            endpoint = template % {"tenant": caller.project, "project_id": caller.project}
        else:
            # Catalogs in a context have URLs by names such as publicURL, and the interface may be written either way.
            short = interface.removesuffix("URL")
            endpoint = caller.endpoint(service, short, self._settings["cinder_os_region_name"])
        if not endpoint:
            raise errors.StoreUnavailable(
                f"the caller's catalog has no {interface} endpoint of type {service}; set cinder_endpoint_template",
                transient=False,
            )
        return self._client(self._session(Login("")), token_endpoint.Token(endpoint, caller.token), None)

    def _session(self, login: Login) -> Any:
        verify: bool | str = not self._settings["cinder_api_insecure"]
        if verify:
            verify = self._settings["cinder_ca_certificates_file"] or True
        session = make_session(login, verify=verify, timeout=self._settings["cinder_api_timeout"])
        _bound(session, self._settings.base.connect_timeout)
        return session

    def _client(self, session: Any, auth: Any, endpoint: str | None) -> Any:
        from cinderclient import client

        service, name, interface = options.catalog(self._settings)
        return client.Client(
            _VERSION,
            session=session,
            auth=auth,
            service_type=service,
            service_name=name,
            interface=interface,
            region_name=self._settings["cinder_os_region_name"],
            endpoint_override=endpoint,
            retries=0,  # the engine repeats
        )


def _close(client: Any) -> None:
    """End the connections of a client."""
    client.client.session.session.close()


def _bound(session: Any, connect: float) -> None:
    """Have a session give up connecting sooner than waiting for an answer: keystoneauth1 has one figure for both."""
    from requests import adapters

    class Adapter(adapters.HTTPAdapter):  # type: ignore[misc, unused-ignore]
        def send(self, request: Any, *args: Any, **how: Any) -> Any:
            timeout = how.get("timeout")
            if isinstance(timeout, (int, float)):
                how["timeout"] = (min(connect, timeout), timeout)
            return super().send(request, *args, **how)

    for scheme in ("http://", "https://"):
        session.session.mount(scheme, Adapter())
