"""What the errors of Cinder's client, of os-brick and of the kernel mean."""

from __future__ import annotations

import errno
from typing import Any

from store_lib import errors
from store_lib.drivers import _keystone
from store_lib.drivers._rbd_values import ceph_error
from store_lib.drivers._tls import is_for_good
from store_lib.errors import Outcome

__all__ = ["of_cinder", "of_keystone", "of_request", "translate"]

_TOO_OLD = "this Cinder is too old: microversion 3.54 of its API is needed (Cinder of the release Stein or later)"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_AUTHORITIES = "cinder_ca_certificates_file"


def translate(error: BaseException) -> errors.StoreLibError | None:
    """Return store_lib's error for one of the libraries under this driver, None when it is none of theirs."""
    module = type(error).__module__.partition(".")[0]
    if module == "keystoneauth1":
        return of_keystone(error)
    if module == "cinderclient":
        return of_cinder(error)
    if module in ("os_brick", "oslo_concurrency", "oslo_privsep"):
        return errors.StoreUnavailable(f"this host cannot attach the volume: {_plain(error)}", outcome=Outcome.UNKNOWN)
    if isinstance(error, OSError) and not isinstance(error, (ConnectionError, FileExistsError)):
        known = ceph_error(error)  # Ceph's are OSErrors as well
        return known if known is not None else _of_device(error)
    return ceph_error(error)


def _plain(error: BaseException) -> str:
    """Return the first line of what a library says: what follows may be a command with its arguments."""
    text = (str(error) or type(error).__name__).strip().splitlines()
    return text[0][:200] if text else type(error).__name__


def _of_device(error: OSError) -> errors.StoreLibError:
    told = error.strerror or type(error).__name__
    if error.errno in _FULL:
        return errors.StoreFull(f"the volume has no room: {told}")
    if error.errno in _REFUSED:
        return errors.Forbidden(f"this process may not use the volume: {told}")
    if error.errno == errno.ETIMEDOUT:
        return errors.OperationTimeout(f"the volume did not answer in time: {told}")
    return errors.StoreUnavailable(f"the volume fails: {told}", outcome=Outcome.UNKNOWN)


def of_cinder(error: Any) -> errors.StoreLibError:
    """Return the error for an answer of Cinder, for requests that have no meaning of their own for it."""
    code = getattr(error, "code", None)
    if not isinstance(code, int):
        if type(error).__name__ in ("VersionNotFoundForAPIMethod", "UnsupportedVersion"):
            return errors.StoreUnavailable(_TOO_OLD, transient=False)
        return errors.BackendError(f"Cinder's client gave up ({type(error).__name__})")
    message = getattr(error, "message", "")
    told = f"Cinder answered {code}: {str(message)[:200]}"
    if code == 401:
        return errors.Forbidden(f"the token is refused: {told}")
    if code == 403:
        return errors.Forbidden(f"the permission is refused: {told}")
    if code == 404:
        return errors.StoreUnavailable(f"there is no such thing: {told}", transient=False)
    if code == 406:
        return errors.StoreUnavailable(f"{_TOO_OLD}; {told}", transient=False)
    if code == 413:
        return errors.StoreFull(f"a quota is used up: {told}")
    if code == 429:
        return errors.StoreUnavailable(f"requests came too often: {told}")
    if code >= 500:
        return errors.StoreUnavailable(told, outcome=Outcome.NOT_DONE if code == 503 else Outcome.UNKNOWN)
    return errors.BackendError(told, transient=code == 409)


def of_keystone(error: BaseException) -> errors.StoreLibError | None:
    """Return the error for a login that failed, None when `error` is something else."""
    return _keystone.translate(error, _AUTHORITIES)


def of_request(error: BaseException) -> errors.StoreLibError | None:
    """Return the error for a request to Cinder itself that brought no answer, None when `error` is something else.

    keystoneauth1 has one error for all time-outs and one for all failing connections; what lies below tells whether
    the request was sent.
    """
    if not type(error).__module__.startswith("keystoneauth1."):
        return None
    from keystoneauth1 import exceptions

    below: Any = error.__cause__ or error.__context__
    name = type(below).__name__
    if isinstance(error, exceptions.ConnectTimeout):
        sent = Outcome.NOT_DONE if name == "ConnectTimeout" else Outcome.UNKNOWN
        return errors.OperationTimeout("Cinder did not answer in time", outcome=sent)
    if type(error).__name__ in ("SSLError", "SSLFailure") and is_for_good(error):
        text = "no TLS connection with Cinder: its certificate is not trusted, or it speaks plain HTTP"
        return errors.StoreUnavailable(f"{text}; see {_AUTHORITIES}", transient=False)
    if isinstance(error, exceptions.ConnectionError):
        cause = below.args[0] if getattr(below, "args", None) else None
        refused = type(getattr(cause, "reason", cause)).__name__ in ("NewConnectionError", "NameResolutionError")
        text = "Cinder cannot be reached" if refused else "the connection to Cinder broke off"
        return errors.StoreUnavailable(text, outcome=Outcome.NOT_DONE if refused else Outcome.UNKNOWN)
    return of_keystone(error)
