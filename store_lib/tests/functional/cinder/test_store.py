"""What is particular to volumes: growth, attachments that readers share, what others see of an image."""

import contextlib
import http.server
import threading
import uuid

import pytest

from store_lib import errors
from store_lib.drivers.cinder import removal
from store_lib.tests.functional.cinder.conftest import DATA, GIB, SMALL_PARTS, until, volume_of
from store_lib.tests.support import MIB, content


def test_what_others_see_of_an_image(shared, view):
    """Its volume is named after it, read-only, and tells image and size; until it is complete it is no image.

    Once others have deleted the volume, the image is not found, for good, and the store is well.
    """
    store = shared("rbd1", **SMALL_PARTS)  # so that the upload has begun well before the last byte is read
    seen = []

    def halves():
        yield DATA[:MIB]
        (volume,) = view.volumes()
        seen.append(volume.id)
        with pytest.raises(errors.NotFound):
            store.stat(f"cinder://{volume.id}")
        assert "an-image" not in [each.id for each in store.list()]
        yield DATA[MIB:]

    record = store.add("an-image", halves(), len(DATA))
    assert record.location.uri == f"cinder://{store.id}/{seen[0]}"
    (volume,) = view.volumes()
    assert (volume.name, volume.status, volume.size, volume.volume_type) == ("image-an-image", "available", 1, "rbd1")
    assert volume.metadata["glance_image_id"] == "an-image"
    assert volume.metadata["image_size"] == str(len(DATA))
    assert volume.metadata["readonly"] == "True"
    assert ("an-image", len(DATA)) in [(each.id, each.size) for each in store.list()]
    assert content(store, f"cinder://{volume.id}") == DATA
    view.settled()
    volume.delete()
    view.gone()
    for ask in (store.open, store.stat, store.delete):
        with pytest.raises(errors.NotFound) as caught:
            ask(record.location)
        assert (caught.value.transient, caught.value.outcome) == (False, errors.Outcome.NOT_DONE)


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Answers that there is no such thing, as any web server but Cinder does."""

    def do_GET(self):
        """Answer."""
        self.send_error(404)

    def log_message(self, *what):
        """Be quiet."""


def test_a_server_that_is_not_cinder(make_cinder):
    """That it has no such volume does not mean that the image is gone."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = make_cinder("rbd1", cinder_endpoint_template=f"http://127.0.0.1:{server.server_port}/v3")
        for ask in (store.stat, store.open, store.delete):
            with pytest.raises(errors.StoreUnavailable):
                ask(f"cinder://{uuid.uuid4()}")
        server.shutdown()


@pytest.mark.parametrize("kind", ["rbd1", "nfs1"])
def test_a_size_that_is_not_known(shared, view, tmp_path, kind):
    """The volume grows under the image, attached or not as its storage can, by no more than was asked for."""
    store = shared(kind)
    path = tmp_path / "image"
    size = GIB + 5 * MIB
    with open(path, "wb") as file:
        file.write(DATA)
        file.truncate(size - len(DATA))
        file.seek(size - len(DATA))
        file.write(DATA)
    with open(path, "rb") as source:
        record = store.add("grows", source, digests=())
    assert record.size == size
    (volume,) = view.volumes()
    assert (volume.size, volume.metadata["image_size"]) == (2, str(size))
    with store.open(record.location, size - len(DATA)) as reader:
        assert reader.read() == DATA
    with store.open(record.location, 0, len(DATA)) as reader:
        assert reader.read() == DATA
    view.settled()


@pytest.mark.parametrize("kind", ["rbd1", "nfs1"])
def test_readers_share_an_attachment(shared, kept, view, monkeypatch, kind):
    """The second reader of an image attaches nothing; the image is in use until the last has closed it.

    A share stays mounted while another of its images is read.
    """
    monkeypatch.setattr(removal, "_LEAVING", 1.0)  # these readers do not leave
    store = shared(kind)
    record, other = store.add("image", DATA, len(DATA)), kept(kind)
    with contextlib.ExitStack() as opened:
        readers = [opened.enter_context(store.open(record.location)) for _ in range(3)]
        assert len(view.attachments()) == 1
        assert bool(view.mounts()) == (kind == "nfs1")
        readers[0].close()
        assert readers[1].read() == DATA
        with pytest.raises(errors.InUse):
            store.delete(record.location)
        assert readers[2].read() == DATA
        staying = opened.enter_context(store.open(other))
        for reader in readers:
            reader.close()
        assert len(view.attachments()) == 1
        assert staying.read() == DATA
    view.settled()
    store.delete(record.location)
    view.gone()


def test_several_hosts_at_once(make_cinder, shared, view):
    """A volume type with multiattach lets each process, here each store, have an attachment of its own."""
    one, other = make_cinder("multi"), shared("rbd1")
    record = one.add("image", DATA, len(DATA))
    with one.open(record.location) as first, other.open(record.location) as second:
        assert len(view.attachments()) == 2
        assert first.read() == second.read() == DATA
    view.settled()


def test_attached_elsewhere(make_cinder, shared, kept, view):
    """Who has to wait too long is told by whom the image is kept, and what would help."""
    one, other = shared("rbd1"), make_cinder("rbd1", cinder_attach_timeout=2)
    location = kept("rbd1")
    with one.open(location) as reader:
        with pytest.raises(errors.Busy, match="multiattach"):
            other.open(f"cinder://{volume_of(location)}")
        assert reader.read() == DATA
    assert content(other, location) == DATA
    view.settled()


def test_volumes_that_are_no_images(shared, cloud, view):
    """They are neither read nor deleted nor listed, although they are in the store's project."""
    client = cloud.client("images")
    volume = client.volumes.create(1, name="somebody's", volume_type="rbd1")
    until(lambda: client.volumes.get(volume.id).status == "available")
    store = shared("rbd1")
    for ask in (store.stat, store.open, store.delete):
        with pytest.raises(errors.ForeignLocation):
            ask(f"cinder://{store.id}/{volume.id}")
    assert volume.id not in [each.location.uri.rpartition("/")[2] for each in store.list()]
    assert client.volumes.get(volume.id).status == "available"
