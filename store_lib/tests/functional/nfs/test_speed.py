"""An add against what the mount itself gives.

The guest has one processor, which computes digests while dd's would write: so the store's way of the bytes is compared
without them, and what they take is allowed for where they are computed.  The share is mounted from the server itself,
past the relay of the other tests, which passes less than that and would hide what a store takes.
"""

import hashlib
import os
import pathlib
import statistics
import subprocess
import time

import pytest

from store_lib.tests import support
from store_lib.tests.functional.nfs.conftest import PORT, mounted

MIB = 1024 * 1024
SIZE = 64 * MIB
#: Of each, in turn: the machine has other work as well.
ROUNDS = 15


def digesting(data):
    """Return how long the digests take that a store computes by default."""
    began = time.monotonic()
    hashlib.md5(data, usedforsecurity=False)
    hashlib.sha512(data)
    return time.monotonic() - began


def settle():
    """Have the server do what a removed file leaves it to do: else the next one's time would hold that."""
    os.sync()
    time.sleep(0.2)


def reached():
    """Return the ports of the servers that this machine is a client of."""
    lines = pathlib.Path("/proc/fs/nfsfs/servers").read_text().splitlines()[1:]
    return {int(line.split()[2], 16) for line in lines}


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", ["3", "4.2"])
def test_an_add_is_as_fast_as_dd_on_the_same_mount(make_share, make_nfs, tmp_path, version):
    share = make_share()
    (share.folder / ".store_lib").write_text("{}")
    options = {"prepare": False, "nfs_mount_options": f"port={PORT}"}
    stores = {
        "add": make_nfs(share, version, **options),
        "add without digests": make_nfs(share, version, digests=" ", **options),
    }
    assert reached() == {PORT}
    point = mounted()[0]
    data = support.payload(SIZE)
    source = tmp_path / "image"
    source.write_bytes(data)
    took: dict[str, list[float]] = {name: [] for name in ("dd", "digests", *stores)}
    for _ in range(ROUNDS):
        began = time.monotonic()
        subprocess.run(
            ["dd", f"if={source}", f"of={point}/dd", "bs=1M", "conv=fsync"], check=True, capture_output=True, timeout=60
        )
        took["dd"].append(time.monotonic() - began)
        os.unlink(f"{point}/dd")
        settle()
        took["digests"].append(digesting(data))
        for name, store in stores.items():
            with open(source, "rb") as file:
                began = time.monotonic()
                record = store.add("image-1", file, SIZE)
                took[name].append(time.monotonic() - began)
            store.delete(record.location)
            settle()
    middle = {name: statistics.median(times) for name, times in took.items()}
    for name, seconds in middle.items():
        each = " ".join(f"{one:.2f}" for one in took[name])
        print(f"NFS {version}: {name}: {SIZE / MIB / seconds:.1f} MiB/s, {seconds:.2f} s of {each}")
    assert middle["add without digests"] < middle["dd"] / 0.8
    assert middle["add"] < middle["dd"] / 0.8 + middle["digests"]
