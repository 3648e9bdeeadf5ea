"""Images that move and are copied within a server: by their names and by the server, not through this machine."""

import os
import pathlib

import pytest

from store_lib.tests import support
from store_lib.tests.functional.nfs.conftest import mount

MIB = 1024 * 1024


def operations(point):
    """Return how many calls of each kind the kernel has made for a mount."""
    found, inside = {}, False
    for line in pathlib.Path("/proc/self/mountstats").read_text().splitlines():
        words = line.split()
        if words[:1] == ["device"]:
            inside = f" mounted on {point} " in line
        elif inside and len(words) > 8 and words[0].endswith(":") and words[1].isdecimal():
            found[words[0].rstrip(":")] = int(words[1])
    return found


@pytest.fixture
def two_directories(make_share, make_stores, tmp_path):
    """Return a share, its mount point and two file stores in directories of it."""
    share, point = make_share(), tmp_path / "mnt"
    point.mkdir()
    mount(share, point)
    groups = []
    for name in ("a", "b"):
        (share.folder / name).mkdir()
        groups.append(
            f"[{name}]\nfilesystem_store_datadir = {point / name}\nfilesystem_is_nfs_configured = true\n"
            f"filesystem_nfs_host = 127.0.0.1\nfilesystem_nfs_share_path = {share.export}\n"
            "filesystem_nfs_mount = false\n"
        )
    stores = make_stores(
        "[DEFAULT]\nenabled_backends = a:file, b:file\n[glance_store]\ndefault_backend = a\n" + "".join(groups)
    )
    for name in ("a", "b"):
        stores[name].initialise()
    return share, point, stores


def test_an_image_moves_within_a_share_by_its_name(two_directories):
    share, point, stores = two_directories
    data = support.payload(8 * MIB)
    record = stores["a"].add("image-1", data)
    file = (share.folder / "a/image-1").stat().st_ino
    before = operations(point)
    moved = stores.migrate(record.location, "b", delete_source=True)
    after = operations(point)
    print({name: after[name] - before[name] for name in ("LINK", "RENAME", "COPY", "READ", "WRITE")})
    assert moved.location.uri == f"file://{point}/b/image-1"
    assert support.names(share.folder / "a") == [".store_lib"]
    assert (share.folder / "b/image-1").stat().st_ino == file
    assert (after["WRITE"], after["COPY"]) == (before["WRITE"], before["COPY"])
    assert support.content(stores["b"], moved.location) == data


def test_an_image_is_copied_by_the_server_itself(make_share, make_stores, tmp_path):
    groups, shares = [], {}
    for name in ("a", "b"):
        share, point = make_share(), tmp_path / name
        point.mkdir()
        mount(share, point)
        shares[name] = share
        groups.append(
            f"[{name}]\nnfs_host = 127.0.0.1\nnfs_export = {share.export}\nnfs_mount = false\n"
            f"nfs_mount_point_base = {point}\n"
        )
    stores = make_stores(
        "[DEFAULT]\nenabled_backends = a:nfs, b:nfs\n[glance_store]\ndefault_backend = a\n" + "".join(groups)
    )
    for name in ("a", "b"):
        stores[name].initialise()
    data = support.payload(8 * MIB)
    record = stores["a"].add("image-1", data, len(data))
    assert operations(tmp_path / "a")["ALLOCATE"] == 1  # its room was taken beforehand
    before = operations(tmp_path / "b")
    copied = stores.migrate(record.location, "b", delete_source=False)
    after = operations(tmp_path / "b")
    print({name: after[name] - before[name] for name in ("LINK", "COPY", "CLONE", "READ", "WRITE")})
    assert after["COPY"] > before["COPY"]
    assert after["WRITE"] == before["WRITE"]
    files = [os.stat(shares[name].folder / "image-1") for name in ("a", "b")]
    assert files[0].st_ino != files[1].st_ino
    assert support.content(stores["b"], copied.location) == data
    assert support.content(stores["a"], record.location) == data
