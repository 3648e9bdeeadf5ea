"""A process beside the tests that gets them out of a hang, so that one test fails and not the whole suite.

What hangs in the kernel can't be interrupted by a signal, and Python runs no handler while one of its threads is in a
call that holds the interpreter; so the test's own time-out is not enough where file servers are made to hang.

A test that takes most of its time-out has the stacks of Python and of the kernel printed, the server and its network
brought back, and all shares unmounted by force.  When its time-out does not end it, the guest is ended.
"""

import faulthandler
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import time

__all__ = ["Watchdog"]

#: Shares of a test's time-out, from the beginning of its first fixture.
RESCUE, GIVE_UP = 0.75, 1.35
SERVER = pathlib.Path(__file__).resolve().parents[4] / "tools/guest.d/nfs-server"
#: Seconds for a command.
_PATIENCE = 20.0


class Watchdog:
    """Watches the process that makes it.

    :param relay: process of the relay; told by a signal to let everything pass.
    """

    def __init__(self, relay):
        self._stacks = tempfile.NamedTemporaryFile()  # noqa: SIM115 - as long as the tests run
        faulthandler.register(signal.SIGUSR1, self._stacks)
        command = [sys.executable, __file__, str(os.getpid()), str(relay), self._stacks.name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)

    def begin(self, test, timeout):
        """Watch a test from now on, which has so many seconds; an empty one: nothing."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{timeout} {test}\n")
        self._process.stdin.flush()

    def close(self):
        """End the watch."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_PATIENCE)
        faulthandler.unregister(signal.SIGUSR1)
        self._stacks.close()


def main():
    """Watch a process until standard input ends."""
    watched, relay, stacks = int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
    test, timeout, began, rescued = "", 0.0, 0.0, False
    while True:
        if select.select([0], [], [], 1)[0]:
            told = os.read(0, 65536).decode()
            if not told:
                return
            words, _, test = told.splitlines()[-1].partition(" ")
            timeout, began, rescued = float(words), time.monotonic(), False
        passed = time.monotonic() - began
        if test and not rescued and passed > RESCUE * timeout:
            rescued = True
            say(f"\n{test} has taken {passed:.0f} s; it is helped out")
            rescue(watched, relay, stacks)
        if test and passed > GIVE_UP * timeout:
            say(f"\n{test} hangs; the guest is ended")
            show_processes(watched)
            time.sleep(2)  # for what is printed
            pathlib.Path("/proc/sysrq-trigger").write_text("o")


def rescue(watched, relay, stacks):
    """Show what hangs and why, and take away what it may wait for."""
    before = stacks.stat().st_size
    os.kill(watched, signal.SIGUSR1)
    show_processes(watched)
    say(stacks.read_text()[before:])  # by now they are there, unless Python itself hangs
    os.kill(relay, signal.SIGUSR1)
    run("ip", "link", "set", "lo", "up")
    run(SERVER, "start")
    for line in reversed(pathlib.Path("/proc/mounts").read_text().splitlines()):
        if line.split()[2] in ("nfs", "nfs4"):
            say(line)
            run("umount", "-f", "-l", line.split()[1])


def show_processes(watched):
    """Print what each process of users does, with the kernel's stack of `watched` and of those that wait for a disk."""
    for entry in sorted(pathlib.Path("/proc").glob("[0-9]*/task/[0-9]*"), key=lambda path: int(path.name)):
        try:
            state = next(line.split()[1] for line in (entry / "status").read_text().splitlines() if "State:" in line)
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            name = words or (entry / "comm").read_text().strip()
            if words or state == "D":
                say(f"{entry.name} {state} {name[:150]} [{(entry / 'wchan').read_text()}]")
            if state == "D" or entry.parts[2] == str(watched):
                say((entry / "stack").read_text())
        except (OSError, StopIteration):
            continue


def run(*command):
    """Run a command, and leave it behind when it hangs itself."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        say(f"{' '.join(map(str, command))} hangs")


def say(text):
    """Print."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
