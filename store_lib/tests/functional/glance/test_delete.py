"""Deleting copies and images, at once and later."""

import pytest

from store_lib.tests import support
from store_lib.tests.functional.glance import places as kinds
from store_lib.tests.functional.glance.client import Client

MIB = support.MIB


def test_one_copy_after_the_other(user, writable):
    """Deletes all copies but the last one, which Glance does not give away, then the image."""
    data = support.payload(2 * MIB)
    image = user.create()
    user.stage(image, data)
    user.import_image(image, "glance-direct", stores=list(writable))
    user.delete_from("nowhere", image, 409)
    user.delete_from("web", image, 404)
    *others, last = writable
    for store in others:
        user.delete_from(store, image)
        assert not writable[store].holds(image)
        assert store not in user.stores_of(image)
        assert user.download(image) == data
    user.delete_from(last, image, 403)
    user.check(image, data, [last])
    user.delete(image)
    assert not writable[last].holds(image)


def test_a_protected_image(user, store, places):
    """Protects an image: it is not deleted, nor its bytes."""
    data = support.payload(1000)
    image = user.add(data, store, protected=True)
    user.delete(image, 403)
    user.check(image, data, [store])
    headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    change = [{"op": "replace", "path": "/protected", "value": False}]
    user.ask("PATCH", f"images/{image}", 200, json=change, headers=headers)
    user.delete(image)
    assert not places[store].holds(image)


def test_a_copy_whose_data_is_missing(user, places):
    """Deletes a copy whose bytes are gone: it is taken off the image's list."""
    data = support.payload(1000)
    image = user.add(data, "fast")
    user.import_image(image, "copy-image", stores=["cheap"])
    places["cheap"].take_away(image)
    user.delete_from("cheap", image)
    user.check(image, data, ["fast"])
    user.delete(image)


@pytest.fixture(scope="module")
def delayed(make_glance, tmp_path_factory):
    """Return a Glance that deletes later; store_lib comes to it by the stand-in, without a line of code."""
    folder = tmp_path_factory.mktemp("delayed")
    rows = [kinds.FilePlace("fast", folder / "fast"), kinds.FilePlace("cheap", folder / "cheap")]
    return make_glance(folder / "glance", rows, on="stand_in", delayed_delete="true", scrub_time="0")


def test_later_by_the_scrubber(delayed):
    """Deletes images later: the bytes stay until the scrubber comes, and for good if an image is restored before."""
    user = Client(delayed)
    fast, cheap = delayed.places
    data = support.payload(2 * MIB)
    images = [user.add(data, "fast") for _ in range(3)]
    for image in images:
        user.import_image(image, "copy-image", stores=["cheap"])
        user.delete(image)
        user.ask("GET", f"images/{image}", 404)
    assert fast.objects() == cheap.objects() == set(images)
    config = ("--config-file", delayed.config)
    cheap.take_away(images[1])
    delayed.run("glance-scrubber", *config, "--restore", images[0])
    delayed.run("glance-scrubber", *config)
    assert fast.objects() == cheap.objects() == {images[0]}
    assert user.show(images[0])["status"] == "active"
