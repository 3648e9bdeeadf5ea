"""Images that go from one cinder store to another: by a new type of their volume, by a clone, by their bytes."""

import pytest

from store_lib import errors
from store_lib.tests.functional.cinder.cloud import PATIENCE
from store_lib.tests.functional.cinder.conftest import until
from store_lib.tests.functional.cinder.test_faults import small_share
from store_lib.tests.support import MIB, content, payload

DATA = payload(3 * MIB)
DIGESTS = {"digests": "sha256"}


@pytest.fixture
def make_pair(make_stores, cloud, view):
    """Return a function that makes two stores, ``a`` and ``b``, of these volume types."""

    def make(*kinds, users=("images", "images"), **options):
        lines = ["[DEFAULT]", "enabled_backends = a:cinder, b:cinder", "[glance_store]", "default_backend = a"]
        for name, kind, user in zip("ab", kinds, users, strict=True):
            given = {"probe_interval": 0, "probe_timeout": 60, "operation_timeout": PATIENCE, "retry_attempts": 1}
            given |= DIGESTS | cloud.options(kind, user) | options
            lines += [f"[{name}]", *(f"{option} = {value}" for option, value in given.items() if value is not None)]
        return make_stores("\n".join(lines))

    return make


def told(view):
    """Return id and type of each volume, and what their metadata and flags say of the image."""
    return {
        each.id: (each.volume_type, each.metadata["glance_image_id"], each.metadata["readonly"], each.status)
        for each in view.volumes()
    }


def listed(store):
    """Return the ids of those images that these tests have."""
    return [each.id for each in store.list() if each.id in ("image", "copy")]


@pytest.mark.parametrize(
    "kinds",
    [
        ("rbd1", "rbd2"),
        pytest.param(("rbd1", "rbd3"), marks=pytest.mark.long),  # of one pool
        pytest.param(("nfs1", "nfs2"), marks=pytest.mark.long),
        pytest.param(("rbd1", "nfs1"), marks=pytest.mark.long),
        pytest.param(("nfs1", "rbd1"), marks=pytest.mark.long),
    ],
    ids="-".join,
)
def test_a_move_is_a_new_type_of_the_same_volume(make_pair, view, kinds):
    """No byte passes here; the image is in one of the stores at a time, there and back again."""
    stores = make_pair(*kinds)
    before = stores["a"].add("image", DATA, len(DATA)).location
    (volume,) = view.volumes()
    record = stores.copy(before, "b", image_id="image", delete_source=True)
    assert (record.size, record.digests) == (len(DATA), {})
    assert record.location.uri == f"cinder://b/{volume.id}"
    assert told(view) == {volume.id: (kinds[1], "image", "True", "available")}
    assert content(stores["b"], record.location) == DATA
    for ask in (stores["a"].stat, stores["a"].open, stores["a"].delete):
        with pytest.raises(errors.NotFound, match="moved"):
            ask(before)
    assert (listed(stores["a"]), listed(stores["b"])) == ([], ["image"])
    back = stores.copy(record.location, "a", image_id="copy", delete_source=True).location
    assert back.uri == before.uri
    assert told(view) == {volume.id: (kinds[0], "copy", "True", "available")}
    assert content(stores["a"], back) == DATA
    with pytest.raises(errors.NotFound):
        stores["b"].stat(record.location)
    view.settled()


@pytest.mark.parametrize(
    "kinds", [("rbd1", "rbd2"), pytest.param(("nfs1", "nfs1"), marks=pytest.mark.long)], ids="-".join
)
def test_a_copy_is_a_clone(make_pair, view, kinds):
    """Where the source is kept, its volume is cloned; each of the two then lives by itself."""
    stores = make_pair(*kinds)
    source = stores["a"].add("image", DATA, len(DATA)).location
    record = stores.copy(source, "b", image_id="copy")
    assert record.digests == {}
    (mine,) = [each.id for each in view.volumes() if source.uri.endswith(each.id)]
    clone = record.location.uri.rpartition("/")[2]
    assert told(view) == {
        mine: (kinds[0], "image", "True", "available"),
        clone: (kinds[1], "copy", "True", "available"),
    }
    assert content(stores["a"], source) == content(stores["b"], record.location) == DATA
    assert listed(stores["b"]) == ["copy"] if kinds[0] != kinds[1] else True
    stores["a"].delete(source)
    assert content(stores["b"], record.location) == DATA
    stores["b"].delete(record.location)
    view.gone()


def test_two_stores_of_one_type(make_pair, view):
    """To move is to write down whose it is."""
    stores = make_pair("rbd1", "rbd1")
    source = stores["a"].add("image", DATA, len(DATA)).location
    record = stores.copy(source, "b", image_id="image", delete_source=True)
    assert content(stores["b"], record.location) == DATA
    with pytest.raises(errors.NotFound):
        stores["a"].stat(source)
    assert (listed(stores["a"]), listed(stores["b"])) == ([], ["image"])
    assert len(view.volumes()) == 1


@pytest.mark.long
def test_stores_of_two_projects(make_pair, view):
    """Their images are copied by their bytes, whether the source is to stay or not."""
    stores = make_pair("rbd1", "rbd2", users=("images", "poor"))
    source = stores["a"].add("image", DATA, len(DATA)).location
    record = stores.copy(source, "b", image_id="image", delete_source=True)
    assert record.digests
    assert content(stores["b"], record.location) == DATA
    until(lambda: [each.volume_type for each in view.volumes()] == ["rbd2"])


@pytest.mark.long
def test_a_source_with_snapshots(make_pair, cloud, view):
    """Cinder does not move its volume: it is copied, and stays where it was, which is said."""
    stores = make_pair("rbd1", "rbd2", cinder_delete_timeout=20)
    source = stores["a"].add("image", DATA, len(DATA)).location
    (volume,) = view.volumes()
    snapshots = cloud.client("images").volume_snapshots  # Cinder looks for those of the same project only
    snapshot = snapshots.create(volume.id)
    until(lambda: snapshots.get(snapshot.id).status == "available")
    with pytest.raises(errors.SourceRemains) as caught:
        stores.copy(source, "b", image_id="image", delete_source=True)
    assert content(stores["b"], caught.value.record.location) == DATA
    assert content(stores["a"], source) == DATA
    snapshots.delete(snapshot)
    until(lambda: not snapshots.list())


@pytest.mark.long
def test_a_source_that_is_being_read(make_pair, view):
    """Its volume is not moved under the reader's hands."""
    stores = make_pair("rbd1", "rbd2", cinder_delete_timeout=5)
    source = stores["a"].add("image", DATA, len(DATA)).location
    with stores["a"].open(source) as reader:
        with pytest.raises(errors.SourceRemains) as caught:
            stores.copy(source, "b", image_id="image", delete_source=True)
        assert reader.read() == DATA
    assert content(stores["b"], caught.value.record.location) == DATA
    assert content(stores["a"], source) == DATA
    view.settled()


@pytest.mark.long
def test_a_retype_that_changes_nothing(make_pair, view):
    """Cinder takes the order and leaves the volume as it is: neither is a move claimed, nor is anything lost."""
    stores = make_pair("rbd1", "nowhere")  # a type that no backend serves
    source = stores["a"].add("image", DATA, len(DATA)).location
    with pytest.raises(errors.StoreFull):  # no move, no clone, and no new volume for its bytes
        stores.copy(source, "b", image_id="image", delete_source=True)
    assert content(stores["a"], source) == DATA
    assert listed(stores["b"]) == []
    until(lambda: len(view.volumes()) == 1)
    view.settled()


@pytest.mark.long
def test_a_retype_that_fails_half_way(make_pair, cloud, view):
    """The other backend has no room for what Cinder copies: the volume stays what it was, and all else goes."""
    with small_share(cloud, "nfs2") as fill:
        stores = make_pair("nfs1", "nfs2")
        stores["b"].delete(stores["b"].add("first", DATA, len(DATA)).location)  # the share is mounted
        source = stores["a"].add("image", DATA, len(DATA)).location
        fill()
        with pytest.raises(errors.StoreFull):
            stores.copy(source, "b", image_id="image", delete_source=True)
        assert content(stores["a"], source) == DATA
        assert listed(stores["b"]) == []
        until(lambda: [each.volume_type for each in view.volumes()] == ["nfs1"])
        view.settled()


@pytest.mark.long
def test_answers_are_lost_while_moving_and_cloning(make_pair, cloud, view):
    """What was ordered is looked for, not ordered twice."""
    with cloud.relay() as relay:
        through = f"http://127.0.0.1:{relay.port}/v3"
        stores = make_pair("rbd1", "rbd2", cinder_endpoint_template=through, retry_attempts=3)
        source = stores["a"].add("image", DATA, len(DATA)).location
        relay.rule("POST /v3/volumes/[^/]+/action$", "lose")
        relay.rule("POST /v3/volumes/[^/]+/metadata$", "lose")
        moved = stores.copy(source, "b", image_id="image", delete_source=True).location
        assert content(stores["b"], moved) == DATA
        (volume,) = view.volumes()
        assert volume.volume_type == "rbd2"
        relay.rule("POST /v3/volumes$", "lose")
        with pytest.raises(errors.StoreUnavailable):
            stores.copy(moved, "a", image_id="copy")
        until(lambda: [each.id for each in view.volumes()] == [volume.id])
        assert content(stores["b"], moved) == DATA
