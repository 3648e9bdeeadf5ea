"""Errors of botocore and what they are in store_lib: the only place that knows both.

Texts are our own: an SDK's may hold URLs, keys of a proxy, or what a server likes to repeat.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from store_lib import errors
from store_lib.drivers._tls import is_for_good
from store_lib.errors import Outcome, StoreLibError

__all__ = ["code_of", "is_missing", "status_of", "translate", "unknown"]

_KEYS = "see s3_store_access_key and s3_store_secret_key, or the provider chain"
_REGION = "set s3_store_region_name and s3_store_host to those of the bucket"

#: Codes by what they mean: class, what to say, transient, outcome; None takes the class's own.
_CODES: dict[str, tuple[type[StoreLibError], str, bool | None, Outcome | None]] = {
    **dict.fromkeys(
        ("AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "MethodNotAllowed"),
        (
            errors.Forbidden,
            "the server refuses the permission; see the rights of the key and who owns the bucket",
            None,
            None,
        ),
    ),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "NotSignedUp", "401", "Unauthorized"),
        (errors.Forbidden, f"the server does not accept the keys; {_KEYS}", None, None),
    ),
    **dict.fromkeys(
        ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "ExpiredTokenException", "InvalidClientTokenId"),
        (errors.Forbidden, "the server does not accept the temporary credentials; renew them", None, None),
    ),
    "RequestTimeTooSkewed": (
        errors.Forbidden,
        "the clock of this machine and that of the server differ too much; set the clock",
        None,
        None,
    ),
    **dict.fromkeys(
        ("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "301", "307"),
        (errors.BackendError, f"the bucket belongs to another region or endpoint; {_REGION}", None, None),
    ),
    **dict.fromkeys(
        ("NoSuchBucket",),
        (
            errors.StoreUnavailable,
            "the bucket does not exist; make it, or set s3_store_create_bucket_on_put",
            False,
            None,
        ),
    ),
    "NoSuchKey": (errors.NotFound, "the image is not there", None, None),
    "NoSuchUpload": (errors.BackendError, "the upload is not there any more; somebody removed it", None, None),
    **dict.fromkeys(
        (
            *("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "507"),
            *("ServiceQuotaExceeded", "StorageLimitExceeded", "InsufficientCapacity"),
        ),
        (errors.StoreFull, "the server has no room for it, or a quota is used up", None, None),
    ),
    **dict.fromkeys(
        (
            "SlowDown",
            "ServiceUnavailable",
            "Throttling",
            "ThrottlingException",
            "TooManyRequests",
            "RequestLimitExceeded",
        ),
        (errors.StoreUnavailable, "the server asks to slow down", True, None),
    ),
    **dict.fromkeys(
        ("RequestTimeout", "RequestTimeoutException", "IncompleteBody"),
        (errors.StoreUnavailable, "the server did not get the whole request", True, None),
    ),
    **dict.fromkeys(
        ("OperationAborted", "ConditionalRequestConflict", "409"),
        (errors.StoreUnavailable, "another request for the same object was under way", True, None),
    ),
    **dict.fromkeys(
        ("BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"),
        (errors.DigestMismatch, "what the server got has another digest than what was sent", True, None),
    ),
    **dict.fromkeys(
        ("MissingContentLength", "NotImplemented", "501"),
        (
            errors.BackendError,
            "the server does not know this way of sending; set s3_store_request_checksum_calculation to when_required",
            None,
            None,
        ),
    ),
    **dict.fromkeys(
        ("EntityTooLarge", "413"),
        (errors.StoreFull, "it is larger than the server or a quota allows", None, None),
    ),
    "BucketAlreadyExists": (errors.Forbidden, "the bucket belongs to somebody else; choose another name", None, None),
}


def status_of(error: Any) -> int:
    """Return the HTTP status of a ClientError, 0 when there is none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def code_of(error: Any) -> str:
    """Return the S3 code of a ClientError; the status, where its answer had no body."""
    return str(error.response.get("Error", {}).get("Code") or status_of(error))


def is_missing(error: Any) -> bool:
    """Whether a ClientError says that object, or bucket, is not there."""
    return status_of(error) == 404 or code_of(error) in ("NoSuchKey", "NoSuchBucket", "404")


@contextlib.contextmanager
def unknown() -> Iterator[None]:
    """Around what follows a request that was done: its failure leaves open what the whole came to."""
    try:
        yield
    except Exception as error:
        found = translate(error)
        if found is None:
            raise
        found.outcome = Outcome.UNKNOWN
        raise found from error


def translate(error: BaseException) -> StoreLibError | None:
    """Return store_lib's error, None when `error` is not of the client."""
    if isinstance(error, StoreLibError):
        return error
    known: Any = sys.modules.get("botocore.exceptions")
    if known is None:
        return None
    if isinstance(error, known.ClientError):
        return _of_answer(error)
    if isinstance(error, known.BotoCoreError):
        return _of_connection(error, known)
    urllib3: Any = sys.modules.get("urllib3.exceptions")
    if isinstance(error, OSError) or (urllib3 is not None and isinstance(error, urllib3.HTTPError)):
        return errors.StoreUnavailable(f"the connection broke off ({type(error).__name__})", outcome=Outcome.UNKNOWN)
    return None


def _timed_out(error: BaseException | None) -> bool:
    """Whether the cause is a time-out: one of sending is to the client like any other end of the connection."""
    while error is not None and not isinstance(error, TimeoutError):
        error = error.__cause__ or error.__context__
    return error is not None


def _of_answer(error: Any) -> StoreLibError:
    status, code = status_of(error), code_of(error)
    made = _CODES.get(code) or _CODES.get(str(status) if status != 404 else "")
    if made is not None:
        kind, text, transient, outcome = made
        return kind(f"{text} ({code})", transient=transient, outcome=outcome)
    if status in (502, 503, 429):
        return errors.StoreUnavailable(f"the server cannot answer now ({code})")
    if status >= 500:
        return errors.StoreUnavailable(f"the server failed ({code})", outcome=Outcome.UNKNOWN)
    if status == 404:
        return errors.StoreUnavailable("what the server has there is no S3 store, or no such bucket", transient=False)
    return errors.BackendError(f"the server refuses the request ({code}, HTTP status {status})")


def _of_connection(error: Any, known: Any) -> StoreLibError:
    name = type(error).__name__
    if isinstance(error, known.SSLError) and is_for_good(error):
        text = "no TLS connection with the server: its certificate is not trusted, or it speaks plain HTTP; see "
        return errors.StoreUnavailable(
            text + "s3_store_cacert, and http:// or https:// in s3_store_host", transient=False
        )
    if isinstance(error, known.ProxyConnectionError):
        return errors.StoreUnavailable("the proxy cannot be reached; see s3_store_proxy")
    if isinstance(error, (known.ConnectTimeoutError, known.EndpointConnectionError)):
        return errors.StoreUnavailable(f"the server cannot be reached ({name})")
    if isinstance(error, known.ReadTimeoutError) or _timed_out(error):
        return errors.OperationTimeout("the server did not answer in time")
    # A connection that broke after its handshake is an SSLError as well.
    if isinstance(
        error, (known.ConnectionError, known.HTTPClientError, known.ResponseStreamingError, known.IncompleteReadError)
    ):
        return errors.StoreUnavailable(f"the connection broke off ({name})", outcome=Outcome.UNKNOWN)
    if isinstance(error, (known.NoCredentialsError, known.PartialCredentialsError)):
        return errors.Forbidden(f"there are no credentials; {_KEYS}")
    if isinstance(error, (known.CredentialRetrievalError, known.MetadataRetrievalError)):
        return errors.StoreUnavailable(f"no credentials could be got from the provider chain ({name})")
    if isinstance(error, (known.ProfileNotFound, known.ConfigNotFound, known.ConfigParseError)):
        return errors.Forbidden(f"the profile cannot be used ({name}); see s3_store_profile and its file")
    if isinstance(error, known.MissingDependencyException):
        return errors.BackendError(
            "the checksum that is configured needs botocore's extra crt: pip install botocore[crt]"
        )
    return errors.BackendError(f"the client of the server failed ({name})")
