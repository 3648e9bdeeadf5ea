"""Has a large Python process start its commands by a small one.

In user-mode Linux the start of a command costs what its parent has in memory: about half a second of processor time for
each of the dozens of commands by which os-brick attaches a volume.  A small parent takes a tenth of that.

    starter = commands.start()          in the large process, before it makes others
    commands.use(processutils, starter) oslo.concurrency's commands go that way
    commands.stop(starter)
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import types
from typing import Any

__all__ = ["Starter", "start", "stop", "use"]

#: Seconds in which the small process has to come up.
_PATIENCE = 120.0


class _Asked(socketserver.StreamRequestHandler):
    """One command: what to start, its process, its input, what it came to; a line of JSON each."""

    def handle(self) -> None:
        command, shell, folder, environment = json.loads(self.rfile.readline())
        if not shell:  # the guest's kernel makes a process for each folder in which a program is tried
            command[0] = shutil.which(command[0], path=environment.get("PATH")) or command[0]
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, shell=shell, cwd=folder, env=environment
            )
        except OSError as error:
            self._tell([error.errno, error.strerror])
            return
        self._tell(process.pid)
        given = json.loads(self.rfile.readline() or "null")
        out, err = process.communicate(None if given is None else given.encode("latin-1"))
        self._tell([process.returncode, out.decode("latin-1"), err.decode("latin-1")])

    def _tell(self, what: Any) -> None:
        with contextlib.suppress(OSError):  # who asked is gone
            self.wfile.write(json.dumps(what).encode() + b"\n")


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class Starter:
    """The small process, and where it listens."""

    def __init__(self, process: subprocess.Popen[str], path: str) -> None:
        self.process = process
        self.path = path


def start() -> Starter:
    """Start the small process; it ends with `stop`, or with this process."""
    path = os.path.join(tempfile.mkdtemp(prefix="commands-"), "socket")
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError("the process that starts commands did not come up")
    return Starter(process, path)


def stop(starter: Starter) -> None:
    """End the small process; what it has started goes on."""
    assert starter.process.stdin is not None
    starter.process.stdin.close()
    starter.process.wait(_PATIENCE)


def use(processutils: Any, starter: Starter) -> None:
    """Have a module that starts commands by `subprocess` have them started by the small process."""

    class Command:
        """What of `subprocess.Popen` that module uses."""

        stdin = None

        def __init__(
            self,
            command: list[str] | str,
            *,
            shell: bool = False,
            cwd: str | None = None,
            env: dict[str, str] | None = None,
            **_others: Any,
        ) -> None:
            self.returncode: int | None = None
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(starter.path)
            self._file = connection.makefile("rw", encoding="ascii")
            connection.close()  # the file keeps it
            told = self._ask([command, shell, cwd, dict(os.environ) if env is None else env])
            if isinstance(told, list):
                raise OSError(*told)
            self.pid: int = told

        def _ask(self, what: Any) -> Any:
            self._file.write(json.dumps(what) + "\n")
            self._file.flush()
            return json.loads(self._file.readline())

        def communicate(self, given: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
            if timeout is not None:
                raise NotImplementedError
            with self._file:
                self.returncode, out, err = self._ask(None if given is None else given.decode("latin-1"))
            return out.encode("latin-1"), err.encode("latin-1")

        def send_signal(self, number: int) -> None:
            os.kill(self.pid, number)

    processutils.subprocess = types.SimpleNamespace(
        Popen=Command, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired
    )


def main() -> None:
    """Serve until standard input ends."""
    import threading

    with _Server(sys.argv[1], _Asked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
