"""A Glance of its own on volumes of a real Cinder, beside a directory.

What every kind of storage must do runs here as well; each step takes Cinder a second, so that not all of it does.
"""

import concurrent.futures

import pytest
import requests

from store_lib.tests import support
from store_lib.tests.functional.glance import places as kinds
from store_lib.tests.functional.glance import served, service
from store_lib.tests.functional.glance.client import Client
from store_lib.tests.functional.glance.test_images import test_a_promised_size_that_is_wrong as test_wrong_size
from store_lib.tests.functional.glance.test_images import test_data_that_is_missing as test_missing
from store_lib.tests.functional.glance.test_images import test_ranges as test_ranges
from store_lib.tests.functional.glance.test_locations import test_locations_of_stored_images as test_locations

__all__ = ["test_locations", "test_missing", "test_ranges", "test_wrong_size"]

MIB = support.MIB
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def places(tmp_path_factory, servers):
    """Return the stores of this Glance, by id."""
    folder = tmp_path_factory.mktemp("places")
    rows = [
        served.CinderPlace("volumes", servers("cinder"), "rbd1"),
        served.CinderPlace("archive", servers("cinder"), "rbd2"),
        kinds.FilePlace("fast", folder / "fast"),
    ]
    return {place.store: place for place in rows}


@pytest.fixture(scope="module")
def glance(make_glance, tmp_path_factory, places):
    """Return this Glance."""
    made = make_glance(tmp_path_factory.mktemp("glance"), list(places.values()))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def user(glance):
    """Return an administrator of this Glance."""
    return Client(glance)


@pytest.fixture
def store():
    """Return the id of the store that all tests are about."""
    return "volumes"


@pytest.fixture
def place(places):
    """Return the store that all tests are about; after the test nothing is attached."""
    yield places["volumes"]
    support.until(lambda: not places["volumes"].attached(), served.CINDER_PATIENCE)


def test_upload_download_and_delete(user, place):
    """With a known and with an unknown size: record, digests, bytes and location are right."""
    data = support.payload(9 * MIB + 17)
    for body in (data, support.pieces(data)):
        image = user.add(body, "volumes")
        shown = user.check(image, data, ["volumes"])
        assert shown["direct_url"] == shown["locations"][0]["url"] == place.url(image)
        user.delete(image)
        assert not place.holds(image)


def test_details_of_the_store(user, place):
    """Asks for the details of the stores."""
    told = user.stores(detail=True)["volumes"]
    assert (told["type"], told["properties"]) == ("cinder", place.properties())


def test_copies(user, place):
    """Copies from a directory into a volume and back, and deletes one copy and then the image."""
    data = support.payload(3 * MIB)
    for first, second in (("fast", "volumes"), ("volumes", "fast")):
        image = user.add(data, first)
        user.import_image(image, "copy-image", stores=[second])
        user.check(image, data, [first, second])
        user.delete_from("fast", image)
        user.check(image, data, ["volumes"])
        user.delete(image)
        assert not place.holds(image)


def test_from_one_store_of_volumes_to_another(user, places):
    """Migrates an image: copies it into the other store and deletes it from the first one."""
    data = support.payload(3 * MIB)
    image = user.add(data, "volumes")
    user.import_image(image, "copy-image", stores=["archive"])
    user.check(image, data, ["volumes", "archive"])
    user.delete_from("volumes", image)
    shown = user.check(image, data, ["archive"])
    assert shown["direct_url"] == places["archive"].url(image)
    assert shown["direct_url"].startswith("cinder://archive/")
    assert not places["volumes"].holds(image)
    user.delete(image)
    assert not places["archive"].holds(image)


def test_many_readers_of_one(user, place):
    """Eight downloads of one image at once: its volume may be attached one time only."""
    data = support.payload(6 * MIB)
    image = user.add(data, "volumes")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: user.download(image) == data, range(8)))
    user.delete(image)


def test_a_client_that_goes_away_while_downloading(user, glance, place):
    """Reads some bytes and goes away: Glance lets go of the volume."""
    data = support.payload(24 * MIB)
    image = user.add(data, "volumes")
    headers = {"X-Auth-Token": "user:project:admin"}
    url = f"{glance.url}/v2/images/{image}/file"
    with requests.get(url, headers=headers, stream=True, timeout=service.PATIENCE) as answer:
        assert next(answer.iter_content(65536)) == data[:65536]
        assert place.attached()
    support.until(lambda: not place.attached(), served.CINDER_PATIENCE)
    assert user.download(image) == data
    user.delete(image)


def test_a_client_that_goes_away_while_uploading(user, place):
    """Goes away in the middle: the image is queued again, nothing is left, and it can be uploaded then."""
    before = place.objects()
    image = user.create()
    user.abandon(image, support.payload(9 * MIB), "volumes")
    support.until(lambda: user.show(image)["status"] == "queued", served.CINDER_PATIENCE)
    support.until(lambda: place.objects() == before, served.CINDER_PATIENCE)
    data = support.payload(2 * MIB)
    user.upload(image, data, "volumes")
    user.check(image, data, ["volumes"])
    user.delete(image)
