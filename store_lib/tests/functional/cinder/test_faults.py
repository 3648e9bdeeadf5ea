"""Cinder that is down, hangs, refuses or fails later; hosts that fail half-way.

Each ends with an error of store_lib in bounded time, and leaves nothing attached, mounted, open or without an image.
"""

import concurrent.futures
import contextlib
import hashlib
import itertools
import os
import subprocess

import pytest

from store_lib import errors
from store_lib.drivers.cinder import transfer
from store_lib.drivers.cinder.nfs import NfsConnector
from store_lib.interface import Status
from store_lib.tests.functional.cinder.conftest import DATA, GIB, SMALL_PARTS, between, until, volume_of
from store_lib.tests.support import MIB, content

pytestmark = pytest.mark.faults


def holed(folder, size):
    """Return an open file of `size` bytes that is a hole but for its end: quick to read and quick to write."""
    path = folder / "holed"
    with open(path, "wb") as file:
        file.truncate(size - 3)
        file.seek(size - 3)
        file.write(b"end")
    return open(path, "rb")


def test_cinder_is_down_at_the_start_and_in_the_middle(make_cinder, cloud, view):
    """Stores are closed with a reason, and open again by themselves; what the dead Cinder kept is swept."""
    store, late = make_cinder("rbd1", **SMALL_PARTS), make_cinder("rbd1")
    kept = store.add("kept", DATA, len(DATA)).location
    with contextlib.ExitStack() as down:
        with pytest.raises(errors.StoreLibError):
            store.add("cut", between(lambda: down.enter_context(cloud.killed())), len(DATA))
        assert late.probe().status is Status.DOWN
        for ask in (late.add, store.add):
            with pytest.raises(errors.StoreUnavailable):
                ask("image", DATA, len(DATA))
        with pytest.raises(errors.StoreUnavailable):
            store.open(kept)
        with pytest.raises(errors.StoreUnavailable):
            store.delete(kept)
    assert late.probe().status is Status.UP
    assert content(late, kept) == DATA
    assert "kept" in [each.id for each in late.list()]
    until(lambda: store.sweep(older_than=0) and len(view.volumes()) == 1)
    view.settled()
    store.delete(kept)
    view.gone()


def test_cinder_hangs(make_cinder, cloud, shared, kept, view):
    """What hangs is given up in time, and all is well once it goes on."""
    location = kept("rbd1")
    hasty = make_cinder("rbd1", operation_timeout=5, cinder_api_timeout=5)
    assert content(hasty, location) == DATA
    with cloud.stopped():
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(ask, location) for ask in (hasty.stat, hasty.open, hasty.delete)]
            for each in asked:
                assert isinstance(each.exception(timeout=60), errors.StoreUnavailable)
    assert content(shared("rbd1"), location) == DATA
    view.settled()


def test_answers_are_lost(make_cinder, cloud, kept, view):
    """A volume whose making brought no answer is found again, as is an attachment; nothing is left of any."""
    location = kept("rbd1")
    with cloud.relay() as relay:
        store = make_cinder("rbd1", cinder_endpoint_template=f"http://127.0.0.1:{relay.port}/v3")
        for pattern in ("POST /v3/volumes$", "POST /v3/attachments$", "PUT /v3/attachments/"):
            relay.rule(pattern, "lose")
            with pytest.raises(errors.StoreLibError):
                store.add("lost", DATA, len(DATA))
            until(lambda: store.sweep(older_than=0) and view.empty())
        view.settled()
        relay.rule("POST /v3/attachments$", "lose")
        with pytest.raises(errors.StoreLibError):
            store.open(location)
        until(lambda: store.sweep(older_than=0) and view.idle())
        assert content(store, location) == DATA
        view.settled()


def test_a_volume_type_that_is_not_there(make_cinder, view):
    """The store is closed from the start, whoever it logs in as: no volume is tried."""
    for user in ("images", "cinder"):
        store = make_cinder("no-such-type", user=user)
        assert store.probe().status is Status.DOWN
        with pytest.raises(errors.StoreUnavailable, match="no-such-type"):
            store.add("image", DATA, len(DATA))
    assert view.empty()


def test_no_volume_service_is_up(make_cinder, cloud, view):
    """An administrator's store sees that, and is closed until one is up again."""
    store = make_cinder("rbd1", user="cinder")
    change = "update services set disabled = ? where binary = 'cinder-volume'"  # Cinder 29's API does not do it
    try:
        cloud.change_database(change, 1)
        assert store.probe().status is Status.DOWN
        with pytest.raises(errors.StoreUnavailable, match="no volume service"):
            store.add("image", DATA, len(DATA))
    finally:
        cloud.change_database(change, 0)
    assert store.probe().status is Status.UP
    assert view.empty()


def test_a_quota_is_used_up(make_cinder, cloud, view, tmp_path):
    """What does not fit is refused before anything is read; a volume that may not grow is removed."""
    store = make_cinder("rbd1", user="poor")
    project = cloud.env["USER_POOR_PROJECT_ID"]
    view.admin.quotas.update(project, gigabytes=1)
    try:
        with pytest.raises(errors.StoreFull):
            store.add("large", holed(tmp_path, GIB + MIB), GIB + MIB)
        with holed(tmp_path, GIB + MIB) as source, pytest.raises(errors.StoreFull):
            store.add("grows", source, digests=())
        view.gone()
        record = store.add("image", DATA, len(DATA))
        with pytest.raises(errors.StoreFull):
            store.add("another", DATA, len(DATA))
        assert content(store, record.location) == DATA
    finally:
        view.admin.quotas.update(project, gigabytes=3)


def test_no_backend_has_room(make_cinder, shared, view):
    """Cinder accepts the volume and fails it then: the reason is told, and the volume is removed."""
    nowhere = make_cinder("nowhere")
    for size in (len(DATA), None):
        with pytest.raises(errors.StoreFull):
            nowhere.add("image", iter([DATA]), size)
    with pytest.raises(errors.StoreFull):
        shared("rbd1").add("large", itertools.repeat(bytes(MIB)), 100_000 * GIB)
    view.gone()


def test_a_volume_stays_in_creating(make_cinder, cloud, view, monkeypatch):
    """The wait for it ends and names it; what cannot be deleted so is told as a leftover, and swept once it can be."""
    monkeypatch.setattr(transfer, "_CLEARING", 1.0)  # it does not get into another state in a minute, either
    store = make_cinder("rbd1", cinder_state_transition_timeout=2)
    # As where Cinder could not write down that the volume is there.
    cloud.change_database(
        "create trigger stays after update of status on volumes "
        "when new.status = 'available' and new.display_name = 'image-stays' "
        "begin update volumes set status = 'creating' where id = new.id; end"
    )
    try:
        with pytest.raises(errors.OperationTimeout, match="still creating") as caught:
            store.add("stays", DATA, len(DATA))
        (volume,) = view.volumes()
        assert (volume.status, volume.id in str(caught.value)) == ("creating", True)
        assert ("volume", volume.id) in [each.address for each in store.leftovers()]
    finally:
        cloud.change_database("drop trigger stays")
    view.admin.volumes.reset_state(volume, state="available")
    until(lambda: store.sweep(older_than=0) and view.empty())


def end_of(store, location):
    """Return the last bytes of an image."""
    with store.open(location) as reader:
        reader.seek(-3, os.SEEK_END)
        return reader.read()


def test_a_volume_goes_to_error(shared, view, tmp_path):
    """While it is attached and is to grow: Cinder refuses that, and takes it up again once it was detached."""
    store = shared("rbd1")
    failed = []

    def fail(done, total):
        if view.statuses() == ["in-use"]:
            failed.append(view.volumes()[0].id)
            view.admin.volumes.reset_state(failed[0], state="error")

    with holed(tmp_path, GIB + MIB) as source:
        record = store.add("fails", source, digests=(), progress=fail)
    assert failed
    assert end_of(store, record.location) == b"end"
    view.settled()


def test_growing_by_more_than_there_is(make_cinder, view, tmp_path):
    """Cinder accepts the step and leaves the volume as it was: it grows by what is needed then."""
    store = make_cinder("rbd1", cinder_extend_step=100_000)
    with holed(tmp_path, GIB + MIB) as source:
        record = store.add("grows", source, digests=())
    assert end_of(store, record.location) == b"end"
    assert [each.size for each in view.volumes()] == [2]
    view.settled()


def test_extending_fails_while_attached(make_cinder, view, tmp_path, monkeypatch):
    """Cinder cannot extend an NFS volume that is attached, and says so by a state alone: it is detached for that."""
    monkeypatch.setattr(NfsConnector, "GROWS", True)
    store = make_cinder("nfs1", cinder_do_extend_attached=True)
    with holed(tmp_path, GIB + MIB) as source:
        record = store.add("grows", source, digests=())
    assert view.admin.messages.list(search_opts={"resource_uuid": view.volumes()[0].id}), "nothing has failed"
    assert end_of(store, record.location) == b"end"
    view.settled()


def test_deleting_fails_later(shared, cloud, view):
    """Cinder accepts the delete of a volume that somebody has open in Ceph, and takes it back seconds after."""
    import rados
    import rbd

    store = shared("rbd1")
    location = store.add("image", DATA, len(DATA)).location
    (volume,) = view.volumes()
    with (
        rados.Rados(conffile=cloud.env["CEPH_CONF"], rados_id="admin") as cluster,
        cluster.open_ioctx(cloud.env["POOL_RBD1"]) as ioctx,
        rbd.Image(ioctx, f"volume-{volume.id}"),
        pytest.raises(errors.InUse),
    ):
        store.delete(location)
    assert content(store, location) == DATA
    store.delete(location)
    view.gone()


@pytest.mark.long
def test_deleting_fails_for_good(shared, cloud, view):
    """The storage refuses to: Cinder tells that by a state, out of which only an administrator brings the volume."""
    store = shared("nfs1")
    location = store.add("image", DATA, len(DATA)).location
    (volume,) = view.volumes()
    file = cloud.folder / f"nfs1/volume-{volume.id}"
    aside = file.rename(file.with_name("aside"))
    file.mkdir()
    for _ in range(2):
        with pytest.raises(errors.BackendError, match="error_deleting"):
            store.delete(location)
    assert location not in [each.location for each in store.list()]
    file.rmdir()
    aside.rename(file)
    # Where Cinder has the share mounted it may take a second.
    until(lambda: any(each.is_file() for each in cloud.folder.glob(f"mnt/*/{file.name}")))
    view.admin.volumes.reset_state(volume, state="available")
    assert content(store, location) == DATA
    store.delete(location)
    view.gone()


def test_what_has_snapshots_is_in_use(shared, view):
    """It stays, and goes once the snapshot is gone; on NFS its newest file is qcow2 until then, which is not read."""
    store = shared("nfs1")
    location = store.add("image", DATA, len(DATA)).location
    (volume,) = view.volumes()
    snapshot = view.admin.volume_snapshots.create(volume.id)
    until(lambda: view.admin.volume_snapshots.get(snapshot.id).status == "available")
    with pytest.raises(errors.InUse):
        store.delete(location)
    with pytest.raises(errors.BackendError, match="qcow2"):
        store.open(location)
    view.settled()
    view.admin.volume_snapshots.delete(snapshot)
    until(lambda: not view.admin.volume_snapshots.list(search_opts={"all_tenants": 1}))
    assert content(store, location) == DATA
    store.delete(location)
    view.gone()


@pytest.mark.parametrize("kind", [pytest.param("rbd1", marks=pytest.mark.long), "nfs1"])
def test_an_encrypted_volume(shared, kept, cloud, view, kind):
    """It is not read, as its bytes here are not those of the image; nothing stays attached."""
    store, location = shared(kind), kept(kind)
    change = "update volumes set encryption_key_id = ? where id = ?"  # which is what a type with encryption sets
    cloud.change_database(change, "6b9d2f7e-43b5-4a0e-8f3d-5f9a0c1d2e3f", volume_of(location))
    try:
        with pytest.raises(errors.BackendError, match="encrypted"):
            store.open(location)
    finally:
        cloud.change_database(change, None, volume_of(location))
    view.settled()
    assert content(store, location) == DATA


@contextlib.contextmanager
def small_share(cloud, kind):
    """Have a share be a file system of its own for the time of ``with``; yield a function after which it has no room.

    That is: room for what is on its way, but not for the second half of DATA.
    """
    folder = cloud.folder / kind
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g", "small", folder], check=True)

    def fill():
        there = os.statvfs(folder)
        most = (there.f_blocks - there.f_bfree) * there.f_frsize + len(DATA) // 4
        subprocess.run(["mount", "-o", f"remount,size={most}", folder], check=True)

    try:
        leave_share(cloud, kind)
        yield fill
    finally:
        leave_share(cloud, kind)
        subprocess.run(["umount", "--lazy", folder], check=True)


def leave_share(cloud, kind):
    """Unmount where Cinder has a share mounted, so that it mounts what the share is now."""
    place = hashlib.md5(cloud.env[f"SHARE_{kind.upper()}"].encode(), usedforsecurity=False).hexdigest()
    subprocess.run(["umount", "--lazy", cloud.folder / "mnt" / place], check=False)


def test_a_share_is_full_while_an_image_is_written(make_cinder, cloud, view):
    """The reason is told, nothing is left of the image, and others stay what they are."""
    with small_share(cloud, "nfs2") as fill:
        store = make_cinder("nfs2", **SMALL_PARTS)
        kept = store.add("kept", DATA, len(DATA)).location
        with pytest.raises(errors.StoreFull):
            store.add("cut", between(fill), len(DATA))
        until(lambda: len(view.volumes()) == 1)
        view.settled()
        assert content(store, kept) == DATA
        store.delete(kept)
        view.gone()


def test_the_host_cannot_connect(make_cinder, kept, view, tmp_path, monkeypatch):
    """The volume was made and reserved, and the last step fails: nothing of it stays, and the image is not harmed."""
    images = {kind: kept(kind) for kind in ("rbd1", "nfs1")}
    mount = tmp_path / "bin/mount"
    mount.parent.mkdir()
    mount.write_text("#!/bin/sh\necho 'mount.nfs: access denied by server' >&2\nexit 32\n")
    mount.chmod(0o755)
    monkeypatch.setenv("PATH", f"{mount.parent}{os.pathsep}{os.environ['PATH']}")
    for kind, location in images.items():
        store = make_cinder(kind, cinder_rbd_keyring=tmp_path / "no-such-key-ring")
        with pytest.raises(errors.StoreLibError) as reading:
            store.open(location)
        with pytest.raises(errors.StoreLibError) as adding:
            store.add("another", DATA, len(DATA))
        assert not any(isinstance(each.value, errors.NotFound) for each in (reading, adding))
    view.gone()
    view.settled()
