"""What the tools of this folder ask the system about processes and ports."""

from __future__ import annotations

import pathlib
import random
import socket


def started(pid: int) -> str | None:
    """Return the start time of a process, None when it is gone; a pid alone may be another's by now."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def free_port(taken: set[int]) -> int:
    """Return a port that nobody uses, outside of the kernel's range for outgoing connections."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in taken:
            return port
