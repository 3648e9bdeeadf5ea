"""What store_lib wrote glance_store reads and deletes, and the other way round."""

import contextlib
import io

import pytest

from store_lib import errors
from store_lib.tests.functional.peer.conftest import Peer, PeerError
from store_lib.tests.support import MIB, content, payload

IMAGE = "71c675ab-d94f-49cd-a114-e12490b328d9"
DATA = payload(2 * MIB + 12345)


#: Kind of volume, and the size that is told before.
CASES = [("rbd1", len(DATA)), ("nfs1", None)]


@pytest.fixture(scope="module")
def peer(cloud, tmp_path_factory):
    """Return the peer, with a store of each kind that is called like it."""
    folder = tmp_path_factory.mktemp("peer")
    kinds = [kind for kind, _ in CASES]
    lines = ["[DEFAULT]", f"enabled_backends = {', '.join(f'{kind}:cinder' for kind in kinds)}"]
    lines += ["[glance_store]", f"default_backend = {kinds[0]}"]
    for kind in kinds:
        options = cloud.options(kind)
        del options["cinder_rbd_keyring"]  # it knows none, and finds the key by the name of the cluster
        lines += [f"[{kind}]", *(f"{name} = {value}" for name, value in options.items())]
    lines += ["[oslo_concurrency]", f"lock_path = {folder}/locks", ""]
    path = folder / "peer.conf"
    path.write_text("\n".join(lines))
    with contextlib.closing(Peer(path)) as begun:
        begun.work_as_root()
        yield begun


@pytest.mark.parametrize(("kind", "known"), CASES)
def test_the_peer_reads_and_deletes_what_store_lib_wrote(shared, peer, view, kind, known):
    """With its size, which both take from the metadata of the volume."""
    store = shared(kind, called=kind)
    uri = store.add(IMAGE, io.BytesIO(DATA), known).location.uri
    (volume,) = view.volumes()
    assert volume.name == f"image-{IMAGE}"
    assert uri == f"cinder://{kind}/{volume.id}"
    assert peer.size(uri, kind) == len(DATA)
    assert peer.read(uri, kind) == DATA
    peer.delete(uri, kind)
    view.gone()
    with pytest.raises(errors.NotFound):
        store.open(uri)


@pytest.mark.parametrize(("kind", "known"), [CASES[0], pytest.param(*CASES[1], marks=pytest.mark.long)])
def test_store_lib_reads_and_deletes_what_the_peer_wrote(shared, peer, view, kind, known):
    """And lists it; a location without the store, as single stores wrote it, does as well."""
    store = shared(kind, called=kind)
    uri, size, *_ = peer.add(kind, IMAGE, DATA, known or 0, "project")
    assert size == len(DATA)
    assert store.stat(uri).size == len(DATA)
    assert content(store, uri) == DATA
    assert [(each.id, each.size) for each in store.list()] == [(IMAGE, len(DATA))]
    (volume,) = view.volumes()
    assert content(store, f"cinder://{volume.id}") == DATA
    store.delete(uri)
    view.gone()
    with pytest.raises(PeerError):
        peer.read(uri, kind)
