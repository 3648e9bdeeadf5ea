"""Large images take no more memory than small ones."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from store_lib.tests import support

MIB = support.MIB
GIB = 1024 * MIB
ALLOWED = 150 * MIB

_SCRIPT = """
import json, sys
from store_lib import Stores

def memory(name):
    with open("/proc/self/status") as status:
        (line,) = [line for line in status if line.startswith(name)]
    return int(line.split()[1]) * 1024

with Stores.from_file(sys.argv[1]) as stores:
    store = stores.default
    store.delete(store.add("first", b"x" * 100_000).location)  # what is imported at first use is no matter of size
    idle = memory("VmRSS")
    record = store.add("large", sys.stdin.buffer)
    written = memory("VmHWM")
    verified = store.hash(record.location, ["sha512"]) == {"sha512": record.digests["sha512"]}
    print(json.dumps([idle, written, memory("VmHWM"), record.size, verified]))
"""


@pytest.fixture
def folder(tmp_path):
    """Return a folder, in memory where there is some, else on the disk."""
    fast = Path("/dev/shm")
    where = fast if fast.is_dir() and shutil.disk_usage(fast).free > 4 * GIB else tmp_path
    path = Path(tempfile.mkdtemp(prefix="store_lib-test-", dir=where))
    yield path
    shutil.rmtree(path)


def _peak(folder, size):
    """Add an image of `size` bytes from a pipe in a process; return ``(bytes over idle while adding, and later)``."""
    (folder / "conf").write_text(
        f"[DEFAULT]\nenabled_backends = it:file\n[it]\nfilesystem_store_datadir = {folder}/images\n"
    )
    block = support.payload(MIB)
    with subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, folder / "conf"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for _ in range(size // MIB):
                process.stdin.write(block)
            process.stdin.close()
            told = json.loads(process.stdout.read())
        finally:
            process.kill()
    idle, written, read, stored, verified = told
    assert stored == size
    assert verified
    assert os.path.getsize(folder / "images" / "large") == size
    return written - idle, read - idle


@pytest.mark.slow
def test_two_gibibytes_from_a_pipe(folder, record_property):
    """Adds 2 GiB of unknown size from a pipe: the peak of the process's memory stays within 150 MiB of idle."""
    peaks = _peak(folder, 2 * GIB)
    print(f"2 GiB from a pipe: {peaks[0] / MIB:.0f} MiB over idle while adding, {peaks[1] / MIB:.0f} MiB with reading")
    record_property("peak", peaks)
    assert max(peaks) <= ALLOWED


_FAST = """
import gc, json, sys
from oslo_config import cfg
from store_lib import Stores
from store_lib.drivers.memory import MemoryDriver
from store_lib.interface import Download, Limits, MIB, ObjectInfo

gc.disable()  # what only a collection finds is memory that stays

class Body(Download):
    limits = Limits(part_size=8 * MIB, parallel=16, ranges=True)

    def __init__(self, size):
        self.info = ObjectInfo(size)

    def read(self, offset, length):
        for at in range(0, length, MIB):
            yield bytes(bytearray(min(MIB, length - at)))

    def close(self):
        pass

class Fast(MemoryDriver):
    def open(self, address, offset, length, ctx):
        return Body(SIZE)

def memory(name):
    with open("/proc/self/status") as status:
        (line,) = [line for line in status if line.startswith(name)]
    return int(line.split()[1]) * 1024

path, SIZE = sys.argv[1], int(sys.argv[2])
conf = cfg.ConfigOpts()
conf(["--config-file", path], project="store_lib", default_config_files=[], default_config_dirs=[])
with Stores.from_config(conf, drivers={"fast": Fast}) as stores:
    store = stores.default
    idle = memory("VmRSS")
    done = 0
    with store.open("memory://it/image") as reader:
        while chunk := reader.read(3 * MIB):
            done += len(chunk)
    read = memory("VmHWM")
    store.hash("memory://it/image", ["sha1"])
    print(json.dumps([done, read - idle, memory("VmHWM") - idle]))
"""


@pytest.mark.slow
def test_one_gibibyte_is_read_from_a_fast_store(tmp_path, record_property):
    """Reads 1 GiB in ranges, several at once: the peak stays within 150 MiB of idle, with no garbage collection."""
    path = tmp_path / "conf"
    path.write_text("[DEFAULT]\nenabled_backends = it:fast\n")
    done = subprocess.run(
        [sys.executable, "-c", _FAST, path, str(GIB)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    read, *peaks = json.loads(done.stdout)
    assert read == GIB
    print(
        f"1 GiB from a fast store: {peaks[0] / MIB:.0f} MiB over idle while reading, {peaks[1] / MIB:.0f} with hashing"
    )
    record_property("peak", peaks)
    assert max(peaks) <= ALLOWED


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_eight_gibibytes_from_a_pipe(tmp_path, record_property):
    """Adds 8 GiB of unknown size from a pipe to a disk: as much memory as for 2 GiB."""
    peaks = _peak(tmp_path, 8 * GIB)
    print(f"8 GiB from a pipe: {peaks[0] / MIB:.0f} MiB over idle while adding, {peaks[1] / MIB:.0f} MiB with reading")
    record_property("peak", peaks)
    assert max(peaks) <= ALLOWED
