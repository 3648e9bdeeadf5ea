"""Reading and deleting what lies on Swift, whoever wrote it and whatever happened to it."""

import io
import json
import tarfile
import uuid

import pytest

from store_lib import errors
from store_lib.tests.functional.swift.support import MIB, client, image, names, opened, own_account, wipe
from store_lib.tests.relay import Relay
from store_lib.tests.support import content

pytestmark = pytest.mark.usefixtures("one_login")


@pytest.fixture
def container(server):
    """Return the name of a container of this test."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    client(server).put_container(name)
    yield name
    wipe(client(server), name)


@pytest.fixture
def it(server, container, tmp_path):
    """Return a store whose images above 1 MiB are in segments of 1 MiB."""
    with opened(tmp_path, own_account(server, container=container, parallel=2)) as stores:
        yield stores["it"]


def by_the_peer(connection, container, image_id, data, segment):
    """Store an image as glance_store does: numbered segments beside a dynamic manifest."""
    for index, at in enumerate(range(0, len(data), segment), 1):
        connection.put_object(container, f"{image_id}-{index:05d}", data[at : at + segment])
    connection.put_object(container, image_id, b"", headers={"X-Object-Manifest": f"{container}/{image_id}-"})


def test_images_of_glance_store(it, server, container):
    """They are read, listed without their segments, and deleted with them, and nothing of another image goes."""
    connection = client(server)
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    data = image(2 * MIB + 17)
    by_the_peer(connection, container, first, data, 300_000)
    connection.put_object(container, second, b"small")
    wanted = [(first, len(data)), (second, 5)]
    assert sorted((each.id, each.size) for each in it.list()) == sorted(wanted)
    assert list(it.leftovers()) == []
    location = f"swift+config://ref1/{container}/{first}"
    assert content(it, location) == data
    with it.open(location, 299_990, 300_020) as reader:
        assert reader.read() == data[299_990:600_010]
    connection.put_object(container, f"{first}-copy", b"another image")  # to Swift it would be a segment
    it.delete(location)
    assert sorted(names(connection, container)) == sorted([second, f"{first}-copy"])


def test_more_segments_than_a_page_of_a_listing(server, container, tmp_path):
    """An image of glance_store is whole and has its size, however many segments it has, and goes with all of them.

    Swift tells no size of such an image, and puts no range together that ends behind the page.
    """
    server.start("few")
    proxy = server.env["FEW_URL"]
    endpoint = f"{proxy}/v1/AUTH_{server.env['USER_GLANCE_PROJECT_ID']}"
    connection = client(server, proxy=proxy)
    one, data = str(uuid.uuid4()), image(23_007)
    by_the_peer(connection, container, one, data, 1000)
    connection.put_object(container, f"{one}-00025", b"")
    assert len(connection.get_container(container)[1]) == 10
    assert connection.head_object(container, one).get("content-length", "0") == "0"
    group = own_account(server, container=f"{container}-other", swift_store_endpoint=endpoint)
    options = own_account(server, container=container, swift_store_endpoint=endpoint)
    with opened(tmp_path, options, f"[other]\n{group}") as stores:
        it, location = stores["it"], f"swift+config://ref1/{container}/{one}"
        assert it.stat(location).size == len(data)
        assert content(it, location) == data
        with it.open(location, 9_990, 10_020) as reader:
            assert reader.read() == data[9_990:20_010]
        assert [(each.id, each.size) for each in it.list()] == [(one, len(data))]
        assert list(it.leftovers()) == []
        copied = stores.copy(location, "other")
        assert copied.size == len(data)
        with it.open(location) as reader:
            connection.delete_object(container, f"{one}-00013")
            with pytest.raises(errors.BackendError, match="lost a part"):
                reader.read()
        it.delete(location)
        assert names(connection, container) == []
        assert content(stores["other"], copied.location) == data
    wipe(connection, f"{container}-other")


def by_another_client(connection, container, image_id, *more):
    """Store an image as a static manifest of parts of segments, of a manifest, and of what `more` says; return it.

    All of it lies in a container of its own, the last segment of the inner manifest without being used.
    """
    parts, sizes = f"{container}-parts", {"a": 900, "b": 80, "x": 10, "y": 20, "z": 7}
    pieces = {name: image(size) for name, size in sizes.items()}
    for name, data in pieces.items():
        connection.put_object(parts, f"{image_id}/{name}", data)

    def entry(name, **ranged):
        return {"path": f"/{parts}/{image_id}/{name}", **ranged}

    def manifest(place, name, *entries):
        connection.put_object(place, name, json.dumps(entries), query_string="multipart-manifest=put")

    manifest(parts, f"{image_id}/inner", entry("x"), entry("y"), entry("z"))
    first, inner, last = entry("a", range="100-"), entry("inner", range="5-24"), entry("b", range="-30")
    manifest(container, image_id, first, inner, *more, last)
    inside = (pieces["x"] + pieces["y"])[5:25]
    return pieces["a"][100:] + inside, pieces["b"][-30:]


def test_static_manifests_of_other_clients(it, server, container):
    """Of segments used in part, of manifests, of bytes of their own: read as Swift itself does, and gone with all."""
    connection = client(server)
    connection.put_container(f"{container}-parts")
    before, after = by_another_client(connection, container, "segments")
    images = {"segments": before + after}
    before, after = by_another_client(connection, container, "bytes", {"data": "aGVsbG8="})
    images["bytes"] = before + b"hello" + after
    for image_id, data in images.items():
        location = f"swift+config://ref1/{container}/{image_id}"
        assert connection.get_object(container, image_id)[1] == data
        assert it.stat(location).size == len(data)
        assert content(it, location) == data
        for first, length in ((790, 25), (805, 30), (0, 1), (len(data) - 1, 1)):
            with it.open(location, first, length) as reader:
                assert reader.read() == data[first : first + length]
    assert {each.id: each.size for each in it.list()} == {name: len(data) for name, data in images.items()}
    for image_id in images:
        it.delete(f"swift+config://ref1/{container}/{image_id}")
        assert not [each for each in names(connection, f"{container}-parts") if each.startswith(f"{image_id}/")]
    assert names(connection, container) == []
    wipe(connection, f"{container}-parts")


def in_one_request(connection, container, contents):
    """Store objects, by name and bytes, in a few requests."""
    pairs = [*contents.items()]
    for at in range(0, len(pairs), 2000):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, data in pairs[at : at + 2000]:
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        connection.put_object(container, "", archive.getvalue(), query_string="extract-archive=tar")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_thousand_segments(it, server, container):
    """More than the most that any cluster lists at once: the size is right, both ends are read, and all of it goes."""
    connection, one, data = client(server), str(uuid.uuid4()), image(10_005)
    in_one_request(connection, container, {f"{one}-{index:05d}": data[index : index + 1] for index in range(len(data))})
    connection.put_object(container, one, b"", headers={"X-Object-Manifest": f"{container}/{one}-"})
    assert len(names(connection, container)) == 10_006
    assert connection.head_object(container, one).get("content-length", "0") == "0"
    location = f"swift+config://ref1/{container}/{one}"
    assert it.stat(location).size == len(data)
    for first in (0, 9_990):
        with it.open(location, first, 15) as reader:
            assert reader.read() == data[first : first + 15]
    assert [(each.id, each.size) for each in it.list()] == [(one, len(data))]
    it.delete(location)
    assert names(connection, container) == []


def test_old_locations_with_credentials(it, server, container):
    """A location with user and password in it finds the image; one of another project is refused."""
    client(server).put_object(container, "old", b"data")
    keystone = server.env["KEYSTONE_URL"].removeprefix("http://")
    for start in ("service%3Aglance:secret@", ""):
        location = f"swift+http://{start}{keystone}/v3/{container}/old"
        assert content(it, location) == b"data"
    with pytest.raises(errors.ForeignLocation) as caught:
        it.open(f"swift+http://demo%3Ademo:secret@{keystone}/v3/{container}/old")
    assert "secret" not in str(caught.value)


def test_segments_of_glance_store_without_a_manifest(it, server, container):
    """They are leftovers by their names, and a sweep removes them, but only where no manifest is."""
    connection = client(server)
    dead, alive = str(uuid.uuid4()), str(uuid.uuid4())
    by_the_peer(connection, container, dead, image(1000), 100)
    by_the_peer(connection, container, alive, image(1000), 100)
    connection.delete_object(container, dead)
    (found,) = it.leftovers()
    assert (found.kind, found.size) == ("segments without a manifest", 1000)
    assert it.sweep(older_than=3600).removed == []
    assert len(it.sweep(older_than=0).removed) == 1
    assert sorted(names(connection, container)) == [alive, *(f"{alive}-{index:05d}" for index in range(1, 11))]


@pytest.mark.parametrize("index", [0, 2])
def test_a_segment_that_is_lost(it, server, container, index):
    """The image breaks with an error that says so; its end never looks like a normal one."""
    record = it.add("image", io.BytesIO(image(4 * MIB)))
    connection = client(server)
    segments = sorted(name for name in names(connection, container) if name.startswith(".segments/"))
    connection.delete_object(container, segments[index])
    with pytest.raises(errors.BackendError, match="lost a part"), it.open(record.location) as reader:
        reader.read()
    it.delete(record.location)
    assert names(connection, container) == []


def test_an_image_that_is_replaced_while_it_is_read(it, server, container):
    """A reader never gets bytes of two images."""
    record = it.add("image", io.BytesIO(image(MIB)), MIB)
    with it.open(record.location) as reader:
        reader.read(10)
        reader.seek(0)
        client(server).put_object(container, "image", image(MIB))
        with pytest.raises(errors.BackendError, match="replaced"):
            reader.read()


def test_an_image_that_is_deleted_while_it_is_read(it, server, container):
    """Then it is not found, as the place is seen to be there."""
    record = it.add("image", io.BytesIO(image(2 * MIB)))
    with it.open(record.location) as reader:
        it.delete(record.location)
        with pytest.raises(errors.NotFound):
            reader.read()


def test_connections_that_break(server, container, tmp_path):
    """Reading goes on where it broke off, and the bytes are those of the image; so does writing."""
    project = server.env["USER_GLANCE_PROJECT_ID"]
    with Relay(int(server.env["PROXY_PORT"])) as relay:
        endpoint = f"http://127.0.0.1:{relay.port}/v1/AUTH_{project}"
        options = own_account(server, container=container, swift_store_endpoint=endpoint, parallel=2)
        with opened(tmp_path, options) as stores:
            data = image(4 * MIB)
            stores["it"].add("warm", io.BytesIO(b"1"), 1)
            relay.set(cut_up=1_300_000)
            record = stores["it"].add("image", io.BytesIO(data))
            relay.set(cut_up=None, cut_down=700_000)
            assert content(stores["it"], record.location) == data
            relay.set(cut_down=None)
            stores["it"].delete(record.location)
            stores["it"].delete(f"swift+config://ref1/{container}/warm")
    assert names(client(server), container) == []


@pytest.mark.parametrize("size", [1000, 2 * MIB])
def test_a_commit_whose_answer_is_lost(server, container, tmp_path, size):
    """The image was put and the answer lost: that is found out, and the image is added once."""
    project = server.env["USER_GLANCE_PROJECT_ID"]
    with Relay(int(server.env["PROXY_PORT"]), http=True) as relay:
        endpoint = f"http://127.0.0.1:{relay.port}/v1/AUTH_{project}"
        options = own_account(server, container=container, swift_store_endpoint=endpoint)
        with opened(tmp_path, options) as stores:
            relay.rule(f"PUT .*/{container}/image", "lose")
            data = image(size)
            record = stores["it"].add("image", io.BytesIO(data), size)
            assert content(stores["it"], record.location) == data
            assert list(stores["it"].leftovers()) == []
            assert any("/image" in each for each in relay.seen())
            stores["it"].delete(record.location)
    assert names(client(server), container) == []
