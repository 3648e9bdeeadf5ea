"""A question to an NFS server that needs no mount: the null procedure of ONC RPC.

A TCP connection alone proves nothing, the kernel of a server that hangs accepts it; the null procedure is answered by
the NFS server itself.  Format: RFC 5531 (RPC), program 100003 of RFC 1813 and RFC 8881.
"""

from __future__ import annotations

import os
import socket
import struct
import time

__all__ = ["PORT", "null_call"]

PORT = 2049
_PROGRAM = 100003
_CALL = struct.Struct(">10I")
_ANSWER = struct.Struct(">7I")
#: Record mark of RFC 5531 section 11: highest bit for the last fragment, the rest its length.
_LAST = 0x80000000
_ACCEPTED = (1, 0, 0)  # message type reply, accepted, success
_MISMATCH = 2  # accepted, but the program has other versions only


def null_call(host: str, port: int = PORT, version: int = 4, timeout: float = 3.0) -> None:
    """Return when the server answers.

    :param timeout: seconds for all of it.
    :raises TimeoutError: it takes the connection, or not even that, and says nothing.
    :raises OSError: it cannot be reached.
    :raises ValueError: something else answers, or it does not serve that version.
    """
    deadline = time.monotonic() + timeout
    number = int.from_bytes(os.urandom(4), "big")
    call = _CALL.pack(number, 0, 2, _PROGRAM, version, 0, 0, 0, 0, 0)
    with socket.create_connection((host, port), timeout) as connection:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        connection.sendall(struct.pack(">I", _LAST | len(call)) + call)
        answer = b""
        while len(answer) < _ANSWER.size:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            piece = connection.recv(64)
            if not piece:
                raise ConnectionError("it closed the connection")
            answer += piece
    _, replied, kind, status, _, _, accepted = _ANSWER.unpack(answer[: _ANSWER.size])
    if replied != number:
        raise ValueError("what answers is no NFS server")
    if (kind, status, accepted) == (1, 0, _MISMATCH):
        raise ValueError(f"it does not serve NFS version {version}")
    if (kind, status, accepted) != _ACCEPTED:
        raise ValueError("it refuses the call")
