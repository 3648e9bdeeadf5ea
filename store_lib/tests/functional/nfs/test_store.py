"""What an NFS store does while all is well, and whom it refuses."""

import itertools
import json
import pathlib
import shutil
import time

import pytest

from store_lib import Status, errors
from store_lib.tests import support
from store_lib.tests.functional.nfs.conftest import VERSIONS, mount, mount_before, mounted, show, unmount

MIB = 1024 * 1024
#: Seconds that a refusal may take on a busy machine; each test prints what it took.
SLOW = 60.0


@pytest.mark.parametrize("version", ["3", pytest.param("4.2", marks=pytest.mark.long)])  # of which conformance is asked
def test_an_image_is_stored_on_the_share_comes_back_and_goes_and_a_leftover_is_swept(make_share, make_nfs, version):
    share = make_share()
    store = make_nfs(share, version)
    data = support.payload(5 * MIB + 17)
    record = store.add("image-1", iter(support.pieces(data)))
    assert record.location.uri == f"nfs://127.0.0.1{share.export}/image-1"
    assert share.names == ["image-1"]
    assert (share.folder / "image-1").read_bytes() == data
    assert support.content(store, record.location) == data
    with store.open(record.location, 4 * MIB, 100) as reader:
        assert reader.read() == data[4 * MIB : 4 * MIB + 100]
    assert [each.id for each in store.list()] == ["image-1"]
    assert store.stat(record.location).size == len(data)
    with pytest.raises(errors.Duplicate):
        store.add("image-1", b"other")
    store.delete(record.location)
    assert share.names == []
    with pytest.raises(errors.NotFound):
        store.stat(record.location)
    name = ".store_lib-" + "0" * 32 + "-" + "1" * 32 + "-1-2-3-elsewhere"
    (share.folder / name).write_bytes(b"part")
    (found,) = store.leftovers()
    show(record=record, leftover=found)
    assert (found.kind, found.owner.host) == ("temporary file", "elsewhere")
    assert store.sweep().removed == []
    assert len(store.sweep(older_than=0).removed) == 1
    assert share.names == []


def test_it_mounts_what_the_options_say(make_share, make_nfs):
    share = make_share()
    store = make_nfs(share, by_store=True, nfs_mount_options="soft,timeo=50")
    found = store.probe()
    print(found)
    assert found.status is Status.UP
    assert found.details["share"] == f"127.0.0.1:{share.export}"
    options = found.details["options"].split(",")
    assert {"vers=4.2", "soft", "timeo=50", "lookupcache=pos"} <= set(options)
    assert found.details["mounted_at"] in mounted()
    assert json.loads(found.details["marker"])["share"]
    table = [line.split() for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    assert [words[0] for words in table if words[4] == found.details["mounted_at"]] == [str(found.details["mount_id"])]
    (shown,) = store.describe()["shares"]
    assert (shown["host"], shown["export"], shown["version"]) == ("127.0.0.1", share.export, "4.2")
    assert store.capacity().free > 0


def test_a_share_without_marker_is_refused_and_never_marked_by_itself(make_share, make_nfs, watch):
    share = make_share()
    store = make_nfs(share, prepare=False)
    error = watch(lambda: store.add("image-1", b"x"), SLOW, errors.StoreUnavailable)
    assert "store init" in str(error)
    assert support.names(share.folder) == []
    assert "marked" in store.initialise()
    assert "already" in store.initialise()
    store.add("image-1", b"x")
    show(share=support.names(share.folder))
    assert support.names(share.folder) == [".store_lib", "image-1"]


def test_an_operators_mount_is_verified_and_never_made(make_share, make_nfs, tmp_path, watch):
    share = make_share()
    point = tmp_path / "operators"
    point.mkdir()
    store = make_nfs(share, prepare=False, nfs_mount="false", nfs_mount_point_base=point)
    error = watch(lambda: store.add("image-1", b"x"), SLOW, errors.StoreUnavailable)
    assert "is not mounted" in str(error)
    show(below=support.names(point), mounted=mounted())
    assert (support.names(point), mounted()) == ([], [])
    mount(share, point)
    store.initialise()
    store.add("image-1", b"x")
    assert share.names == ["image-1"]


def test_another_share_in_its_place_is_refused(make_share, make_nfs, tmp_path, watch):
    share, other = make_share(), make_share()
    point = tmp_path / "operators"
    point.mkdir()
    mount(other, point)
    store = make_nfs(share, prepare=False, nfs_mount="false", nfs_mount_point_base=point)
    watch(lambda: store.add("image-1", b"x"), SLOW, errors.StoreUnavailable)
    show(other=support.names(other.folder))
    assert support.names(other.folder) == []


def test_the_same_export_with_other_content_is_refused(make_share, make_nfs, watch):
    share, other = make_share(), make_share()
    store = make_nfs(share)
    store.add("image-1", b"x")
    (point,) = mounted()
    make_nfs(other)
    (share.folder / ".store_lib").write_text((other.folder / ".store_lib").read_text())
    unmount(point)
    mount(share, point)
    error = watch(lambda: store.add("image-2", b"x"), SLOW, errors.StoreUnavailable)
    assert "another share than before" in str(error)
    show(share=share.names)
    assert share.names == ["image-1"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_read_only_export_is_read_only(make_share, make_nfs, watch, version):
    share = make_share("ro")
    (share.folder / ".store_lib").write_text("{}")
    (share.folder / "image-1").write_bytes(b"abc")
    store = make_nfs(share, version, prepare=False)
    found = store.probe()
    print(found)
    assert found.status is Status.READ_ONLY
    uri = f"nfs://127.0.0.1{share.export}/image-1"
    assert support.content(store, uri) == b"abc"
    watch(lambda: store.add("image-2", b"x"), SLOW, errors.StoreLibError)
    watch(lambda: store.delete(uri), SLOW, errors.StoreLibError)
    show(share=share.names)
    assert (share.folder / "image-1").read_bytes() == b"abc"


@pytest.mark.parametrize("version", VERSIONS)
def test_squashed_root_cannot_write_and_is_told_so(make_share, make_nfs, watch, version):
    share = make_share("squash")
    (share.folder / ".store_lib").write_text("{}")
    store = make_nfs(share, version, prepare=False)
    found = store.probe()
    print(found)
    assert found.status is Status.READ_ONLY
    watch(lambda: store.add("image-2", b"x"), SLOW, errors.StoreLibError)
    show(share=share.names)
    assert share.names == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_full_share_fails_the_add_and_keeps_nothing(make_share, make_nfs, watch, version):
    share = make_share("small")
    store = make_nfs(share, version)
    data = support.payload(8 * MIB)
    watch(lambda: store.add("image-1", support.unread(), len(data)), SLOW, errors.StoreFull)
    # Every write succeeds, into memory of this machine: only the flush tells.
    watch(lambda: store.add("image-1", iter(support.pieces(data))), SLOW, errors.StoreFull)
    support.until(lambda: share.names == [] and store.capacity().free > 3 * MIB, 60)  # the server takes its own time
    # One that is flushed while it is written, too: what the kernel told then, it does not tell at the end.
    watch(lambda: store.add("image-1", itertools.repeat(data, 16)), SLOW, errors.StoreFull)
    support.until(lambda: share.names == [] and store.capacity().free > 3 * MIB, 60)
    show(share=share.names)
    record = store.add("image-2", data[: 2 * MIB])
    assert support.content(store, record.location) == data[: 2 * MIB]
    filler = share.folder / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(share.folder).free))
    found = store.probe()
    print(found)
    filler.unlink()
    assert found.status is Status.DEGRADED
    store.delete(record.location)


def test_an_image_may_be_larger_than_a_slow_server_takes_in_the_time_of_a_call(make_share, make_nfs, relay):
    share = make_share()
    store = make_nfs(share, filesystem_store_timeout=5, digests=" ")
    piece, count = support.payload(MIB), 256
    relay.set(rate=24 * MIB)
    began = time.monotonic()
    try:
        record = store.add("image-1", itertools.repeat(piece, count))
    finally:
        relay.set(rate=None)
    took = time.monotonic() - began
    show(seconds=took, size=record.size)
    assert took > 5  # all of it, which the kernel would keep in memory for one flush at the end
    assert (share.folder / "image-1").stat().st_size == count * MIB
    store.delete(record.location)


def test_several_shares_from_a_file_of_their_own(make_share, make_stores, tmp_path):
    heavy, light = make_share("small"), make_share()
    file, point = tmp_path / "shares.ini", tmp_path / "mnt/light"
    point.mkdir(parents=True)
    mount(light, point)  # the other one is mounted where another service would have mounted it
    sections = [
        f"[{name}]\nhost = 127.0.0.1\nexport = {share.export}\nversion = 4.2\nmount_point_base = {tmp_path}/mnt\n"
        f"weight = {weight}\nmount = {mounts}\n"
        for name, share, weight, mounts in (("light", light, 1, "no"), ("heavy", heavy, 10, "yes"))
    ]
    file.write_text("".join(sections))
    text = f"[DEFAULT]\nenabled_backends = it:nfs\n[it]\nnfs_store_config_file = {file}\n"
    store = make_stores(text)["it"]
    mount_before(store, [heavy])
    store.initialise()
    small = store.add("small", support.payload(MIB))
    large = store.add("large", support.payload(8 * MIB), 8 * MIB)
    show(heavy=heavy.names, light=light.names)
    assert (heavy.names, light.names) == (["small"], ["large"])
    assert {each.id for each in store.list()} == {"small", "large"}
    for record in (small, large):
        assert support.content(store, record.location)
        store.delete(record.location)


def test_a_file_store_whose_directory_is_a_share(make_share, make_nfs, tmp_path):
    share = make_share()
    folder = tmp_path / "images"
    options = {
        "filesystem_is_nfs_configured": "true",
        "filesystem_nfs_host": "127.0.0.1",
        "filesystem_nfs_share_path": share.export,
        "filesystem_nfs_mount_options": "vers=4.2",
        "filesystem_store_datadir": folder,
        "nfs_host": None,
        "nfs_export": None,
        "nfs_version": None,
        "nfs_mount_point_base": None,
    }
    store = make_nfs(share, kind="file", prepare=False, **options)
    folder.mkdir()
    mount(share, folder)
    store.initialise()
    record = store.add("image-1", support.payload(MIB))
    assert record.location.uri == f"file://{folder}/image-1"
    assert share.names == ["image-1"]
    assert support.content(store, record.location) == support.payload(MIB)
    unmount(folder)
    assert support.names(folder) == []
    record = store.add("image-2", b"x")  # it mounts it
    show(location=record.location.uri, mounted=mounted(), share=share.names)
    assert share.names == ["image-1", "image-2"]
    assert pathlib.Path(folder, "image-2").read_bytes() == b"x"
