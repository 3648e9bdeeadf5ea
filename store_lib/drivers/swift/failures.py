"""What the errors of Swift's client mean."""

from __future__ import annotations

from typing import Any

from store_lib import errors
from store_lib.drivers import _keystone
from store_lib.drivers._tls import is_for_good
from store_lib.errors import Outcome

__all__ = ["answered", "translate"]

_AUTHORITIES = "swift_store_cacert"
#: Answers after which the same request is worth another try, and which did not do what was asked.
_PASSING = {408: "took too long to arrive", 429: "came too often", 498: "came too often", 499: "broke off"}


def answered(status: int, reason: str, transaction: str | None) -> errors.StoreLibError:
    """Return the error of an answer that is no success, for requests that have no meaning of their own for it."""
    told = f"Swift answered {status} {reason}".rstrip() + (f" (transaction {transaction})" if transaction else "")
    if status in _PASSING:
        return errors.StoreUnavailable(f"the request {_PASSING[status]}: {told}")
    if status == 403:
        return errors.Forbidden(f"the permission is refused: {told}")
    if status == 413:
        return errors.StoreFull(f"a quota, or the largest size of an object, is exceeded: {told}")
    if status == 507:
        return errors.StoreFull(told)
    if status == 422:
        # What arrived was not what was sent: the next time it may be.
        return errors.DigestMismatch(f"the bytes changed on their way: {told}", transient=True)
    if status == 416:
        return errors.BadRange(told)
    if status >= 500:
        return errors.StoreUnavailable(told, outcome=Outcome.UNKNOWN)
    return errors.BackendError(told, transient=status == 409)


def translate(error: BaseException) -> errors.StoreLibError | None:
    """Return store_lib's error for one of the client's libraries, None when it is none of theirs."""
    module = type(error).__module__.partition(".")[0]
    if module == "keystoneauth1":
        return _keystone.translate(error, _AUTHORITIES)
    if module == "requests":
        return _of_requests(error)
    if module == "urllib3":  # from the middle of a body
        return _of_urllib3(error)
    if module == "swiftclient":
        return errors.BackendError(f"the client gave up ({type(error).__name__})")
    return None


def _of_requests(error: Any) -> errors.StoreLibError:
    from requests import exceptions

    if isinstance(error, exceptions.SSLError) and is_for_good(error):
        text = "no TLS connection with Swift: its certificate is not trusted, or it speaks plain HTTP"
        return errors.StoreUnavailable(f"{text}; see {_AUTHORITIES}", transient=False)
    if isinstance(error, exceptions.ConnectTimeout):
        return errors.OperationTimeout("Swift cannot be reached in time", outcome=Outcome.NOT_DONE)
    if isinstance(error, exceptions.Timeout):
        return errors.OperationTimeout("Swift did not answer in time")
    if isinstance(error, exceptions.ConnectionError):
        if _refused(error):
            return errors.StoreUnavailable("Swift cannot be reached")
        return errors.StoreUnavailable("the connection to Swift broke off", outcome=Outcome.UNKNOWN)
    return errors.StoreUnavailable(f"the request failed ({type(error).__name__})", outcome=Outcome.UNKNOWN)


def _refused(error: Any) -> bool:
    """Whether no connection came about, so that nothing was sent."""
    from urllib3.exceptions import NewConnectionError

    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", cause), NewConnectionError)


def _of_urllib3(error: Any) -> errors.StoreLibError:
    from urllib3 import exceptions

    if isinstance(error, exceptions.TimeoutError):
        return errors.OperationTimeout("Swift sent nothing for too long")
    return errors.StoreUnavailable("the connection to Swift broke off", outcome=Outcome.UNKNOWN)
