"""What S3 servers do differently, as rows of data; and how a server is recognised."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

__all__ = ["AUTO", "SERVERS", "Server", "recognise"]

#: Value of the option for a server that is to be recognised by itself.
AUTO = "auto"
_ABSENT = {"IfNoneMatch": "*"}


@dataclasses.dataclass(frozen=True)
class Server:
    """One kind of server.

    :param name: as it stands in the option ``s3_store_server``.
    :param exclusive_put: ``If-None-Match: *`` on PUT is honoured: of several writers at one moment one succeeds.
    :param exclusive_complete: it is honoured on the completion of a multipart upload, too.
    :param exclusive_versions: that holds in a bucket that keeps versions, too.
    :param checks: it is looked at on both, but does not keep writers at one moment apart.
    :param equal_parts: all parts of an upload but the last must be of one size.
    :param quoted_match: ``If-Match`` of a PUT is compared with the quotes of the ETag.
    :param constrained: a bucket of another region than us-east-1 is made with a LocationConstraint.
    :param usage: HEAD of the bucket tells how much is in it.
    :param signed: the SHA-256 of a body, which the SDK sends and signs over plain HTTP, is compared with what arrived
        (tried with Ceph's gateway and s3api, of a PUT and of a part).
    """

    name: str
    exclusive_put: bool = True
    exclusive_complete: bool = True
    exclusive_versions: bool = True
    checks: bool = False
    equal_parts: bool = False
    quoted_match: bool = True
    constrained: bool = False
    usage: bool = False
    signed: bool = False

    def unguarded(self, secure: bool) -> bool:
        """Return whether nothing but a digest of our own guards the bytes on their way there.

        :param secure: they travel over TLS.
        """
        return not (secure or self.signed)

    @property
    def put_condition(self) -> Mapping[str, str]:
        """The parameters that make a PUT conditional, where that is of use."""
        return _ABSENT if self.exclusive_put or self.checks else {}

    @property
    def complete_condition(self) -> Mapping[str, str]:
        """The parameters that make a completion conditional, where that is of use."""
        return _ABSENT if self.exclusive_complete or self.checks else {}

    @property
    def claims(self) -> bool:
        """Whether completing needs a claim: PUT can be exclusive and completion cannot."""
        return self.exclusive_put and not self.exclusive_complete


SERVERS = {
    row.name: row
    for row in (
        Server("aws", constrained=True, signed=True),
        Server("minio", signed=True),
        # Release 16.2, tried: PUT honours the condition (one winner among many), completion overwrites what is there.
        # If-Match of a PUT is compared without quotes.  In a bucket that keeps versions PUT ignores the condition.
        Server(
            "ceph-rgw",
            exclusive_complete=False,
            exclusive_versions=False,
            quoted_match=False,
            usage=True,
            signed=True,
        ),
        # Swift 2.38, tried: of ten writers at one moment up to ten succeed.
        Server("s3api", exclusive_put=False, exclusive_complete=False, checks=True, signed=True),
        # 5.2, tried.  It compares no digest of a body.
        Server("moto"),
        # Its documentation: parts but the last must be of one size.
        Server("r2", equal_parts=True, exclusive_complete=False),
        # Any other that honours the condition on PUT.
        Server("other", exclusive_complete=False),
        # Any other that does not.
        Server("basic", exclusive_put=False, exclusive_complete=False),
    )
}

_RGW_REQUEST = re.compile(r"tx[0-9a-f]{21}-[0-9a-f]{10}-[0-9a-f]+-.+")


def recognise(headers: Mapping[str, str], host: str) -> Server | None:
    """Return the kind of server that sent `headers` (names in lower case), None when it is none of those known.

    :param host: of the endpoint.
    """
    software = headers.get("server", "").lower()
    name = None
    if any(each.startswith("x-rgw-") for each in headers) or (
        _RGW_REQUEST.fullmatch(headers.get("x-amz-request-id", "")) and "x-trans-id" not in headers
    ):
        name = "ceph-rgw"
    elif "x-trans-id" in headers or "x-openstack-request-id" in headers:
        name = "s3api"
    elif software == "amazons3" or re.search(r"(^|\.)amazonaws\.com(\.cn)?(:\d+)?$", host):
        name = "aws"
    elif software.startswith("minio"):
        name = "minio"
    elif software.startswith("werkzeug") or "moto" in software:
        name = "moto"
    elif host.endswith(".r2.cloudflarestorage.com"):
        name = "r2"
    return SERVERS[name] if name else None
