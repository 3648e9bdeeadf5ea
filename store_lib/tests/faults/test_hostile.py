"""Ids and locations that want to get out of the store."""

import collections
import os
import shutil
import socket
import stat
import string
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oslo_config import cfg

from store_lib import Location, Stores, errors
from store_lib.tests import support

DATA = b"an image"


@pytest.fixture(scope="module")
def place():
    """Return a store in ``images`` among canaries, with traps inside the directory and a sibling of alike name."""
    top = Path(tempfile.mkdtemp(prefix="store_lib-test-"))
    images = top / "images"
    for folder in (images / "folder", top / "images-old", top / "images2", top / "outside"):
        folder.mkdir(parents=True)
    for canary in ("secret", "images-old/image", "images2/image", "outside/image", "outside/secret"):
        (top / canary).write_bytes(b"canary")
    (images / "image").write_bytes(DATA)
    (images / "folder" / "image").write_bytes(DATA)
    os.symlink(top / "secret", images / "link")
    os.symlink("../secret", images / "relative")
    os.symlink("image", images / "inner")
    os.symlink(top / "outside", images / "out")
    os.symlink("..", images / "up")
    os.symlink("loop", images / "loop")
    os.symlink(top / "images-old", images / "folder" / "out")
    os.mkfifo(images / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(images / "socket"))
    if os.geteuid() == 0:
        os.mknod(images / "device", stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero
        os.mknod(images / "block", stat.S_IFBLK | 0o600, os.makedev(7, 99))
    conf = cfg.ConfigOpts()
    (top / "conf").write_text(
        "[DEFAULT]\nenabled_backends = it:file\n"
        f"[it]\nfilesystem_store_datadir = {images}\nretry_attempts = 1\nprobe_interval = 0\n"
    )
    conf(["--config-file", str(top / "conf")], project="store_lib", default_config_files=[], default_config_dirs=[])
    with Stores.from_config(conf) as stores:
        stores["it"].probe()
        yield stores, top, images
    shutil.rmtree(top)


class Watch:
    """Sees that nothing was touched but images of the store."""

    def __init__(self, top, images):
        self.top, self.images = top, images
        self.before = self._seen()

    def _seen(self):
        seen = support.snapshot(self.top)
        own = {str(self.images), f"{self.images}/."}
        # The directory's own times change with every image that comes and goes.
        return {
            path: found[:3] if path in own or path == f"{self.top}/images" else found for path, found in seen.items()
        }

    def check(self):
        assert self._seen() == self.before


#: What lies about in the store, and beside it.
_THERE = ["image", "folder", "link", "relative", "inner", "out", "up", "loop", "fifo", "socket", "device", "block"]
_THERE += ["secret", "images", "images-old", "outside"]
_TRICKS = ["..", ".", "", "~", "*", "$HOME", "`id`", "..%2f", "%2e%2e", "%2f", "image%00", "image\0", ".store_lib-x"]
_TRICKS += ["image?x=1", "image#x", "image\n", "image ", " image", "image/", "/image", "//image", "\\..\\"]
_TRICKS += ["\udcff", "\ud800image", "é", "\u202e", "\uff0e\uff0e", "x" * 256, "x" * 5000]
_PARTS = st.one_of(
    st.sampled_from(_THERE),
    st.sampled_from(_TRICKS),
    st.text(max_size=12),
    st.text(string.ascii_letters + string.digits + "._-", max_size=12),
)
_SCHEMES = [
    "file://",
    "filesystem://",
    "FILE://",
    "file:",
    "file:/",
    "file:///",
    "file://localhost",
    "file\0://",
    "://",
]
_SCHEMES += ["", "http://", "rbd://", "s3://", "cinder://", "nfs://user:password@host/", "x" * 9000 + "://"]


def _only_library_errors(verb):
    try:
        return verb()
    except errors.StoreLibError as error:
        str(error).encode()  # it can be shown
        return None


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scheme=st.sampled_from(_SCHEMES),
    start=st.sampled_from(["images", "top", "root"]),
    parts=st.lists(_PARTS, max_size=6),
)
def test_locations(place, scheme, start, parts):
    """Gives locations that lead up, around, through links, to pipes and devices: an error, or an image."""
    stores, top, images = place
    store = stores["it"]
    base = {"images": str(images), "top": str(top), "root": ""}[start]
    uri = scheme + base + "/" + "/".join(parts)
    watch = Watch(top, images)
    for location in (uri, Location(uri, "it")):
        info = _only_library_errors(lambda location=location: store.stat(location))
        data = _only_library_errors(lambda location=location: support.content(store, location))
        _only_library_errors(lambda location=location: stores.locate(location))
        assert data in (None, DATA)
        assert (info is None) == (data is None)
        if data is None:
            assert _only_library_errors(lambda location=location: store.delete(location)) is None
    assert store.owns(uri) in (True, False)
    watch.check()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    image_id=st.one_of(_PARTS, st.lists(_PARTS, min_size=1, max_size=4).map("/".join), st.binary(max_size=8), st.none())
)
def test_ids(place, image_id):
    """Adds ids that lead up, around, through links: refused before anything is done, or a file of exactly that name."""
    stores, top, images = place
    store = stores["it"]
    watch = Watch(top, images)
    record = _only_library_errors(lambda: store.add(image_id, b"new"))
    if record is not None:
        assert record.location.uri == f"file://{images}/{image_id}"
        assert (images / image_id).read_bytes() == b"new"
        store.delete(record.location)
    watch.check()


_BAD_IDS = ["", ".", "..", "../x", "a/b", "/etc/x", ".hidden", ".store_lib-x", "a\0b", "a\n", "x" * 256, "é", "a b"]
_BAD_IDS += ["\udcff", "a%2fb", "a:b", "~", "a\\b", "\uff0e\uff0e", "²"]


@pytest.mark.parametrize("image_id", [*_BAD_IDS, b"a", 5, None])
def test_bad_ids(place, image_id):
    """Adds ids that are none: BadImageId before the source is read."""
    stores, top, images = place
    watch = Watch(top, images)
    with pytest.raises(errors.BadImageId):
        stores["it"].add(image_id, support.unread())
    watch.check()


@pytest.mark.parametrize("name", _THERE[1:12])
def test_traps_inside_the_directory(place, name):
    """Reads, deletes and overwrites links, pipes, sockets, devices and folders that lie in the store's directory."""
    stores, top, images = place
    if not os.path.lexists(images / name):  # making devices needs root
        os.symlink("/dev/zero", images / name)
    watch = Watch(top, images)
    store = stores["it"]
    for path in (name, f"{name}/image", f"{name}/secret"):
        uri = f"file://{images}/{path}"
        if path == "folder/image":
            assert support.content(store, uri) == DATA
            continue
        for verb in (store.stat, store.open, store.delete, lambda location: store.hash(location, ["md5"])):
            with pytest.raises((errors.BadLocation, errors.NotFound)):
                verb(uri)
    with pytest.raises(errors.Duplicate):
        store.add(name, b"new")
    watch.check()


@pytest.mark.parametrize(
    "location",
    [None, 5, b"file:///x", "", "\0", "file", "file://" + "x/" * 5000, "file:///\ud800", "file:///a\nb", [], {}],
)
def test_no_locations_at_all(place, location):
    """Gives something that is no location: BadLocation from every verb."""
    stores, top, images = place
    watch = Watch(top, images)
    store = stores["it"]
    for verb in (store.stat, store.open, store.delete, stores.locate, lambda place: store.hash(place, ["md5"])):
        with pytest.raises(errors.BadLocation):
            verb(location)
    watch.check()


@pytest.mark.parametrize("name", ["fifo", "socket", "device", "block", "folder"])
def test_no_device_is_ever_opened(place, monkeypatch, name):
    """Watches the calls: opening a device may already do something (rewind a tape), so it is looked at first."""
    stores, _, images = place
    opened = []
    real = os.open

    def note(path, *arguments, **more):
        opened.append(str(path))
        return real(path, *arguments, **more)

    monkeypatch.setattr(os, "open", note)
    with pytest.raises(errors.BadLocation):
        stores["it"].open(f"file://{images}/{name}")
    assert not [path for path in opened if name in path]


def test_swapped_for_a_link_meanwhile(make_file_store, tmp_path):
    """Swaps an image for a link to a secret, over and over, while it is read: no byte of the secret comes out."""
    store = make_file_store()
    uri = store.add("image", DATA).location.uri
    (tmp_path / "secret").write_bytes(b"the secret")
    images = tmp_path / "images"
    os.link(images / "image", tmp_path / "kept")

    def swap():
        while True:
            os.symlink(tmp_path / "secret", images / ".swap")
            os.rename(images / ".swap", images / "image")
            os.link(tmp_path / "kept", images / ".swap")
            os.rename(images / ".swap", images / "image")

    seen: collections.Counter[bytes] = collections.Counter()
    end = time.monotonic() + 20
    with support.Child(swap):
        while (min(seen[DATA], seen[b"refused"]) < 30 or seen.total() < 300) and time.monotonic() < end:
            try:
                seen[support.content(store, uri)] += 1
            except errors.BadLocation:
                seen[b"refused"] += 1
    assert set(seen) == {DATA, b"refused"}
