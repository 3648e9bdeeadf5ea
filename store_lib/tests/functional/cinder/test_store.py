"""What is particular to volumes: logins, growth, attachments that readers share, what others see of an image."""

import contextlib
import http.server
import threading
import types
import uuid

import pytest

from store_lib import errors
from store_lib.drivers.cinder import removal
from store_lib.interface import Feature, Status
from store_lib.tests.functional.cinder.conftest import GIB, until
from store_lib.tests.support import KIB, MIB, content, payload

DATA = payload(3 * MIB)


def test_what_others_see_of_an_image(make_cinder, view):
    """Its volume is named after it, read-only, and tells image and size; until it is complete it is no image."""
    store = make_cinder("rbd1", part_size=64 * KIB)  # so that the upload has begun well before the last byte is read
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
def test_a_size_that_is_not_known(make_cinder, view, tmp_path, kind):
    """The volume grows under the image, attached or not as its storage can, by no more than was asked for."""
    store = make_cinder(kind)
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
def test_readers_share_an_attachment(make_cinder, view, monkeypatch, kind):
    """The second reader of an image attaches nothing; the image is in use until the last has closed it.

    A share stays mounted while another of its images is read.
    """
    monkeypatch.setattr(removal, "_LEAVING", 1.0)  # these readers do not leave
    store = make_cinder(kind)
    record = store.add("image", DATA, len(DATA))
    other = store.add("other", DATA, len(DATA))
    with contextlib.ExitStack() as opened:
        readers = [opened.enter_context(store.open(record.location)) for _ in range(3)]
        assert len(view.attachments()) == 1
        assert bool(view.mounts()) == (kind == "nfs1")
        readers[0].close()
        assert readers[1].read() == DATA
        with pytest.raises(errors.InUse):
            store.delete(record.location)
        assert readers[2].read() == DATA
        staying = opened.enter_context(store.open(other.location))
        for reader in readers:
            reader.close()
        assert len(view.attachments()) == 1
        assert staying.read() == DATA
    view.settled()
    for each in (record, other):
        store.delete(each.location)
    view.gone()


def test_several_hosts_at_once(make_cinder, view):
    """A volume type with multiattach lets each process, here each store, have an attachment of its own."""
    one, other = make_cinder("multi"), make_cinder("multi")
    record = one.add("image", DATA, len(DATA))
    with one.open(record.location) as first, other.open(f"cinder://{view.volumes()[0].id}") as second:
        assert len(view.attachments()) == 2
        assert first.read() == second.read() == DATA
    view.settled()


def test_attached_elsewhere(make_cinder, view):
    """Who has to wait too long is told by whom the image is kept, and what would help."""
    one, other = make_cinder("rbd1"), make_cinder("rbd1", cinder_attach_timeout=2)
    record = one.add("image", DATA, len(DATA))
    with one.open(record.location) as reader:
        with pytest.raises(errors.Busy, match="multiattach"):
            other.open(f"cinder://{view.volumes()[0].id}")
        assert reader.read() == DATA
    assert content(other, f"cinder://{view.volumes()[0].id}") == DATA


def test_volumes_that_are_no_images(make_cinder, cloud, view):
    """They are neither read nor deleted nor listed, although they are in the store's project."""
    client = cloud.client("images")
    volume = client.volumes.create(1, name="somebody's", volume_type="rbd1")
    until(lambda: client.volumes.get(volume.id).status == "available")
    store = make_cinder("rbd1")
    for ask in (store.stat, store.open, store.delete):
        with pytest.raises(errors.ForeignLocation):
            ask(f"cinder://{store.id}/{volume.id}")
    assert volume.id not in [each.location.uri.rpartition("/")[2] for each in store.list()]
    assert client.volumes.get(volume.id).status == "available"


def test_logins(make_cinder, cloud, view):
    """Each store has its own: by an application credential, of another project, of an administrator."""
    env = cloud.env
    by_credential = make_cinder(
        "rbd1",
        cinder_store_user_name=None,
        cinder_store_password=None,
        cinder_store_project_name=None,
        cinder_store_application_credential_id=env["USER_IMAGES_APPLICATION_ID"],
        cinder_store_application_credential_secret=env["USER_IMAGES_APPLICATION_SECRET"],
    )
    poor, admin = make_cinder("rbd1", user="poor"), make_cinder("rbd1", user="cinder")
    records = [store.add("image", DATA, len(DATA)) for store in (by_credential, poor)]
    projects = {getattr(each, "os-vol-tenant-attr:tenant_id") for each in view.volumes()}
    assert projects == {env["USER_IMAGES_PROJECT_ID"], env["USER_POOR_PROJECT_ID"]}
    for store, record in zip((by_credential, poor), records, strict=True):
        assert content(store, record.location) == DATA
        assert record.location in [each.location for each in store.list()]
    with pytest.raises(errors.NotFound):
        poor.stat(f"cinder://{records[0].location.uri.rpartition('/')[2]}")
    assert {each.probe().status for each in (by_credential, poor, admin)} == {Status.UP}
    assert admin.health.details["volume_services_up"] >= 1
    room = poor.capacity()
    assert (room.total, room.used) == (3 * GIB, GIB)
    assert admin.capacity().free


def test_the_token_of_whoever_asks(make_cinder, cloud, view):
    """Without credentials of its own the store works with the caller's, in the caller's project."""
    login = cloud.client("images").client
    catalog = [
        {"type": "volumev3", "endpoints": [{"region": cloud.env["REGION"], "publicURL": cloud.env["CINDER_URL"]}]}
    ]
    caller = types.SimpleNamespace(
        auth_token=login.get_token(), project_id=cloud.env["USER_IMAGES_PROJECT_ID"], service_catalog=catalog
    )
    nothing = ("auth_address", "user_name", "password", "project_name")
    store = make_cinder("rbd1", **{f"cinder_store_{name}": None for name in nothing})
    assert Feature.LIST not in store.features
    record = store.add("image", DATA, len(DATA), context=caller)
    assert view.volumes()[0].metadata["image_owner"] == cloud.env["USER_IMAGES_PROJECT_ID"]
    with store.open(record.location, context=caller) as reader:
        assert reader.read() == DATA
    with pytest.raises(errors.Forbidden):
        store.open(record.location)
    store.delete(record.location, context=caller)
    view.gone()
