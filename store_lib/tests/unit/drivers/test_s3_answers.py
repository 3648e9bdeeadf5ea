"""What answers of S3 servers mean: errors by their codes, and servers by their headers."""

import pickle

import pytest
from botocore import exceptions

from store_lib import errors
from store_lib.drivers._s3_errors import translate
from store_lib.drivers._s3_servers import SERVERS, recognise
from store_lib.errors import Outcome


def answer(code, status):
    """Return the error of an answer."""
    told = {"Error": {"Code": code, "Message": "secret text"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return exceptions.ClientError(told, "PutObject")


@pytest.mark.parametrize(
    ("code", "status", "kind", "transient", "outcome"),
    [
        ("AccessDenied", 403, errors.Forbidden, False, Outcome.NOT_DONE),
        ("403", 403, errors.Forbidden, False, Outcome.NOT_DONE),
        ("SomethingNew", 403, errors.Forbidden, False, Outcome.NOT_DONE),
        ("SignatureDoesNotMatch", 403, errors.Forbidden, False, Outcome.NOT_DONE),
        ("RequestTimeTooSkewed", 403, errors.Forbidden, False, Outcome.NOT_DONE),
        ("ExpiredToken", 400, errors.Forbidden, False, Outcome.NOT_DONE),
        ("NoSuchKey", 404, errors.NotFound, False, Outcome.NOT_DONE),
        ("NoSuchBucket", 404, errors.StoreUnavailable, False, Outcome.NOT_DONE),
        ("404", 404, errors.StoreUnavailable, False, Outcome.NOT_DONE),
        ("NoSuchUpload", 404, errors.BackendError, False, Outcome.NOT_DONE),
        ("QuotaExceeded", 403, errors.StoreFull, False, Outcome.NOT_DONE),
        ("InsufficientStorage", 507, errors.StoreFull, False, Outcome.NOT_DONE),
        ("EntityTooLarge", 413, errors.StoreFull, False, Outcome.NOT_DONE),
        ("SlowDown", 503, errors.StoreUnavailable, True, Outcome.NOT_DONE),
        ("SomethingNew", 503, errors.StoreUnavailable, True, Outcome.NOT_DONE),
        ("SomethingNew", 429, errors.StoreUnavailable, True, Outcome.NOT_DONE),
        ("InternalError", 500, errors.StoreUnavailable, True, Outcome.UNKNOWN),
        ("504", 504, errors.StoreUnavailable, True, Outcome.UNKNOWN),
        ("RequestTimeout", 400, errors.StoreUnavailable, True, Outcome.NOT_DONE),
        ("ConditionalRequestConflict", 409, errors.StoreUnavailable, True, Outcome.NOT_DONE),
        ("BadDigest", 400, errors.DigestMismatch, True, Outcome.NOT_DONE),
        ("MissingContentLength", 411, errors.BackendError, False, Outcome.NOT_DONE),
        ("PermanentRedirect", 301, errors.BackendError, False, Outcome.NOT_DONE),
        ("InvalidArgument", 400, errors.BackendError, False, Outcome.NOT_DONE),
    ],
)
def test_answers(code, status, kind, transient, outcome):
    """Each has its class, whether another try is worth it, and whether it may have been done."""
    found = translate(answer(code, status))
    assert found is not None
    assert type(found) is kind
    assert (found.transient, found.outcome) == (transient, outcome)
    assert code in str(found) or code == "404"
    assert "secret text" not in str(found)
    assert str(pickle.loads(pickle.dumps(found))) == str(found)


@pytest.mark.parametrize(
    ("error", "kind", "transient", "outcome"),
    [
        (exceptions.EndpointConnectionError(endpoint_url="x"), errors.StoreUnavailable, True, Outcome.NOT_DONE),
        (exceptions.ConnectTimeoutError(endpoint_url="x"), errors.StoreUnavailable, True, Outcome.NOT_DONE),
        (exceptions.ReadTimeoutError(endpoint_url="x"), errors.OperationTimeout, True, Outcome.UNKNOWN),
        (exceptions.ConnectionClosedError(endpoint_url="x"), errors.StoreUnavailable, True, Outcome.UNKNOWN),
        (exceptions.ResponseStreamingError(error="x"), errors.StoreUnavailable, True, Outcome.UNKNOWN),
        (
            exceptions.SSLError(endpoint_url="x", error="[SSL: CERTIFICATE_VERIFY_FAILED]"),
            errors.StoreUnavailable,
            False,
            Outcome.NOT_DONE,
        ),
        (
            exceptions.SSLError(endpoint_url="x", error="hostname 'a' doesn't match 'b'"),
            errors.StoreUnavailable,
            False,
            Outcome.NOT_DONE,
        ),
        (
            exceptions.SSLError(endpoint_url="x", error="EOF occurred in violation of protocol"),
            errors.StoreUnavailable,
            True,
            Outcome.UNKNOWN,
        ),
        (exceptions.NoCredentialsError(), errors.Forbidden, False, Outcome.NOT_DONE),
        (exceptions.ProfileNotFound(profile="x"), errors.Forbidden, False, Outcome.NOT_DONE),
        (exceptions.ParamValidationError(report="x"), errors.BackendError, False, Outcome.NOT_DONE),
        (ConnectionResetError(), errors.StoreUnavailable, True, Outcome.UNKNOWN),
    ],
)
def test_connections(error, kind, transient, outcome):
    """A connection that was never made did nothing; one that broke may have done all."""
    found = translate(error)
    assert found is not None
    assert type(found) is kind
    assert (found.transient, found.outcome) == (transient, outcome)


def test_sending_that_timed_out():
    """The client tells it as a connection that was closed."""
    error = exceptions.ConnectionClosedError(endpoint_url="x")
    error.__cause__ = OSError("aborted")
    error.__cause__.__context__ = TimeoutError("the write operation timed out")
    found = translate(error)
    assert isinstance(found, errors.OperationTimeout)
    assert (found.transient, found.outcome) == (True, Outcome.UNKNOWN)


def test_a_proxy_is_not_shown():
    """Its URL may hold a password."""
    found = translate(exceptions.ProxyConnectionError(proxy_url="http://user:theword@proxy", error="x"))
    assert "theword" not in str(found)


def test_mistakes_in_the_driver_stay_mistakes():
    """They are not of the client."""
    assert translate(TypeError()) is None


@pytest.mark.parametrize(
    ("headers", "host", "name"),
    [
        ({"server": "AmazonS3"}, "proxy.example.org", "aws"),
        ({}, "s3.eu-west-1.amazonaws.com", "aws"),
        ({"server": "MinIO"}, "minio:9000", "minio"),
        ({"x-rgw-object-count": "0"}, "rgw", "ceph-rgw"),
        ({"x-amz-request-id": "tx000001041497b1b7980e0-006b019ec9-1012-default"}, "rgw", "ceph-rgw"),
        (
            {
                "x-amz-request-id": "txe5d0b2a4f0c24f4f8e7d1-006b0082ee",
                "x-trans-id": "txe5d0b2a4f0c24f4f8e7d1-006b0082ee",
            },
            "swift",
            "s3api",
        ),
        ({"server": "Werkzeug/3.1.9 Python/3.11.7"}, "localhost:5000", "moto"),
        ({}, "0123.r2.cloudflarestorage.com", "r2"),
    ],
)
def test_servers_are_recognised(headers, host, name):
    """By what they send, or by their name."""
    assert recognise(headers, host) is SERVERS[name]


def test_nobody_is_recognised_without_reason():
    """An unknown server is told from those that are known."""
    assert recognise({"server": "nginx", "x-amz-request-id": "0123456789ABCDEF"}, "amazonaws.com.example.org") is None
