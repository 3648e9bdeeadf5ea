"""What services and administrators do beside the library: clones as Nova and Cinder make them, Ceph's own commands."""

import json
import signal
import time
import urllib.parse

import pytest

from store_lib import errors
from store_lib.interface import Deletion
from store_lib.tests.functional.rbd.conftest import View
from store_lib.tests.support import MIB, Child, content, payload, until

DATA = payload(10 * MIB)


@pytest.fixture
def disks(cluster):
    """Return another pool, where instances and volumes have their disks."""
    with cluster.pool() as name:
        found = View(cluster, name)
        yield found
        found.ioctx.close()


def told(cluster, command):
    """Return what a command of Ceph's tells."""
    return json.loads(cluster.run(f"{command} --format json"))


@pytest.mark.parametrize("clone_format", [1, 2])
def test_an_instance_and_a_volume_of_an_image(store, cluster, view, disks, clone_format):
    """Both are clones in another pool, made from the location alone; then the image is deleted, and purged.

    The instance's disk grows, is written and goes; the volume gets its own bytes.
    """
    record = store.add("image", DATA, len(DATA))
    # As Nova and Cinder read a location, and decide whether they can clone.
    scheme, _, rest = record.location.uri.partition("://")
    fsid, *source = (urllib.parse.unquote(word) for word in rest.split("/"))
    assert (scheme, fsid, source) == ("rbd", cluster.fsid, [view.pool, "image", "snap"])
    with view.clone_format(clone_format):
        for name in ("instance_disk", "volume-1"):
            layering = view.rbd.RBD_FEATURE_LAYERING
            view.rbd.RBD().clone(view.ioctx, *source[1:], disks.ioctx, name, layering)
    with disks.image("instance_disk") as disk:
        disk.resize(64 * MIB)
        disk.write(b"booted", 0)
    children = told(cluster, f"rbd children {view.pool}/image@snap")
    assert sorted(each["image"] for each in children) == ["instance_disk", "volume-1"]

    if clone_format == 1:
        with pytest.raises(errors.InUse, match=f"{disks.pool}/(instance_disk|volume-1)"):
            store.delete(record.location)
        assert told(cluster, f"rbd info {view.pool}/image@snap")["protected"] == "true"
        assert content(store, record.location) == DATA
    else:
        assert store.delete(record.location) is Deletion.DEFERRED
        assert [each["name"] for each in told(cluster, f"rbd trash ls {view.pool} --all")] == ["image"]
        assert view.names() == []
    for name, head in (("instance_disk", b"booted"), ("volume-1", DATA[:6])):
        with disks.image(name) as disk:
            assert disk.read(0, len(DATA)) == head + DATA[6:]

    disks.rbd.RBD().remove(disks.ioctx, "instance_disk")
    with disks.image("volume-1") as volume:
        volume.flatten()
    if clone_format == 1:
        assert store.delete(record.location) is Deletion.DELETED
    else:  # an administrator's purge does as well as a sweep
        cluster.run(f"rbd trash purge --no-progress {view.pool}")
    assert not [*store.leftovers()]
    assert view.empty()
    with disks.image("volume-1") as volume:
        assert volume.read(0, len(DATA)) == DATA


def test_ceph_and_the_library_tell_the_same(make_store, cluster, view):
    """Names, sizes, times, room and what waits in the trash."""
    store = make_store(rbd_thin_provisioning=True)
    thin = DATA + bytes(30 * MIB)
    sizes = {"empty": 0, "small": 5, "odd": 3 * MIB + 1, "thin": len(thin)}
    records = {name: store.add(name, thin[:size], size) for name, size in sizes.items()}
    gone = store.add("gone", DATA, len(DATA))
    with view.image("gone"):
        assert store.delete(gone.location) is Deletion.DEFERRED

    listed = {each.id: each.size for each in store.list()}
    theirs = {each["image"]: each["size"] for each in told(cluster, f"rbd ls -l {view.pool}") if "snapshot" in each}
    assert listed == theirs == sizes
    for name, record in records.items():
        info = told(cluster, f"rbd info {view.pool}/{name}@snap")
        found = store.stat(record.location)
        assert (info["size"], info["protected"]) == (found.size, "true")
        snapshot = told(cluster, f"rbd snap ls {view.pool}/{name}")[0]
        assert snapshot["timestamp"] == time.ctime(found.modified.timestamp())
    (trashed,) = told(cluster, f"rbd trash ls {view.pool} --all")
    (left,) = store.leftovers()
    assert (trashed["name"], left.address[1], left.size) == ("gone", trashed["id"], len(DATA))

    rows = told(cluster, f"rbd du -p {view.pool} --exact")["images"]
    used = {each["name"]: each["used_size"] for each in rows if "snapshot" in each}
    assert used == {"empty": 0, "small": 5, "odd": 3 * MIB + 1, "thin": len(DATA)}
    stored = sum(used.values()) + len(DATA)
    # The cluster counts late, and headers with it.
    until(lambda: stored <= store.capacity().used < stored + MIB, 60)


def test_what_is_written_later_is_not_read(store, view):
    """An image is its snapshot, whatever an administrator does with the volume above it."""
    location = store.add("image", DATA, len(DATA)).location
    with view.image("image") as image:
        image.write(b"changed", 0)
        image.resize(MIB)
    assert store.stat(location).size == len(DATA)
    assert content(store, location) == DATA
    assert store.delete(location) is Deletion.DELETED
    assert view.empty()


@pytest.mark.faults
def test_the_watch_of_a_client_that_died(store, cluster, view):
    """Ceph believes for a while that it has the image open: it waits in the trash until that is over."""
    location = store.add("image", DATA, len(DATA)).location

    def have_it_open():
        import rbd

        ioctx = cluster.connect("images").open_ioctx(view.pool)
        image = rbd.Image(ioctx, "image")
        time.sleep(600)
        image.close()

    with Child(have_it_open) as child, view.image("image", read_only=True) as image:
        until(lambda: [*image.watchers_list()], 60)
        child.kill(signal.SIGKILL)
        child.wait()
        assert store.delete(location) is Deletion.DEFERRED
    with pytest.raises(errors.NotFound):
        store.stat(location)
    until(lambda: store.sweep(older_than=0).removed, 90)
    assert view.empty()
