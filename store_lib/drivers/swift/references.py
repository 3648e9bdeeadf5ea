"""Accounts of a swift store: what a reference in a location stands for, and with which credentials."""

from __future__ import annotations

import configparser
import logging
import os
from collections.abc import Iterator, Mapping

from store_lib import errors
from store_lib.drivers._keystone import Login
from store_lib.errors import Mistake
from store_lib.settings import StoreSettings

__all__ = ["References", "check", "reference_of", "server_of"]

LOG = logging.getLogger(__name__)

_DOMAINS = ("user_domain_id", "user_domain_name", "project_domain_id", "project_domain_name")


class BadFile(Exception):
    """The file of references cannot be read; the message holds nothing of its values."""


class References:
    """The accounts by name, as the configuration has them now.  Safe for threads and forks: there is no lock.

    The file is looked at again whenever credentials are needed anew: it may have been replaced meanwhile.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self.default: str = settings["default_swift_reference"]
        self._path: str | None = settings["swift_store_config_file"]
        self._told = False
        self._read: tuple[tuple[int, int, int], dict[str, Login]] | None = None

    def get(self, name: str) -> Login:
        """Return the login of a reference.

        :raises StoreUnavailable: the file could never be read, or names it no more.
        """
        logins = self.all()
        if name not in logins:
            raise errors.StoreUnavailable(f"no credentials are configured for the reference {name}", transient=False)
        return logins[name]

    def all(self) -> Mapping[str, Login]:
        """Return all of them; of a file that was broken meanwhile what it held before."""
        if not self._path:
            return {self.default: _from_options(self._settings)}
        try:
            found = os.stat(self._path)
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._read is None or self._read[0] != stamp:
                self._read, self._told = (stamp, _from_file(self._path)), False
        except (OSError, BadFile) as error:
            problem = f"the file of swift_store_config_file cannot be read: {_reason(error)}"
            if self._read is None:
                raise errors.StoreUnavailable(problem) from None
            if not self._told:
                LOG.warning("%s; what it held before stays in use", problem)
            self._told = True
        return self._read[1]


def server_of(url: str) -> str:
    """Return an address of Keystone without scheme, version and slash at its end: old locations lack some of them."""
    return url.rpartition("://")[2].rstrip("/").removesuffix("/v3").rstrip("/").lower()


def _from_options(settings: StoreSettings) -> Login:
    values = {
        "auth_address": settings["swift_store_auth_address"],
        "user": settings["swift_store_user"],
        "key": settings["swift_store_key"],
        "application_credential_id": settings["swift_store_application_credential_id"],
        "application_credential_secret": settings["swift_store_application_credential_secret"],
        "project_name": settings["swift_store_project_name"],
        "project_id": settings["swift_store_project_id"],
    }
    return _login({name: value for name, value in values.items() if value})


def _from_file(path: str) -> dict[str, Login]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except UnicodeDecodeError:
        raise BadFile("it is not UTF-8") from None
    except configparser.Error as error:
        line = getattr(error, "lineno", None)
        raise BadFile(f"{type(error).__name__}{f' in line {line}' if line else ''}") from None
    return {
        name: _login({key: value.strip("\"'") for key, value in parser[name].items() if value})
        for name in parser.sections()
    }


def _login(values: Mapping[str, str]) -> Login:
    project, colon, user = values.get("user", "").partition(":")
    if not colon:
        project, user = "", project
    domains = {name: values.get(name) for name in _DOMAINS}
    return Login(
        auth_url=values.get("auth_address", ""),
        user=user or None,
        password=values.get("key"),
        application_id=values.get("application_credential_id"),
        application_secret=values.get("application_credential_secret"),
        project=values.get("project_name") or project or None,
        project_id=values.get("project_id"),
        user_domain=domains["user_domain_name"],
        user_domain_id=domains["user_domain_id"] or (None if domains["user_domain_name"] else "default"),
        project_domain=domains["project_domain_name"],
        project_domain_id=domains["project_domain_id"] or (None if domains["project_domain_name"] else "default"),
    )


def _reason(error: BaseException) -> str:
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)


def check(settings: StoreSettings) -> Iterator[Mistake]:
    """Yield what is wrong with the accounts."""
    path, name = settings["swift_store_config_file"], settings["default_swift_reference"]
    option = "swift_store_config_file" if path else "swift_store_auth_address"
    if not name or any(char in name for char in "/?#@: "):
        yield Mistake(settings.id, "default_swift_reference", "it cannot be part of a location", "use letters")
        return
    try:
        logins = _from_file(path) if path else {name: _from_options(settings)}
    except (OSError, BadFile) as error:
        yield Mistake(settings.id, option, f"the file cannot be read: {_reason(error)}", "mend the file or its path")
        return
    if name not in logins:
        near = ", ".join(sorted(logins)) or "none"
        mend = f"name one that the file has: {near}"
        yield Mistake(settings.id, "default_swift_reference", f"the file has no section [{name}]", mend)
    elif not logins[name].auth_url and not _by_token_only(settings):
        yield Mistake(
            settings.id, option, "it is not said where Keystone is", "write its address, such as http://HOST:5000/v3"
        )
    elif not logins[name].complete and not settings["swift_store_multi_tenant"]:
        mend = "write user (PROJECT:USER) and key, or an application credential with its secret"
        yield Mistake(settings.id, option, "the credentials are not complete", mend)


def _by_token_only(settings: StoreSettings) -> bool:
    """Whether the store works with the callers' tokens alone."""
    return bool(settings["swift_store_multi_tenant"])


def reference_of(logins: Mapping[str, Login], server: str, user: str | None) -> str | None:
    """Return the reference that an old location with the address of Keystone in it belongs to, None for none of them.

    :param user: ``PROJECT:USER`` of that location, where it holds one.
    """
    project = user.partition(":")[0] if user and ":" in user else None
    for name, login in logins.items():
        # With an application credential the project may not be known; then the server has to do.
        fits = project is None or login.project in (None, project)
        if fits and login.auth_url and server_of(login.auth_url) == server_of(server):
            return name
    return None
