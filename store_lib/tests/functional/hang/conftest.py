"""A store on a file system that can be made to hang."""

import contextlib
import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from store_lib import Stores

TIMEOUT = 1.0


class Hanging:
    """The file system: `hang` and `wake`."""

    def __init__(self, base: Path) -> None:
        self.root, self.mount, self.control = base / "root", base / "mount", base / "control"
        for folder in (self.root, self.mount, self.control):
            folder.mkdir()
        command = [sys.executable, "-m", "store_lib.tests.functional.hang.sleepy"]
        self.process = subprocess.Popen([*command, str(self.root), str(self.mount), str(self.control)])
        wait_for(lambda: os.path.ismount(self.mount))

    def hang(self, operation: str) -> None:
        """Have `operation` sleep from now on."""
        (self.control / operation).touch()

    def wake(self) -> None:
        """Have everything go on."""
        for each in self.control.iterdir():
            each.unlink()

    def end(self) -> None:
        """Unmount it."""
        self.wake()
        subprocess.run(["fusermount3", "-u", "-z", str(self.mount)], check=False)
        self.process.wait(10)


def wait_for(ready, seconds=10.0):
    """Wait until `ready()`."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


def helpers():
    """Return the helper processes of this one, the dead ones not."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if any("_helper_main" in word for word in child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


def shared_memory():
    """Return how many blocks of shared memory this process holds open."""
    names = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            names.append(os.readlink(f"/proc/self/fd/{number}"))
    return sum("memfd:store_lib" in name for name in names)


@pytest.fixture
def hanging(tmp_path):
    """Return the file system, mounted."""
    made = Hanging(tmp_path)
    yield made
    made.end()


@pytest.fixture
def store(hanging, tmp_path):
    """Return a store on it, with a time-out; nothing of it stays in the end."""
    before = shared_memory()
    config = tmp_path / "store.conf"
    config.write_text(
        "[DEFAULT]\nenabled_backends = it:file\n[it]\n"
        f"filesystem_store_datadir = {hanging.mount}/images\nfilesystem_store_timeout = {TIMEOUT}\n"
        "filesystem_store_thread_pool_size = 3\npart_size = 262144\nretry_deadline = 1\n"
        "probe_timeout = 2\nprobe_interval = 1\n"
    )
    stores = Stores.from_file(config)
    yield stores.default
    hanging.wake()
    assert stores.default._runtime.budget.used == 0
    assert not stores.close(5)
    wait_for(lambda: not helpers())
    wait_for(lambda: gc.collect() >= 0 and shared_memory() == before)
