"""What store_lib wrote glance_store reads and deletes, and the other way round."""

import contextlib
import io

import pytest

from store_lib import errors
from store_lib.tests.functional.peer.conftest import Peer, PeerError
from store_lib.tests.support import MIB, content, payload

IMAGE = "71c675ab-d94f-49cd-a114-e12490b328d9"
DATA = payload(2 * MIB + 12345)


@pytest.fixture(params=["rbd1", "nfs1"])
def both(request, cloud, make_cinder, tmp_path):
    """Return a store of store_lib, the peer on a store of the same id, and an administrator's view of both."""
    store = make_cinder(request.param)
    options = cloud.options(request.param)
    del options["cinder_rbd_keyring"]  # it knows none, and finds the key by the name of the cluster
    lines = "".join(f"{name} = {value}\n" for name, value in options.items())
    path = tmp_path / "peer.conf"
    path.write_text(
        f"[DEFAULT]\nenabled_backends = {store.id}:cinder\n[glance_store]\ndefault_backend = {store.id}\n"
        f"[{store.id}]\n{lines}[oslo_concurrency]\nlock_path = {tmp_path}/locks\n"
    )
    with contextlib.closing(Peer(path)) as peer:
        peer.work_as_root()
        yield store, peer


def test_the_peer_reads_and_deletes_what_store_lib_wrote(both, view):
    """With its size, which both take from the metadata of the volume."""
    store, peer = both
    for size in (len(DATA), None):
        uri = store.add(IMAGE, io.BytesIO(DATA), size).location.uri
        (volume,) = view.volumes()
        assert volume.name == f"image-{IMAGE}"
        assert uri == f"cinder://{store.id}/{volume.id}"
        assert peer.size(uri, store.id) == len(DATA)
        assert peer.read(uri, store.id) == DATA
        peer.delete(uri, store.id)
        view.gone()
        with pytest.raises(errors.NotFound):
            store.open(uri)


def test_store_lib_reads_and_deletes_what_the_peer_wrote(both, view):
    """And lists it; a location without the store, as single stores wrote it, does as well."""
    store, peer = both
    for known in (len(DATA), 0):
        uri, size, *_ = peer.add(store.id, IMAGE, DATA, known, "project")
        assert size == len(DATA)
        assert store.stat(uri).size == len(DATA)
        assert content(store, uri) == DATA
        assert [(each.id, each.size) for each in store.list()] == [(IMAGE, len(DATA))]
        (volume,) = view.volumes()
        assert content(store, f"cinder://{volume.id}") == DATA
        store.delete(uri)
        view.gone()
        with pytest.raises(PeerError):
            peer.read(uri, store.id)
