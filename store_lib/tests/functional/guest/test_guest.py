"""The guest kernel that suites with real mounts run in."""

from __future__ import annotations

import hashlib
import os
import pathlib
import platform
import signal
import subprocess
import sys
import time

import psutil
import pytest

TOP = pathlib.Path(__file__).resolve().parents[4]
GUEST = TOP / "tools/guest"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def guest(
    *argv: str, seconds: float = 100, cwd: pathlib.Path = TOP, **options: str
) -> subprocess.CompletedProcess[str]:
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    command = [sys.executable, str(GUEST), "run", "-t", str(seconds), *flags, "--", *argv]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=seconds + 60)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for what guests need while they run; its name tells their processes from those of others."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def kernels(folder: pathlib.Path) -> set[int]:
    """Processes of guests."""
    found = set()
    for entry in pathlib.Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdecimal() else b""
        except OSError:
            continue
        if b"linux.uml" in words and str(folder).encode() in words:
            found.add(int(entry.name))
    return found


def gone(folder: pathlib.Path) -> bool:
    deadline = time.monotonic() + 30
    while kernels(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


#: Digests by the widest registers that the processor has, in threads between which the kernel switches all the time.
HASH = """
import concurrent.futures, hashlib
data = [bytes([each]) * 300_000 for each in range(8)]
wanted = [hashlib.sha512(each).hexdigest() for each in data]
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    for _ in range(40):
        assert [each.hexdigest() for each in pool.map(hashlib.sha512, data)] == wanted
print(hashlib.sha512(b"".join(data)).hexdigest())
"""


def test_registers_are_kept_for_each_thread_and_process():
    """Whatever registers this processor has: the guest's kernel gives all of them to each of its processes."""
    several = f"for n in 1 2 3; do {sys.executable} -c '{HASH}' & done; wait"
    done = guest("sh", "-c", several)
    assert (done.returncode, done.stderr) == (0, "")
    data = b"".join(bytes([each]) * 300_000 for each in range(8))
    assert done.stdout.split() == [hashlib.sha512(data).hexdigest()] * 3


def test_the_commands_output_and_exit_code_come_back():
    done = guest("sh", "-c", "uname -r; id -u; echo last; exit 7")
    assert done.returncode == 7, done.stderr
    kernel, user, last = done.stdout.splitlines()
    assert (user, last) == ("0", "last")
    assert kernel != platform.release()


def test_arguments_environment_and_directory_reach_the_command(monkeypatch):
    monkeypatch.setenv("SOME_VALUE", "a 'b' \"c\" $d")
    done = guest("sh", "-c", 'printf "%s|%s|%s" "$PWD" "$SOME_VALUE" "$1"', "sh", "two words")
    assert done.stdout == f"{TOP}|a 'b' \"c\" $d|two words"


def test_what_it_writes_is_gone_but_in_shared_directories(tmp_path):
    done = guest("sh", "-c", f"echo x > /etc/store_lib-guest && echo y > {tmp_path}/kept && ls /tmp", rw=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not pathlib.Path("/etc/store_lib-guest").exists()
    assert (tmp_path / "kept").read_text() == "y\n"


def test_it_may_mount_and_this_machine_sees_nothing_of_it():
    before = pathlib.Path("/proc/mounts").read_text()
    done = guest("sh", "-c", "mkdir /tmp/m && mount -t tmpfs none /tmp/m && grep -c ' /tmp/m ' /proc/mounts")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert pathlib.Path("/proc/mounts").read_text() == before


def test_nfs_is_served_and_mounted():
    script = (
        "tools/guest.d/nfs-server up && mkdir /tmp/four /tmp/three && "
        "mount -t nfs -o vers=4.2 127.0.0.1:/rw /tmp/four && mount -t nfs -o vers=3,nolock 127.0.0.1:/rw /tmp/three && "
        "echo hello > /tmp/four/x && cat /tmp/three/x"
    )
    done = guest("sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


def test_a_command_that_takes_too_long_is_stopped_with_all_it_started(folder):
    started = time.monotonic()
    done = guest("sh", "-c", "sleep 1000 & sleep 1000", seconds=4)
    assert done.returncode == 124
    assert time.monotonic() - started < 60
    assert "stopped after 4 s" in done.stderr
    assert gone(folder)


def test_an_interrupt_ends_it(folder):
    process = subprocess.Popen(
        [sys.executable, str(GUEST), "run", "--", "sh", "-c", "echo ready; sleep 1000"],
        cwd=TOP,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert gone(folder)


def test_each_guest_has_a_processor_of_its_own_as_long_as_there_is_one(folder):
    command = [sys.executable, str(GUEST), "run", "--", "sh", "-c", "echo ready; sleep 1000"]
    started = [subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = []
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        tree = psutil.Process(process.pid).children(recursive=True)
        (allowed,) = {tuple(each.cpu_affinity()) for each in tree}
        found.append(allowed)
    for process in started:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert gone(folder)
    every = tuple(sorted(os.sched_getaffinity(0)))
    print(found)
    own = [each for each in found if each != every]  # another guest may run besides
    assert len(own) == len(set(own))
    assert all(len(each) == 1 for each in own)


def test_a_kernel_that_stands_still_is_ended_and_described(folder):
    process = subprocess.Popen(
        [sys.executable, str(GUEST), "run", "--silence", "20", "--", "sh", "-c", "echo ready; sleep 1000"],
        cwd=TOP,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    (kernel,) = (pid for pid in kernels(folder) if psutil.Process(pid).ppid() == process.pid)
    os.kill(kernel, signal.SIGSTOP)
    _, told = process.communicate(timeout=100)
    assert process.returncode == 125
    assert "stood still for 20 s" in told
    assert f"process {kernel} is T" in told
    assert gone(folder)


def test_a_kernel_that_is_not_there_is_told():
    done = subprocess.run(
        [sys.executable, str(GUEST), "run", "-k", "/nowhere/linux", "--", "true"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 125
    assert "tools/apt-install user-mode-linux" in done.stderr
