"""Deleting: what clones, readers and others still need stays until they are done with it."""

import contextlib
import json

import pytest

from store_lib import errors
from store_lib.interface import Deletion
from store_lib.tests.support import MIB, content, payload


@pytest.fixture
def image(store):
    """Return the record of an image."""
    return store.add("parent", payload(5 * MIB), 5 * MIB)


def test_nothing_is_left_of_a_deleted_image(store, image, view):
    """No image, no object, nothing in the trash."""
    assert store.delete(image.location) is Deletion.DELETED
    assert view.empty()


def test_a_clone_of_the_old_kind_keeps_its_image(store, image, view):
    """Such clones need the image under its name: it is refused, naming them, and the image stays as it was."""
    view.clone("parent", "volume-1", 1)
    with pytest.raises(errors.InUse, match=f"{view.pool}/volume-1"):
        store.delete(image.location)
    assert content(store, image.location) == payload(5 * MIB)
    with view.image("parent") as found:
        assert found.is_protected_snap("snap")
    with view.image("volume-1") as clone:
        clone.flatten()
    assert store.delete(image.location) is Deletion.DELETED


def test_a_clone_of_the_new_kind_outlives_its_image(store, image, cluster, view):
    """The image waits in the trash, and goes with a sweep once the clone is gone."""
    view.clone("parent", "instance-1", 2)
    assert store.delete(image.location) is Deletion.DEFERRED
    with pytest.raises(errors.NotFound):
        store.stat(image.location)
    (left,) = store.leftovers()
    (told,) = json.loads(cluster.run(f"rbd trash ls {view.pool} --all --format json"))
    assert (told["name"], told["id"], left.size) == ("parent", left.address[1], 5 * MIB)
    assert not [*store.list()]
    parent = json.loads(cluster.run(f"rbd info {view.pool}/instance-1 --format json"))["parent"]
    assert (parent["image"], parent["trash"]) == ("parent", True)
    with view.image("instance-1") as clone:
        assert clone.read(0, MIB) == payload(5 * MIB)[:MIB]
    assert not store.sweep(older_than=0).removed, "its clone needs it"

    view.rbd.RBD().remove(view.ioctx, "instance-1")
    assert [each.kind for each in store.sweep(older_than=0).removed] == ["image in the trash"]
    assert json.loads(cluster.run(f"rbd trash ls {view.pool} --all --format json")) == []
    assert json.loads(cluster.run(f"rbd du -p {view.pool} --format json"))["images"] == []
    assert view.empty()


def test_the_id_is_free_while_the_image_waits_in_the_trash(store, image, view):
    """A new image of that id is another one."""
    view.clone("parent", "instance-1", 2)
    store.delete(image.location)
    again = store.add("parent", b"new", 3)
    assert content(store, again.location) == b"new"


def test_an_image_that_somebody_has_open_goes_to_the_trash(store, image, view):
    """Its snapshot stays, so that who reads it reads on; a sweep removes it afterwards."""
    with view.image("parent") as found:
        assert store.delete(image.location) is Deletion.DEFERRED
        found.set_snap("snap")
        assert found.read(0, MIB) == payload(5 * MIB)[:MIB]
        assert not store.sweep(older_than=0).removed
    assert len(store.sweep(older_than=0).removed) == 1
    assert view.empty()


def test_snapshots_of_others_keep_the_image_in_the_trash(store, image, view):
    """An administrator's snapshot is no business of ours."""
    with view.image("parent") as found:
        found.create_snap("backup")
    assert store.delete(image.location) is Deletion.DEFERRED
    result = store.sweep(older_than=0)
    assert (len(result.removed), len(result.kept)) == (0, 1)
    assert view.trash() == ["parent"]


def test_deferment_is_kept(make_store, view):
    """What went to the trash stays there as long as was configured."""
    store = make_store(rbd_store_trash_deferment=3600)
    location = store.add("parent", b"x", 1).location
    with view.image("parent"):
        assert store.delete(location) is Deletion.DEFERRED
    assert not store.sweep(older_than=0).removed
    assert view.trash() == ["parent"]


def test_the_trash_of_others_is_left_alone(store, image, view):
    """What an administrator moved there is not found by a sweep."""
    view.rbd.RBD().trash_move(view.ioctx, "parent", 0)
    result = store.sweep(older_than=0)
    assert not result.removed
    assert not result.kept
    assert view.trash() == ["parent"]


@pytest.mark.parametrize("left", ["header", "name"])
def test_a_removal_that_was_cut_off_is_completed_by_the_next(store, image, view, left):
    """Whatever is left of the image, deleting it again ends well and leaves nothing."""
    with view.image("parent") as found:
        number = found.id()
        found.unprotect_snap("snap")
        found.remove_snap("snap")
    view.ioctx.remove_object(f"rbd_header.{number}" if left == "name" else "rbd_id.parent")
    if left == "header":  # such an image has no name any more: the administrator's list still shows it
        with contextlib.suppress(view.rbd.ImageNotFound), view.image(None, image_id=number):
            pass
    assert store.delete(image.location) is Deletion.DELETED
    assert view.names() == []
    with pytest.raises(errors.NotFound):
        store.delete(image.location)
    assert store.add("parent", b"again", 5).size == 5


def read_to_the_end(reader):
    """Read on; what comes must not be the zeroes of an image that is gone."""
    while piece := reader.read(MIB):
        assert piece.strip(b"\0")


def test_a_reader_is_told_that_its_image_was_removed(make_store):
    """Of an image that is being removed zeroes would be read: it is an error instead."""
    store = make_store(rbd_store_in_flight=2)  # little is read ahead
    data = payload(40 * MIB)
    location = store.add("parent", data, len(data)).location
    with store.open(location) as reader:
        assert reader.read(1000) == data[:1000]
        assert store.delete(location) is Deletion.DELETED
        with pytest.raises(errors.NotFound, match="removed"):
            read_to_the_end(reader)
