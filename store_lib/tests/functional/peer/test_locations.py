"""What store_lib wrote glance_store reads and deletes, and the other way round: locations and data are the same."""

import functools
import hashlib
import http.server
import io
import threading

import pytest

import store_lib.compat as ours
from store_lib.location_forms import RbdForm
from store_lib.tests.functional.peer.conftest import PeerError
from store_lib.tests.support import payload

pytestmark = pytest.mark.functional

IMAGE = "71c675ab-d94f-49cd-a114-e12490b328d9"
DATA = payload(1_500_000, 8)


def add(conf, data=DATA, size=None):
    return ours.add_with_multihash(conf, IMAGE, io.BytesIO(data), len(data) if size is None else size, "it", "sha512")


def test_the_peer_is_the_peer(both):
    peer, _ = both
    assert peer.version() == ["glance_store", "5.7.0"]


@pytest.mark.parametrize("data", [DATA, b"x"], ids=["large", "one byte"])
@pytest.mark.parametrize("known", [True, False], ids=["size", "no size"])
def test_both_write_the_same(both, data, known):
    peer, conf = both
    size = len(data) if known else 0
    mine = add(conf, data, size)
    assert mine[1:4] == (len(data), hashlib.md5(data).hexdigest(), hashlib.sha512(data).hexdigest())
    ours.delete(mine[0], "it")
    assert tuple(peer.add("it", IMAGE, data, size)) == mine
    peer.delete(mine[0], "it")


def test_the_peer_reads_what_store_lib_wrote(both):
    peer, conf = both
    uri = add(conf)[0]
    assert peer.size(uri, "it") == len(DATA)
    for store in ("it", None):
        assert peer.read(uri, store) == DATA
    with pytest.raises(PeerError, match="Duplicate"):
        peer.add("it", IMAGE, DATA, len(DATA))
    peer.delete(uri, "it")
    with pytest.raises(ours.NotFound):
        ours.get(uri, "it")


def test_store_lib_reads_what_the_peer_wrote(both):
    peer, conf = both
    uri = peer.add("it", IMAGE, DATA, 0)[0]
    assert ours.get_size_from_uri_and_backend(uri, "it") == len(DATA)
    for store in ("it", None):
        data, size = ours.get(uri, store)
        assert (b"".join(data), size) == (DATA, len(DATA))
    assert b"".join(ours.get(uri, "it", offset=7, chunk_size=100_000)[0]) == DATA[7:100_007]
    with pytest.raises(ours.Duplicate):
        add(conf)
    ours.delete(uri, "it")
    with pytest.raises(PeerError, match="NotFound"):
        peer.read(uri, "it")


def test_an_empty_image(both):
    peer, conf = both
    uri = add(conf, b"")[0]
    assert peer.read(uri, "it") == b""
    peer.delete(uri, "it")
    uri = peer.add("it", IMAGE, b"", 0)[0]
    assert b"".join(ours.get(uri, "it")[0]) == b""
    ours.delete(uri, "it")


def test_both_read_images_of_web_servers(start, tmp_path):
    peer, _ = start("[DEFAULT]\nenabled_backends = it:http\n[it]\n")
    (tmp_path / "image").write_bytes(DATA)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            uri = f"http://127.0.0.1:{server.server_port}/image?x=1"
            for store in ("it", None):
                assert b"".join(ours.get(uri, store)[0]) == DATA == peer.read(uri, store)
            assert ours.get_size_from_uri_and_backend(uri, "it") == peer.size(uri, "it") == len(DATA)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "uri",
    [f"rbd://{IMAGE}", f"rbd://b9b5e8b6-3a3c-4f0a-9d2f-5b1f7a3f1c2d/images/{IMAGE}/snap", "rbd://a/b%2F%40c/d%20e/s"],
)
def test_both_take_locations_on_ceph_for_the_same(start, uri):
    peer, _ = start("[DEFAULT]\nenabled_backends = it:file\n[it]\nfilesystem_store_datadir = {path}/images\n")
    found = RbdForm.parse(uri)
    assert peer.rbd_parts(uri) == [found.fsid, found.pool, found.image, found.snapshot, found.clean()]


# -- what differs -----------------------------------------------------------------------------------------------------


def test_the_other_scheme_of_files(start, tmp_path):
    peer, _ = start("[DEFAULT]\nenabled_backends = it:file\n[it]\nfilesystem_store_datadir = {path}/images\n")
    peer.add("it", IMAGE, DATA, len(DATA))
    uri = f"filesystem://{tmp_path}/images/{IMAGE}"
    assert b"".join(ours.get(uri, "it")[0]) == DATA == peer.read(uri, "it")


def test_a_file_of_the_peer_outside_the_directory_is_refused(start, tmp_path):
    peer, _ = start("[DEFAULT]\nenabled_backends = it:file\n[it]\nfilesystem_store_datadir = {path}/images\n")
    (tmp_path / "outside").write_bytes(b"secret")
    uri = f"file://{tmp_path}/outside"
    assert peer.read(uri, "it") == b"secret"
    with pytest.raises(ours.BadStoreUri):
        ours.get(uri, "it")


def test_directories_by_priority(start, tmp_path):
    peer, conf = start(
        "[DEFAULT]\nenabled_backends = it:file\n[it]\nfilesystem_store_datadir =\n"
        "filesystem_store_datadirs = {path}/a:1\nfilesystem_store_datadirs = {path}/b:2\n"
    )
    uri = add(conf)[0]
    assert uri == f"file://{tmp_path}/b/{IMAGE}"
    assert peer.read(uri, "it") == DATA
    peer.delete(uri, "it")
    assert peer.add("it", IMAGE, DATA, 0)[0] == uri


SWIFT = """
[DEFAULT]
enabled_backends = it:swift
[it]
swift_store_auth_address = http://127.0.0.1:1/v3
swift_store_user = project:user
swift_store_key = secret
"""


def test_both_read_s3_locations_of_old_with_credentials(start, bucket):
    peer, _ = start(f"[DEFAULT]\nenabled_backends = it:s3\n[it]\n{bucket}")
    uri = peer.add("it", IMAGE, DATA, len(DATA))[0]
    assert "@" not in uri
    old = uri.replace("://", "://key:sec/ret@")
    assert peer.read(old, "it") == DATA
    assert b"".join(ours.get(old, "it")[0]) == DATA


def test_the_peer_does_not_read_clean_swift_locations(start):
    peer, _ = start(SWIFT)
    with pytest.raises(PeerError, match="Location is missing user:password"):
        peer.read(f"swift+http://127.0.0.1:1/v3/glance/{IMAGE}", "it")


def test_the_peer_knows_the_reference_of_new_swift_locations(start):
    peer, _ = start(SWIFT)
    assert ours.get_store_from_store_identifier("it").url_prefix == "swift+config://ref1/glance/"
    with pytest.raises(PeerError, match="Unable to establish connection"):  # it has found the credentials
        peer.read(f"swift+config://ref1/glance/{IMAGE}", "it")
