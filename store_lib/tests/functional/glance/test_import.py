"""Staging, importing and copying through a real Glance."""

import pytest

from store_lib.tests import support

MIB = support.MIB


@pytest.fixture
def staged(glance):
    """Return a function that tells the files in the staging folder."""
    return lambda: set(support.names(glance.staging))


def test_staged_and_imported_into_every_store(user, writable, staged):
    """Stages an image and imports it into all stores at once: whole in each, the staged bytes are gone."""
    data = support.payload(7 * MIB + 5)
    image = user.create()
    user.stage(image, support.pieces(data))
    assert image in staged()
    assert user.show(image)["status"] == "uploading"
    user.stage(image, data, status=409)
    user.import_image(image, "glance-direct", stores=list(writable))
    user.check(image, data, writable)
    for store, place in writable.items():
        assert place.holds(image)
        assert user.download(image, prefer=store) == data
    assert image not in staged()
    user.delete(image)
    assert not any(place.holds(image) for place in writable.values())


def test_all_stores_where_one_is_for_reading_only(user, writable):
    """Imports into all stores: those that can be written hold the image, the web store is not asked."""
    data = support.payload(MIB)
    image = user.create()
    user.stage(image, data)
    user.import_image(image, "glance-direct", all_stores=True)
    user.check(image, data, writable)
    user.delete(image)


def test_all_must_succeed_and_one_does_not(user, writable, staged):
    """Imports into the web store as well, and all must succeed: the task fails, no store holds a copy."""
    data = support.payload(MIB)
    image = user.create()
    user.stage(image, data)
    stores = [*writable, "web"]
    user.import_image(image, "glance-direct", stores=stores, wait="importing", failed=["web"])
    assert user.stores_of(image) == []
    assert not any(place.holds(image) for place in writable.values())
    user.delete(image)
    assert image not in staged()


def test_downloaded_from_the_web(user, web, store, staged):
    """Imports what a web server offers."""
    data = support.payload(5 * MIB + 1)
    image = user.create()
    user.import_image(image, {"name": "web-download", "uri": web.put("/disk.img", data)}, stores=[store])
    user.check(image, data, [store])
    assert image not in staged()
    user.delete(image)


def test_a_download_that_fails(user, web, store, places, staged):
    """Imports what the web server does not have: the image is queued again, nothing is left."""
    image = user.create()
    uri = web.put("/disk.img", b"x").replace("disk.img", "missing.img")
    user.import_image(image, {"name": "web-download", "uri": uri}, stores=[store], wait="queued", failed=[store])
    assert not places[store].holds(image)
    assert image not in staged()
    user.delete(image)


def test_copied_from_each_store_to_the_others(user, writable, store, staged):
    """Copies an image from one store to all others, then again, which changes nothing."""
    data = support.payload(6 * MIB + 3)
    image = user.add(data, store)
    others = [name for name in writable if name != store]
    user.import_image(image, "copy-image", stores=others)
    user.check(image, data, writable)
    for name in writable:
        assert user.download(image, prefer=name) == data
    user.import_image(image, "copy-image", stores=others, status=400)
    user.check(image, data, writable)
    assert image not in staged()
    user.delete(image)
    assert not any(place.holds(image) for place in writable.values())


def test_copied_from_the_web_store(user, web, places):
    """Copies an image whose only location is a web address."""
    data = support.payload(3 * MIB + 1)
    image = user.create()
    user.add_location(image, web.put("/golden.img", data))
    user.settled(image)
    user.import_image(image, "copy-image", stores=["cheap"])
    user.check(image, data, ["cheap", "web"])
    user.delete(image)
    assert not places["cheap"].holds(image)


def test_a_copy_into_a_store_that_refuses(user, writable, staged):
    """Copies into the web store: refused, and the image stays as it was."""
    data = support.payload(MIB)
    image = user.add(data, "fast")
    user.import_image(image, "copy-image", stores=["web"], all_stores_must_succeed=False, failed=["web"])
    user.check(image, data, ["fast"])
    user.delete(image)
    assert image not in staged()


def test_a_staged_image_is_deleted(user, staged):
    """Deletes an image that was staged only: its bytes go with it."""
    image = user.create()
    user.stage(image, support.payload(MIB))
    user.delete(image)
    assert image not in staged()
