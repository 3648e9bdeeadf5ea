"""What is on Swift after an image was added: objects, segments, manifests, and nothing else."""

import concurrent.futures
import hashlib
import io
import subprocess
import sys
import threading
import time
import uuid
from typing import Any

import pytest
import requests

from store_lib import errors
from store_lib.runtime import new_owner
from store_lib.tests.functional.swift.support import MIB, client, halves, image, names, opened, own_account, wipe
from store_lib.tests.relay import Relay
from store_lib.tests.support import content, until

pytestmark = pytest.mark.usefixtures("one_login")


@pytest.fixture
def container(server):
    """Return the name of a container of this test."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    yield name
    wipe(client(server), name)


@pytest.fixture
def it(server, container, tmp_path):
    """Return a store whose images above 1 MiB are in segments of 1 MiB."""
    with opened(tmp_path, own_account(server, container=container)) as stores:
        yield stores["it"]


@pytest.fixture(scope="module", autouse=True)
def enduring(server, tmp_path_factory):
    """Begin an image by tokens that live for ten seconds, and return what ends it.

    Most of that time goes by while other tests run.
    """
    server.start("short")
    name, data = f"test-{uuid.uuid4().hex[:8]}", image(4 * MIB)
    options = {"swift_store_auth_address": f"{server.env['SHORT_URL']}/v3", "swift_store_expire_soon_interval": 1}
    text = own_account(server, container=name, parallel=2, **options)
    begun, go_on, folder = threading.Event(), threading.Event(), tmp_path_factory.mktemp("enduring")
    expired: list[float] = []
    used: list[str] = []

    def between():
        used.append(tokens.token())
        expired.append(time.monotonic() + 11)
        begun.set()
        go_on.wait()

    with opened(folder, text) as stores, concurrent.futures.ThreadPoolExecutor(1) as pool:
        tokens = stores["it"]._driver._tenancy.cloud().service("ref1")
        added = pool.submit(lambda: stores["it"].add("image", halves(data, between), len(data)))

        def end():
            assert begun.wait(60)
            until(lambda: time.monotonic() > expired[0], 60)
            assert tokens.token() not in used  # before Swift has refused it
            go_on.set()
            return content(stores["it"], added.result().location) == data

        yield end
        go_on.set()
    wipe(client(server), name)


def test_a_small_image_is_one_object_with_its_own_digest(it, server, container):
    """An image below the threshold is an object that every client of Swift can use."""
    data = image(MIB)
    record = it.add("small", io.BytesIO(data), MIB)
    headers, body = client(server).get_object(container, "small")
    assert body == data
    assert headers["etag"] == hashlib.md5(data).hexdigest()
    assert record.verified_by == "backend"


def test_an_image_that_other_clients_see(it, server, container):
    """A large image is a static large object: other clients read it as one, and delete it with its segments."""
    data = image(3 * MIB + 5)
    it.add("large", io.BytesIO(data), len(data))
    connection = client(server)
    headers, body = connection.get_object(container, "large")
    assert body == data
    assert headers["x-static-large-object"] == "True"
    connection.delete_object(container, "large", query_string="multipart-manifest=delete")
    assert names(connection, container) == []


def test_more_segments_than_a_manifest_takes(server, container, tmp_path):
    """Manifests of at most four entries hold eleven segments by manifests within manifests."""
    server.start("few")
    project = server.env["USER_GLANCE_PROJECT_ID"]
    options = own_account(
        server, container=container, swift_store_endpoint=f"{server.env['FEW_URL']}/v1/AUTH_{project}"
    )
    with opened(tmp_path, options) as stores:
        data = image(10 * MIB + 99)
        record = stores["it"].add("deep", io.BytesIO(data))
        assert content(stores["it"], record.location) == data
        with stores["it"].open(record.location, 4 * MIB - 10, 3 * MIB) as reader:
            assert reader.read() == data[4 * MIB - 10 : 7 * MIB - 10]
        assert client(server).get_object(container, "deep")[1] == data
        stores["it"].delete(record.location)
        assert names(client(server), container) == []


def test_a_server_without_static_manifests(server, container, tmp_path):
    """Where Swift knows dynamic manifests only, large images are stored, read, listed and deleted all the same."""
    server.start("plain")
    project = server.env["USER_GLANCE_PROJECT_ID"]
    endpoint = f"{server.env['PLAIN_URL']}/v1/AUTH_{project}"
    options = own_account(server, container=container, swift_store_endpoint=endpoint)
    with opened(tmp_path, options, f"[second]\n{options}") as stores:
        data = image(3 * MIB + 1)
        record = stores["it"].add("old", io.BytesIO(data))
        assert content(stores["it"], record.location) == data
        assert client(server, proxy=server.env["PLAIN_URL"]).get_object(container, "old")[1] == data
        assert [(each.id, each.size) for each in stores["it"].list()] == [("old", len(data))]
        assert list(stores["it"].leftovers()) == []
        with pytest.raises(errors.Duplicate):
            stores["it"].add("old", io.BytesIO(data))
        copied = stores.copy(record.location, "second", image_id="copy")  # by its bytes: this server copies nothing
        stores["it"].delete(record.location)
        assert content(stores["second"], copied.location) == data
        stores["second"].delete(copied.location)
        assert names(client(server), container) == []


@pytest.mark.parametrize("size", [1000, 2 * MIB + 1])
def test_writers_of_one_id(it, server, container, size):
    """Of writers that begin at once exactly one wins, and what is there is his; the others leave nothing."""
    images = [image(size) for _ in range(5)]
    ended = []
    together = threading.Barrier(len(images))

    def write(data):
        together.wait(60)
        try:
            it.add("one", io.BytesIO(data), size)
            ended.append(data)
        except errors.Duplicate:
            ended.append(None)

    threads = [threading.Thread(target=write, args=(data,)) for data in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    won = [data for data in ended if data is not None]
    assert (len(ended), len(won)) == (5, 1)
    (listed,) = it.list()
    assert content(it, listed.location) == won[0]
    found = names(client(server), container)
    assert len(found) == (1 if size < MIB else 4)


def test_how_many_requests_a_small_image_takes(server, container, tmp_path):
    """Five: is the id free, a claim to it, is that the only one, the image, and the end of the claim."""
    project = server.env["USER_GLANCE_PROJECT_ID"]
    with Relay(int(server.env["PROXY_PORT"]), http=True) as relay:
        endpoint = f"http://127.0.0.1:{relay.port}/v1/AUTH_{project}"
        with opened(tmp_path, own_account(server, container=container, swift_store_endpoint=endpoint)) as stores:
            stores["it"].add("first", io.BytesIO(b"data"), 4)
            before = len(relay.seen())
            stores["it"].add("second", io.BytesIO(b"data"), 4)
            assert [each.partition(" ")[0] for each in relay.seen()[before:]] == ["HEAD", "PUT", "GET", "PUT", "DELETE"]


def test_claims_of_others(it, server, container):
    """Claims of processes of this machine that are gone stop nobody; among however many of those a live one counts."""
    gone = subprocess.run(
        [sys.executable, "-c", "from store_lib.runtime import new_owner; print(new_owner().encode())"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()
    connection = client(server)
    connection.put_container(container)
    for number in range(12):  # more than are looked at in one request
        connection.put_object(container, f".claims/mine/{number:032x}{gone[32:]}", b"")
    live = f".claims/mine/{'f' * 32}{new_owner().encode()[32:]}"
    connection.put_object(container, live, b"")
    with pytest.raises(errors.Duplicate):
        it.add("mine", io.BytesIO(b"data"), 4)
    connection.delete_object(container, live)
    assert it.add("mine", io.BytesIO(b"data"), 4).size == 4


def test_quota(it, server, container):
    """A quota that is used up is a full store, and nothing of the image stays."""
    connection = client(server)
    connection.put_container(container, headers={"X-Container-Meta-Quota-Bytes": str(2 * MIB)})
    for size in (2 * MIB + 1, 5 * MIB):
        with pytest.raises(errors.StoreFull):
            it.add("big", io.BytesIO(image(size)))
    assert names(connection, container) == []
    assert it.capacity().free == 2 * MIB
    it.add("fits", io.BytesIO(image(MIB)), MIB)
    assert it.capacity().free == MIB


def test_a_container_that_is_missing(server, container, tmp_path):
    """Without leave to make it, a missing container closes the store with a mend; an operator's word makes it."""
    options = own_account(server, container=container, swift_store_create_container_on_put="false")
    with opened(tmp_path, options) as stores:
        with pytest.raises(errors.StoreUnavailable, match="store init"):
            stores["it"].add("image", io.BytesIO(b"data"), 4)
        for ask in (stores["it"].stat, stores["it"].delete):
            with pytest.raises(errors.StoreUnavailable):  # not NotFound: a service would forget the image
                ask(f"swift+config://ref1/{container}/image")
        assert container in stores["it"].initialise()
    with opened(tmp_path, options) as stores:
        assert stores["it"].add("image", io.BytesIO(b"data"), 4).size == 4


def test_containers_by_seed_and_segments_elsewhere(server, container, tmp_path):
    """Images are spread over containers by the beginning of their ids; segments lie in a container of their own."""
    options = own_account(
        server,
        container=container,
        swift_store_multiple_containers_seed=2,
        swift_store_segments_container=f"{container}-parts",
    )
    connection = client(server)
    with opened(tmp_path, options) as stores:
        data = image(2 * MIB)
        records = [stores["it"].add(f"{start}-image", io.BytesIO(data)) for start in ("aa", "bb")]
        assert [record.location.uri for record in records] == [
            f"swift+config://ref1/{container}_{start}/{start}-image" for start in ("aa", "bb")
        ]
        assert names(connection, f"{container}_aa") == ["aa-image"]
        assert len(names(connection, f"{container}-parts")) == 4
        assert sorted(each.id for each in stores["it"].list()) == ["aa-image", "bb-image"]
        assert content(stores["it"], records[1].location) == data
        for record in records:
            stores["it"].delete(record.location)
        with pytest.raises(errors.NotFound):
            stores["it"].delete(f"swift+config://ref1/{container}_cc/cc-image")
        assert names(connection, f"{container}-parts") == []
    for suffix in ("_aa", "_bb", "-parts"):
        wipe(connection, container + suffix)


KILLED = """
import sys, time
from oslo_config import cfg
from store_lib import Stores
conf = cfg.ConfigOpts()
conf(["--config-file", sys.argv[1]], project="store_lib", default_config_files=[], default_config_dirs=[])
def source():
    for _ in range(3):
        yield bytes(1024 * 1024)
    time.sleep(1)
    print("sent", flush=True)
    time.sleep(600)
Stores.from_config(conf)["it"].add("dead", source())
"""


def test_a_killed_process(it, server, container, tmp_path):
    """What a killed writer left is found and swept at once on its machine, while a live one's stays."""
    (conf,) = tmp_path.glob("*.conf")
    process: Any = subprocess.Popen([sys.executable, "-c", KILLED, conf], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "sent\n"
        until(lambda: len(names(client(server), container)) >= 2, 60)
        (live,) = it.leftovers()
        assert live.owner.pid == process.pid
        assert it.sweep().removed == []
        assert it.add("alive", io.BytesIO(image(2 * MIB))).size == 2 * MIB
    finally:
        process.kill()
        process.wait(60)
    assert len(it.sweep().removed) == 1
    assert list(it.leftovers()) == []
    assert [each.id for each in it.list()] == ["alive"]
    assert content(it, f"swift+config://ref1/{container}/alive")


def test_copy_inside_swift(server, container, tmp_path):
    """From one container into another Swift itself copies, segment by segment; the copy stands by itself."""
    other = f"{container}-other"
    group = f"[other]\n{own_account(server, container=other)}"
    with opened(tmp_path, own_account(server, container=container), group) as stores:
        data = image(4 * MIB + 3)
        record = stores["it"].add("image", io.BytesIO(data))
        copied = stores.copy(record.location, "other")
        stores["it"].delete(record.location)
        assert copied.digests == {}  # no byte of it came through here
        assert content(stores["other"], copied.location) == data
        assert len([each for each in names(client(server), other) if each.startswith(".segments/")]) > 1
        stores["other"].delete(copied.location)
        assert names(client(server), other) == []
    wipe(client(server), other)


def test_copy_between_accounts(server, container, tmp_path):
    """Swift itself copies where it lets one project read the other's account; else the bytes are read and written."""
    other = f"{container}-other"
    mighty = own_account(server, container=other, swift_store_user="images:imgadmin", swift_store_key="imgadmin-pw")
    theirs = client(server, "imgadmin")
    try:
        with opened(tmp_path, own_account(server, container=container), f"[other]\n{mighty}") as stores:
            data = image(3 * MIB + 3)
            record = stores["it"].add("image", io.BytesIO(data))
            moved = stores.migrate(record.location, "other", delete_source=True)
            assert moved.digests == {}  # no byte of it came through here
            assert names(client(server), container) == []
            assert theirs.get_object(other, "image")[1] == data
            back = stores.migrate(moved.location, "it", delete_source=True)
            assert back.digests["md5"] == hashlib.md5(data).hexdigest()  # that user may not read the other account
            assert content(stores["it"], back.location) == data
            assert names(theirs, other) == []
    finally:
        wipe(theirs, other)


def test_temporary_urls(server, container, tmp_path):
    """With a key, a URL reads one image without credentials."""
    connection = client(server)
    connection.post_account({"X-Account-Meta-Temp-URL-Key": "the key of the account"})
    options = own_account(server, container=container, swift_temp_url_key="the key of the account")
    with opened(tmp_path, options) as stores:
        record = stores["it"].add("image", io.BytesIO(b"data"), 4)
        url = stores["it"].url(record.location, 600)
        assert requests.get(url, timeout=60).content == b"data"
        assert requests.get(url.partition("?")[0], timeout=60).status_code == 401
        assert "the key" not in url


def test_tokens_that_live_for_seconds(enduring):
    """A transfer may outlive any number of tokens."""
    assert enduring()
