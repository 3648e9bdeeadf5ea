"""What the tools of this folder ask the system about processes and ports."""

from __future__ import annotations

import os
import pathlib
import random
import signal
import socket
import sys
import time

#: In the environment of every server: the tool that started it, and the folder that it belongs to.
MARK = "STORE_LIB_SERVICE"
MOMENT = 1.0  # seconds in which a process ends that is about to
PATIENCE = 10.0  # seconds in which one ends that was asked to


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


def marked(tool: str, folder: pathlib.Path) -> dict[str, str]:
    """Return the environment of a server, which tells whose it is when its folder is gone."""
    return {**os.environ, MARK: f"{tool} {folder.resolve()}"}


def of_folder(tool: str, folder: pathlib.Path) -> list[int]:
    """Return the processes of the servers that a tool started for a folder, by their environment."""
    mark = f"{MARK}={tool} {folder.resolve()}".encode()
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # it is gone, or another user's
            continue
    return found


def end_strays(tool: str, folder: pathlib.Path) -> None:
    """End what still runs of a folder's servers after all that the folder tells of was stopped, and say so.

    Something does when the folder, or what it told of its servers, was removed while they ran.
    """
    if not (pids := _still_there(tool, folder, MOMENT)):
        return
    print(f"{tool}: {folder} knew nothing of {len(pids)} of its processes; they are ended", file=sys.stderr, flush=True)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            for each in (number, signal.SIGCONT):
                try:
                    os.kill(pid, each)
                except ProcessLookupError:
                    break
        if not (pids := _still_there(tool, folder, PATIENCE)):
            return
    sys.exit(f"{tool}: cannot be ended: {', '.join(map(str, pids))}")


def _still_there(tool: str, folder: pathlib.Path, seconds: float) -> list[int]:
    """Wait until none of a folder's processes runs; return those that do in the end."""
    until = time.monotonic() + seconds
    while (pids := of_folder(tool, folder)) and time.monotonic() < until:
        time.sleep(0.05)
    return pids
