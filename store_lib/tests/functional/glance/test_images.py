"""Images come and go through a real Glance: what users see, and what lies in the stores."""

import concurrent.futures

import psutil
import pytest
import requests

from store_lib.tests import support
from store_lib.tests.functional.glance import service

MIB = support.MIB
BIG = 24 * MIB


@pytest.fixture
def place(places, store):
    """Return the store of the test."""
    return places[store]


def test_upload_and_download(user, place, store):
    """Uploads with a known and with an unknown size: record, digests, bytes and location are right."""
    for size in (0, 1000, 9 * MIB + 17):
        data = support.payload(size, seed=size)
        for image in (user.add(data, store), user.add(support.pieces(data), store)):
            shown = user.check(image, data, [store])
            assert [location["metadata"]["store"] for location in shown["locations"]] == [store]
            assert shown["direct_url"] == shown["locations"][0]["url"]
            assert place.holds(image)
            user.delete(image)
            user.ask("GET", f"images/{image}", 404)
            assert not place.holds(image)


def test_ranges(user, place, store):
    """Reads parts: the first bytes, some in the middle, the last ones, and more than there is."""
    data = support.payload(5 * MIB + 3)
    image = user.add(data, store)
    for first, last in ((0, 0), (0, 99), (MIB - 1, 3 * MIB), (5 * MIB, 5 * MIB + 2), (17, 5 * MIB + 2)):
        answer = user.ask("GET", f"images/{image}/file", 206, headers={"Range": f"bytes={first}-{last}"})
        assert answer.content == data[first : last + 1]
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(data)}"
    assert user.download(image, 206, {"Range": "bytes=100-"}) == data[100:]
    user.download(image, 416, {"Range": f"bytes={len(data)}-"})
    user.delete(image)


def test_the_default_store_and_unknown_ones(user, places):
    """Uploads without naming a store, and to one that is not there."""
    data = support.payload(1000)
    image = user.create()
    user.upload(image, data, "nowhere", status=400)
    assert user.show(image)["status"] == "queued"
    user.upload(image, data)
    user.check(image, data, [next(iter(places))])
    user.upload(image, data, status=409)
    user.check(image, data)
    user.delete(image)


def test_a_promised_size_that_is_wrong(user, place, store):
    """Promises more and less than comes: 400, nothing is left, and the same image can be uploaded then."""
    data = support.payload(3 * MIB)
    image = user.create()
    for promised in (len(data) - 1, len(data) + 1, 1):
        headers = {"Content-Type": "application/octet-stream", "X-OpenStack-Image-Size": str(promised)}
        headers["X-Image-Meta-Store"] = store
        body = support.pieces(data)
        user.ask("PUT", f"images/{image}/file", 400, data=body, headers=headers)
        assert user.show(image)["status"] == "queued"
        assert not place.holds(image)
    user.upload(image, data, store)
    user.check(image, data, [store])
    user.delete(image)


def test_many_at_once(user, writable):
    """Twelve uploads and downloads at once, over all stores: every image is whole, and gone after its deletion."""
    before = {store: place.objects() for store, place in writable.items()}
    stores = list(writable)

    def one(number):
        data = support.payload(MIB + 70_001 * number, seed=number)
        body = data if number % 2 else support.pieces(data)
        store = stores[number % len(stores)]
        image = user.add(body, store)
        user.check(image, data, [store])
        return image

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        images = list(pool.map(one, range(12)))
        list(pool.map(user.delete, images))
    assert {store: place.objects() for store, place in writable.items()} == before


def test_many_readers_of_one(user, store):
    """Eight downloads of one image at once."""
    data = support.payload(6 * MIB)
    image = user.add(data, store)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: user.download(image) == data, range(8)))
    user.delete(image)


def test_a_client_that_goes_away_while_uploading(user, place, store):
    """Goes away in the middle: the image is queued again, nothing is left, and it can be uploaded then."""
    before = place.objects()
    image = user.create()
    user.abandon(image, support.payload(9 * MIB), store)
    support.until(lambda: user.show(image)["status"] == "queued", service.PATIENCE)
    support.until(lambda: place.objects() == before, service.PATIENCE)
    data = support.payload(2 * MIB)
    user.upload(image, data, store)
    user.check(image, data, [store])
    user.delete(image)


def test_a_client_that_goes_away_while_downloading(user, glance, place, store):
    """Reads some bytes and goes away: Glance lets go of the image, and serves it to others."""
    data = support.payload(BIG)
    image = user.add(data, store)
    before = open_files(glance, image)
    headers = {"X-Auth-Token": "user:project:admin"}
    for _ in range(4):
        with requests.get(
            f"{glance.url}/v2/images/{image}/file", headers=headers, stream=True, timeout=service.PATIENCE
        ) as answer:
            assert next(answer.iter_content(65536)) == data[:65536]
    support.until(lambda: open_files(glance, image) == before, service.PATIENCE)
    assert user.download(image) == data
    user.delete(image)


def open_files(glance, name):
    """Return how many files of an image the processes of a Glance hold open."""
    master = psutil.Process(glance.pid)
    found = 0
    for process in [master, *master.children(recursive=True)]:
        found += sum(name in file.path for file in process.open_files())
    return found


def test_data_that_is_missing(user, place, store):
    """Takes the bytes away behind Glance's back: no content, but the image can be deleted."""
    data = support.payload(MIB)
    image = user.add(data, store)
    place.take_away(image)
    assert user.download(image, 204) == b""
    user.delete(image)
    user.ask("GET", f"images/{image}", 404)


def test_a_copy_that_is_missing(user, writable):
    """Takes one of several copies away: the other one serves."""
    first, second = list(writable)[:2]
    data = support.payload(MIB)
    image = user.add(data, first)
    user.import_image(image, "copy-image", stores=[second])
    writable[first].take_away(image)
    assert user.download(image) == data
    user.delete(image)
    assert not writable[second].holds(image)


def test_the_copy_that_is_preferred(user, places):
    """Writes different bytes into the copies: the heaviest store serves, unless the user prefers another."""
    data = support.payload(MIB)
    image = user.add(data, "cheap")
    user.import_image(image, "copy-image", stores=["fast"])
    assert user.stores_of(image) == ["fast", "cheap"]
    other = support.payload(MIB, seed=1)
    (places["cheap"].folder / image).write_bytes(other)
    assert user.download(image) == data
    assert user.download(image, prefer="cheap") == other
    user.delete(image)
