"""Images as others see them: Ceph's commands, other writers, other processes, other stores of the cluster."""

import json
import subprocess
import sys
import textwrap
import threading

import pytest

from store_lib import errors
from store_lib.interface import Deletion, Extent
from store_lib.tests.functional.rbd.conftest import Cluster
from store_lib.tests.support import KIB, MIB, Child, content, payload, sha512, until


def test_ceph_sees_what_was_added(store, cluster, view, tmp_path):
    """``rbd`` tells the size, the protected snapshot and the very bytes."""
    data = payload(20 * MIB + 5)
    record = store.add("image", data, len(data))
    assert record.location.uri == f"rbd://{cluster.fsid}/{view.pool}/image/snap"
    assert store.prefix() == f"rbd://{cluster.fsid}/{view.pool}/"
    told = json.loads(cluster.run(f"rbd info {view.pool}/image@snap --format json"))
    assert (told["size"], told["object_size"], told["protected"]) == (len(data), 8 * MIB, "true")
    assert "layering" in told["features"]
    out = tmp_path / "exported"
    cluster.run(f"rbd export --no-progress {view.pool}/image@snap {out}")
    assert sha512(out.read_bytes()) == record.digests["sha512"]


def test_options_of_new_images(make_store, cluster, view):
    """Object size, features and the pool of the data are those that were configured."""
    with cluster.pool() as data_pool:
        store = make_store(
            rbd_store_chunk_size=1,
            rbd_store_image_features="exclusive-lock",
            rbd_store_data_pool=data_pool,
        )
        location = store.add("image", payload(3 * MIB), 3 * MIB).location
        told = json.loads(cluster.run(f"rbd info {view.pool}/image --format json"))
        assert (told["object_size"], told["data_pool"]) == (MIB, data_pool)
        assert set(told["features"]) == {"layering", "exclusive-lock", "data-pool"}
        assert content(store, location) == payload(3 * MIB)
        assert store.delete(location) is Deletion.DELETED


def test_a_namespace_is_a_store_of_its_own(make_store, view):
    """Its locations name it, its listing shows its images only, and the pool's own ones are foreign to it."""
    view.rbd.RBD().namespace_create(view.ioctx, "tenant")
    inside, outside = make_store(rbd_store_namespace="tenant"), make_store()
    one, two = inside.add("one", b"1", 1).location, outside.add("two", b"2", 1).location
    assert f"/{view.pool}%2Ftenant/one/" in one.uri
    assert ([each.id for each in inside.list()], [each.id for each in outside.list()]) == (["one"], ["two"])
    with pytest.raises(errors.ForeignLocation):
        inside.stat(two.uri)
    assert content(inside, one) == b"1"


def test_growing_is_trimmed(store, view):
    """An image of unknown size has exactly its bytes in the end."""
    data = payload(40 * MIB) + b"tail"
    record = store.add("image", iter([data]), None)
    with view.image("image") as image:
        assert image.size() == record.size == len(data)
    assert content(store, record.location) == data


def test_zeroes_take_no_room_where_that_is_asked_for(make_store, cluster, view):
    """With thin provisioning, runs of zeroes are not written, and not read either."""
    store = make_store(rbd_thin_provisioning=True)
    data = payload(MIB) + bytes(60 * MIB) + payload(MIB)
    location = store.add("image", data, len(data)).location
    written = [key for key in view.objects() if key.startswith("rbd_data.")]
    assert len(written) == 2
    with store.open(location) as reader:
        assert [*reader.extents()] == [
            Extent(0, 8 * MIB, False),
            Extent(8 * MIB, 48 * MIB, True),
            Extent(56 * MIB, 6 * MIB, False),
        ]
        assert reader.read() == data


def test_images_of_others(store, view):
    """What has no snapshot is not listed and its name is not taken over; short locations read it."""
    view.rbd.RBD().create(view.ioctx, "theirs", MIB)
    with view.image("theirs") as image:
        image.write(b"theirs", 0)
    ours = store.add("ours", b"x", 1)
    assert [each.id for each in store.list()] == ["ours"]
    with pytest.raises(errors.Duplicate):
        store.add("theirs", b"x", 1)
    assert content(store, "rbd://theirs")[:6] == b"theirs"
    assert content(store, "rbd://ours") == content(store, ours.location) == b"x"
    with pytest.raises(errors.NotFound):
        store.stat(f"rbd://{store.probe().details['fsid']}/{view.pool}/theirs/snap")


@pytest.mark.parametrize("clone_format", [1, 2])
def test_a_clone_holds_the_image(store, view, clone_format):
    """What Nova and Cinder clone from the snapshot has its bytes, whichever kind the cluster makes."""
    data = payload(10 * MIB)
    store.add("image", data, len(data))
    view.clone("image", "clone", clone_format)
    with view.image("clone") as clone:
        assert clone.read(0, len(data)) == data
    assert content(store, "rbd://clone") == data, "reading it finds what it has from the image"


def test_copies_inside_the_cluster(make_stores, cluster, view):
    """An image goes to another pool, or namespace, without its holes, and is complete there."""
    view.rbd.RBD().namespace_create(view.ioctx, "tenant")
    with cluster.pool() as other:
        sections = cluster.section("it", view.pool, rbd_thin_provisioning=True) + cluster.section("other", other)
        sections += cluster.section("inner", view.pool, rbd_store_namespace="tenant")
        head = "[DEFAULT]\nenabled_backends = it:rbd, other:rbd, inner:rbd\n[glance_store]\ndefault_backend = it\n"
        stores = make_stores(head + sections)
        data = payload(9 * MIB) + bytes(200 * MIB) + payload(3 * MIB)
        record = stores["it"].add("image", data, len(data))
        copied = stores.copy(record.location, "other")
        assert content(stores["other"], copied.location) == data
        told = json.loads(cluster.run(f"rbd du {other}/image --format json --exact"))
        assert sum(each["used_size"] for each in told["images"]) < 30 * MIB
        assert json.loads(cluster.run(f"rbd info {other}/image@snap --format json"))["protected"] == "true"
        assert stores["other"].delete(copied.location) is Deletion.DELETED
        moved = stores.copy(record.location, "inner", delete_source=True)
        assert content(stores["inner"], moved.location) == data
        assert view.names() == [], "the source is gone, and the copy needs nothing of it"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_copies_to_another_cluster(make_stores, cluster, view, tmp_path):
    """The bytes go through, with their digests, and locations of the other cluster are foreign."""
    other = Cluster(tmp_path / "other")
    try:
        with other.pool() as pool:
            head = "[DEFAULT]\nenabled_backends = it:rbd, other:rbd\n[glance_store]\ndefault_backend = it\n"
            stores = make_stores(head + cluster.section("it", view.pool) + other.section("other", pool))
            data = payload(9 * MIB)
            record = stores["it"].add("image", data, len(data))
            copied = stores.copy(record.location, "other")
            assert copied.digests == record.digests
            assert content(stores["other"], copied.location) == data
            with pytest.raises(errors.ForeignLocation):
                stores["it"].stat(copied.location.uri)
            stores.close()
    finally:
        other.stop()


def test_one_of_several_gets_the_id(store, view):
    """Threads and processes add under one id at the same moment: one wins, the others leave nothing."""

    def add(seed):
        try:
            return sha512(content(store, store.add("image", payload(MIB, seed), MIB).location))
        except errors.Duplicate:
            return "duplicate"

    results = []
    threads = [threading.Thread(target=lambda seed=seed: results.append(add(seed))) for seed in range(3)]
    with Child(add, 3) as one, Child(add, 4) as two:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
        results += [one.result(), two.result()]
    winners = [each for each in results if each != "duplicate"]
    assert len(results) == 5
    assert winners == [sha512(content(store, f"rbd://{store.probe().details['fsid']}/{view.pool}/image/snap"))]
    assert view.names() == ["image"]


def test_many_at_once(store, view):
    """Sixteen images are added, read and deleted at the same time over one connection."""
    failures = []

    def connection():
        with store._driver.cluster.pool() as pool:
            return pool.cluster.get_instance_id()

    first = connection()

    def work(seed):
        try:
            data = payload(300 * KIB + seed, seed)
            location = store.add(f"image-{seed}", data, len(data)).location
            assert content(store, location) == data
            store.delete(location)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not failures
    assert connection() == first
    until(view.empty, 30)


FORK = """
    import os, sys
    from oslo_config import cfg
    from store_lib import Stores

    conf = cfg.ConfigOpts()
    conf(["--config-file", sys.argv[1]], default_config_files=[], default_config_dirs=[])
    stores = Stores.from_config(conf)
    store = stores["it"]
    data = os.urandom(20 * 2**20)
    location = store.add("parent", data, len(data)).location
    reader = store.open(location)
    head = reader.read(1000)
    pid = os.fork()
    if not pid:
        with store.open(location) as other:
            assert other.read() == data
        store.add("child", b"child", 5)
        reader.close()
        stores.close()
        del reader, store, stores
        sys.exit(7)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 7, status
    assert head + reader.read() == data
    reader.close()
    with store.open(location.uri.replace("parent", "child")) as other:
        assert other.read() == b"child"
    stores.close()
"""


def test_a_fork_with_an_open_image(cluster, view, tmp_path):
    """Child and parent go on, each by a connection of its own, and both end by themselves."""
    conf = tmp_path / "store.conf"
    conf.write_text(f"[DEFAULT]\nenabled_backends = it:rbd\n{cluster.section('it', view.pool)}")
    command = [sys.executable, "-c", textwrap.dedent(FORK), conf]
    done = subprocess.run(command, timeout=100, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    assert view.names() == ["child", "parent"]
