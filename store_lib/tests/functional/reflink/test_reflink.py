"""Copies on a file system that shares blocks: XFS, in a file on a loop device."""

import os
import subprocess

import pytest

from store_lib.tests import support

MIB = support.MIB

pytestmark = [pytest.mark.functional, pytest.mark.root]


@pytest.fixture(scope="module")
def xfs(tmp_path_factory):
    """Return a folder with an XFS of its own."""
    folder = tmp_path_factory.mktemp("xfs")
    image, mounted = folder / "image", folder / "mounted"
    mounted.mkdir()
    with open(image, "wb") as file:
        file.truncate(1024 * MIB)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
    yield mounted
    subprocess.run(["umount", "-l", mounted], check=True)


def used(folder):
    """Return the bytes that are in use."""
    os.sync()
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


@pytest.fixture(params=["in this process", "in helpers"])
def stores(request, make_stores, xfs):
    """Return two file stores on the XFS."""
    timeout = "filesystem_store_timeout = 60\n" if request.param == "in helpers" else ""
    made = make_stores(
        "[DEFAULT]\nenabled_backends = a:file, b:file\n[glance_store]\ndefault_backend = a\n"
        f"[backend_defaults]\nprobe_interval = 0\n{timeout}"
        f"[a]\nfilesystem_store_datadir = {xfs / 'a'}\n[b]\nfilesystem_store_datadir = {xfs / 'b'}\n"
    )
    yield made
    for store in made.values():
        for each in [*store.list()]:
            store.delete(each.location)


def test_a_copy_shares_its_blocks_until_it_is_changed(stores, xfs):
    """The size is no whole number of blocks, and of ranges."""
    data = support.payload(70 * MIB + 77)
    location = stores["a"].add("one", data).location
    before = used(xfs)
    record = stores.copy(location, "b", verify="read")
    assert record.verified_by == "read"
    assert record.digests["sha512"] == support.sha512(data)
    assert used(xfs) - before < 20 * MIB, "the copy took room"
    assert (xfs / "b" / "one").stat().st_nlink == 1
    with open(xfs / "b" / "one", "r+b") as file:
        file.write(b"changed")
    assert support.sha512(support.content(stores["a"], location)) == support.sha512(data)


def test_a_shared_copy_keeps_holes(stores, xfs):
    (xfs / "a").mkdir(exist_ok=True)
    with open(xfs / "a" / "one", "wb") as file:
        file.seek(100 * MIB)
        file.write(support.payload(MIB))
        file.truncate(300 * MIB)
    record = stores.copy(f"file://{xfs}/a/one", "b", verify="read")
    assert record.size == 300 * MIB
    assert os.stat(xfs / "b" / "one").st_blocks * 512 < 3 * MIB
