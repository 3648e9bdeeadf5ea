"""What is wrong with the configuration or with the user's rights is told, and nothing is left of what was refused."""

import pytest

from store_lib import errors
from store_lib.interface import Status
from store_lib.tests.support import content


def make_user(cluster, name, *caps):
    """Make a user with those capabilities."""
    cluster.ask("auth get-or-create", entity=f"client.{name}", caps=[*caps])
    key = cluster.ask("auth get-key", entity=f"client.{name}")["key"]
    with open(cluster.folder / "keyring", "a") as file:
        file.write(f"[client.{name}]\n\tkey = {key}\n")


def test_errors_name_what_is_wrong(make_store, cluster, tmp_path):
    """A pool that is not there, a user that the cluster does not know, a key ring that is not there, a wrong key."""
    store = make_store(rbd_store_pool="nowhere")
    assert (store.probe().status, "no pool 'nowhere'" in store.health.reason) == (Status.DOWN, True)
    store = make_store(rbd_store_user="stranger")
    assert (store.probe().status, "client.stranger" in store.health.reason) == (Status.DOWN, True)
    with pytest.raises(errors.StoreUnavailable):
        store.add("image", b"x", 1)
    conf = tmp_path / "ceph.conf"
    with open(cluster.conf) as file:
        conf.write_text(file.read().replace("keyring =", f"keyring = {tmp_path}/keys #"))
    store = make_store(rbd_store_ceph_conf=conf)
    assert (store.probe().status, "keyring" in store.health.reason) == (Status.DOWN, True)
    key = cluster.ask("auth get-key", entity="client.rgw.a")["key"]
    (tmp_path / "keys").write_text(f"[client.images]\n\tkey = {key}\n")
    store = make_store(rbd_store_ceph_conf=conf)
    assert (store.probe().status, "client.images" in store.health.reason) == (Status.DOWN, True)
    assert key not in store.health.reason


def test_a_user_that_may_only_read(make_store, cluster, store, pool):
    """Images are read; adding and deleting are refused, and nothing is left."""
    location = store.add("image", b"abc", 3).location
    make_user(cluster, pool, "mon", "profile rbd", "osd", "profile rbd-read-only")
    reader = make_store(rbd_store_user=pool)
    assert content(reader, location) == b"abc"
    for refused in (lambda: reader.add("other", b"x", 1), lambda: reader.delete(location)):
        with pytest.raises(errors.Forbidden):
            refused()
    assert [each.id for each in store.list()] == ["image"]


@pytest.mark.parametrize("caps", [("mon", "allow r"), ("mon", "profile rbd", "osd", "profile rbd pool=other")])
def test_a_user_without_rights_in_the_pool(make_store, cluster, store, pool, caps):
    """It is not told that there is no image: services would forget theirs."""
    location = store.add("image", b"abc", 3).location
    make_user(cluster, pool, *caps)
    stranger = make_store(rbd_store_user=pool)
    verbs = stranger.stat, stranger.delete, lambda _: stranger.add("other", b"x", 1), lambda _: [*stranger.list()]
    for verb in verbs:
        with pytest.raises((errors.Forbidden, errors.StoreUnavailable)):
            verb(location)
    assert stranger.probe().status is Status.DOWN
    assert content(store, location) == b"abc"
