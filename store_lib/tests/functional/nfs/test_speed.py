"""An add against what the mount itself gives."""

import statistics
import subprocess
import time

import pytest

from store_lib.tests import support
from store_lib.tests.functional.nfs.conftest import mounted

MIB = 1024 * 1024
SIZE = 64 * MIB
#: Of each, in turn: the machine has other work as well.
ROUNDS = 7


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", ["3", "4.2"])
def test_an_add_is_as_fast_as_dd_on_the_same_mount(make_share, make_nfs, tmp_path, version):
    store = make_nfs(make_share(), version, filesystem_store_timeout=60)
    (point,) = mounted()
    source = tmp_path / "image"
    source.write_bytes(support.payload(SIZE))
    took: dict[str, list[float]] = {"dd": [], "add": []}
    for _ in range(ROUNDS):
        began = time.monotonic()
        subprocess.run(
            ["dd", f"if={source}", f"of={point}/dd", "bs=1M", "conv=fsync"], check=True, capture_output=True, timeout=60
        )
        took["dd"].append(time.monotonic() - began)
        subprocess.run(["rm", f"{point}/dd"], check=True, timeout=60)
        with open(source, "rb") as file:
            began = time.monotonic()
            record = store.add("image-1", file, SIZE)
            took["add"].append(time.monotonic() - began)
        store.delete(record.location)
    rates = {name: SIZE / MIB / statistics.median(times) for name, times in took.items()}
    print(f"NFS {version}: dd conv=fsync {rates['dd']:.1f} MiB/s, add {rates['add']:.1f} MiB/s")
    assert rates["add"] > 0.8 * rates["dd"]
