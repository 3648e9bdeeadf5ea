"""Images on a real Ceph and a real Swift: what one library wrote, the other lists, reads and deletes without a rest."""

import contextlib
import hashlib
import io
import pathlib
import shutil
import tempfile
import uuid

import pytest

import store_lib.compat as ours
from store_lib import Stores
from store_lib.tests.functional.peer.conftest import PeerError
from store_lib.tests.functional.rbd.conftest import Cluster, View
from store_lib.tests.functional.swift.conftest import Server
from store_lib.tests.functional.swift.support import client, names, wipe
from store_lib.tests.support import payload

pytestmark = [pytest.mark.functional, pytest.mark.timeout(600)]

#: Whole segments of the peer: what is left over it announces with the length of a whole one, and never ends.
DATA = payload(4 * 1_024_000, 3)


@pytest.fixture(scope="module")
def cluster():
    """Return a Ceph cluster."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="store_lib-ceph-"))
    made = Cluster(folder)
    yield made
    made.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def swift():
    """Return the servers of a Swift with Keystone."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="store_lib-swift-"))
    made = Server(folder)
    try:
        made.start()
        yield made
    finally:
        made.run("stop")
        shutil.rmtree(folder, ignore_errors=True)


def add(conf, image_id, size, store="it"):
    """Add DATA by store_lib as a service does."""
    return ours.add_with_multihash(conf, image_id, io.BytesIO(DATA), size, store, "sha512")


def listed(conf):
    """Return ids and sizes of the images that store_lib lists."""
    with contextlib.closing(Stores.from_config(conf)) as stores:
        return [(each.id, each.size) for each in stores["it"].list()]


def by_the_peer(peer, conf, size, store="it"):
    """Have the peer add an image; see that store_lib lists and reads it; return its location."""
    image_id = str(uuid.uuid4())
    uri, told, *digests = peer.add(store, image_id, DATA, size)[:4]
    assert (told, digests) == (len(DATA), [hashlib.md5(DATA).hexdigest(), hashlib.sha512(DATA).hexdigest()])
    assert listed(conf) == [(image_id, len(DATA))]
    assert ours.get_size_from_uri_and_backend(uri, store) == len(DATA)
    assert b"".join(ours.get(uri, store)[0]) == DATA
    assert b"".join(ours.get(uri, store, offset=999_990, chunk_size=2_000_000)[0]) == DATA[999_990:2_999_990]
    with pytest.raises(ours.Duplicate):
        add(conf, image_id, len(DATA), store)
    return uri


def by_store_lib(peer, conf, size):
    """Have store_lib add an image; see that the peer reads it; return its location."""
    image_id = str(uuid.uuid4())
    uri = add(conf, image_id, size)[0]
    assert peer.size(uri, "it") == len(DATA)
    assert peer.read(uri, "it") == DATA
    return uri


@pytest.mark.parametrize("size", [len(DATA), 0], ids=["size", "no size"])
def test_images_on_ceph(start, cluster, size):
    """Nothing of them is left, neither an image nor an object nor anything in the trash."""
    with cluster.pool() as pool:
        text = cluster.section("it", pool)
        peer, conf = start(f"[DEFAULT]\nenabled_backends = it:rbd\n[glance_store]\ndefault_backend = it\n{text}")
        view = View(cluster, pool)
        try:
            uri = by_the_peer(peer, conf, size)
            ours.delete(uri, "it")
            assert view.empty()
            with pytest.raises(PeerError, match="NotFound"):
                peer.read(uri, "it")
            uri = by_store_lib(peer, conf, size)
            peer.delete(uri, "it")
            assert view.empty()
            with pytest.raises(ours.NotFound):
                ours.get(uri, "it")
        finally:
            view.ioctx.close()


@pytest.mark.parametrize("size", [len(DATA), 0], ids=["size", "no size"])
def test_images_on_swift(start, swift, tmp_path, size):
    """Not a segment is left: neither of the peer's dynamic manifests nor of store_lib's static ones."""
    container = f"peer-{uuid.uuid4().hex[:8]}"
    user = f"user = service:glance\nkey = glance-pw\nauth_address = {swift.env['KEYSTONE_URL']}/v3\n"
    (tmp_path / "accounts").write_text(f"[mine]\nauth_version = 3\n{user}")
    place = f"swift_store_container = {container}\nswift_store_create_container_on_put = true\nprobe_timeout = 60\n"
    place += "swift_store_large_object_size = 1\nswift_store_large_object_chunk_size = 1\n"
    old = "swift_store_auth_version = 3\n" + "".join(f"swift_store_{line}\n" for line in user.splitlines())
    peer, conf = start(
        "[DEFAULT]\nenabled_backends = it:swift, old:swift\n[glance_store]\ndefault_backend = it\n"
        f"[it]\nswift_store_config_file = {tmp_path}/accounts\ndefault_swift_reference = mine\n{place}"
        f"[old]\n{old}{place}"
    )
    connection = client(swift)
    try:
        uri = by_the_peer(peer, conf, size)
        assert uri.startswith(f"swift+config://mine/{container}/")
        assert len(names(connection, container)) == 5
        ours.delete(uri, "it")
        assert names(connection, container) == []
        uri = by_store_lib(peer, conf, size)
        assert uri.startswith(f"swift+config://mine/{container}/")
        assert len(names(connection, container)) == 5
        peer.delete(uri, "it")
        assert names(connection, container) == []
        uri = by_the_peer(peer, conf, size, "old")
        assert "glance-pw@" in uri
        ours.delete(uri, "old")
        assert names(connection, container) == []
    finally:
        wipe(connection, container)
