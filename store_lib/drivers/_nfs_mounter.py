"""Mounting a share by os-brick, in a process of its own that can be given up.

The parent runs ``python -m store_lib.drivers._nfs_mounter`` and writes one JSON object: ``action`` (``mount``, or
``remount`` where what is mounted has to go first), ``source``, ``point``, ``options``, ``root_helper``.  The child
answers with ``{"error": text or null}``.
os-brick is imported by the child alone: it takes a second, and what it imports changes a process.

A process with root's rights mounts by itself; others through `root_helper` (rootwrap or sudo) or, where that is empty,
through os-brick's privsep daemon.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from store_lib import errors

__all__ = ["Mounter", "perform", "told"]

#: Seconds after a failure in which nobody tries again: each try waits for a server that may be dead.
_PAUSE = 5.0
#: Seconds for the interpreter and os-brick to start, beside the time that mounting may take.
_START = 10.0


class Mounter:
    """Mounts one share at one place; safe for threads, of which one tries and the others wait for it.

    :param timeout: seconds for one mount.
    """

    def __init__(self, source: str, point: str, options: str, root_helper: str, timeout: float) -> None:
        self._job = {"source": source, "point": point, "options": options, "root_helper": root_helper}
        self._timeout = timeout
        self._lock = threading.Lock()
        self._failed: tuple[float, str] | None = None

    def mount(self, stale: bool = False) -> None:
        """Mount the share unless it is mounted.

        :param stale: take away first what is mounted there and does not work any more.
        :raises StoreUnavailable: it cannot be done; said at once within some seconds of the last failure.
        """
        with self._lock:
            if self._failed is not None and time.monotonic() - self._failed[0] < _PAUSE:
                raise errors.StoreUnavailable(self._failed[1], transient=False)
            problem = self._run("remount" if stale else "mount")
            self._failed = None if problem is None else (time.monotonic(), problem)
        if problem is not None:
            raise errors.StoreUnavailable(problem, transient=False)

    def _run(self, action: str) -> str | None:
        """Have a child do it; return what went wrong."""
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            job = {**self._job, "action": action, "timeout": self._timeout}
            answer, _ = child.communicate(json.dumps(job).encode(), self._timeout + _START)
            problem = json.loads(answer)["error"] if answer else f"the process that was to {action} it ended"
        except subprocess.TimeoutExpired:
            problem = f"it took longer than {self._timeout:g} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
        return None if problem is None else f"cannot {action} {self._job['source']}: {problem}"


def _main() -> None:
    # privsep loads it where it is installed, which takes a fifth of this process's start, and nothing here uses it.
    sys.modules["eventlet"] = None  # type: ignore[assignment]
    job = json.load(sys.stdin)
    try:
        perform(job)
        problem = None
    except Exception as error:
        problem = told(error)
    json.dump({"error": problem}, sys.stdout)


def perform(job: Mapping[str, Any]) -> None:
    """Mount or unmount a share in this process.

    :param job: as the module tells, with ``timeout`` in seconds for each command; ``action`` may be ``release`` as
        well, which unmounts what nobody uses.
    :raises Exception: of os-brick, of privsep or of the commands; `told` says it in short.
    """
    if os.geteuid() != 0 and not job["root_helper"]:
        _start_privsep()
    execute = _executor(job["root_helper"], job["timeout"])
    if job["action"] == "release":
        execute("umount", job["point"], run_as_root=True)
    if job["action"] == "remount":
        # Lazily and by force: what is stale or hangs lets go no other way; who still has it open keeps that.
        execute("umount", "-f", "-l", job["point"], run_as_root=True)
    if job["action"] in ("mount", "remount"):
        _mount(job, execute)


def _mount(job: Mapping[str, Any], execute: Callable[..., Any]) -> None:
    from os_brick.remotefs import remotefs

    class Client(remotefs.RemoteFsClient):  # type: ignore[misc]
        """os-brick's client, mounting where we say and not at a name made from the share's."""

        def get_mount_point(self, device_name: str) -> str:
            return str(job["point"])

    client = Client(
        "nfs",
        job["root_helper"],
        execute=execute,
        nfs_mount_point_base=os.path.dirname(job["point"]),
        nfs_mount_options=job["options"] or None,
    )
    client.mount(job["source"])


def _start_privsep() -> None:
    """Start os-brick's privsep daemon unless it runs.

    :raises PermissionError: it does not start.
    """
    from os_brick import privileged
    from oslo_privsep import daemon

    context = privileged.default
    if not context.client_mode or context.channel is not None:
        return
    try:
        context.start()
    except (OSError, daemon.FailedToDropPrivileges) as error:
        raise PermissionError(
            f"only root may mount, and privsep's daemon, which sudo starts, does not start ({error}); set "
            "nfs_root_helper (filesystem_nfs_root_helper), allow privsep-helper in sudoers, or mount it yourself and "
            "set nfs_mount = false (filesystem_nfs_mount)"
        ) from error


def _executor(root_helper: str, timeout: float) -> Callable[..., Any]:
    """Return what runs a command, as root where that is asked for, and kills it after `timeout` seconds."""
    from oslo_concurrency import processutils

    def execute(*command: str, run_as_root: bool = False, **options: Any) -> Any:
        options.pop("root_helper", None)
        if not run_as_root or os.geteuid() == 0:
            return processutils.execute(*command, timeout=math.ceil(timeout), **options)
        if root_helper:
            return processutils.execute(*command, run_as_root=True, root_helper=root_helper, **options)
        from os_brick.privileged import rootwrap

        return rootwrap.execute(*command, run_as_root=True, **options)

    return execute


def told(error: Exception) -> str:
    """Return what mount said, without the commands around it."""
    text = str(getattr(error, "stderr", "") or error).strip().replace("\\n", "\n")
    lines = [line.strip(" '\"") for line in text.splitlines() if "mount" in line and "Command:" not in line]
    return lines[-1] if lines else " ".join(text.split())[-300:]


if __name__ == "__main__":
    _main()
