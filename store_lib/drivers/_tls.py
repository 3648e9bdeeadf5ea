"""What an error of TLS means: a connection that broke, or one that will never come about."""

from __future__ import annotations

__all__ = ["is_for_good"]

#: What OpenSSL, and urllib3 of a name, call the failures that another try does not mend.
_REASONS = (
    *("CERTIFICATE", "WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "HANDSHAKE_FAILURE", "UNKNOWN_CA", "HTTP_REQUEST"),
    *("PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "NO_PROTOCOLS_AVAILABLE"),
    *("doesn't match", "no appropriate subjectAltName"),
)


def is_for_good(error: BaseException) -> bool:
    """Return whether another try does not mend it: no trust in the certificate, no common protocol, or no TLS there.

    :param error: of any client; what OpenSSL said stands in its text.  A connection that broke after its handshake is
        told by the same classes.
    """
    text = str(error)
    return any(reason in text for reason in _REASONS)
