"""What Glance tells of its stores, and stores that are full, write protected or broken."""

import contextlib
import copy
import os
import subprocess
import urllib.parse

import pytest

from store_lib.tests import support
from store_lib.tests.functional.glance import places as kinds
from store_lib.tests.functional.glance import service
from store_lib.tests.functional.glance.client import Client
from store_lib.tests.relay import Relay

MIB = support.MIB


def test_what_is_told_of_the_stores(user, places):
    """Asks for the stores: ids, descriptions, which is the default and which can only be read."""
    told = user.as_role("member").stores()
    assert told.keys() == places.keys()
    assert told["fast"] == {"id": "fast", "description": "the quick one", "default": "true"}
    assert told["cheap"] == {"id": "cheap"}
    assert told["web"] == {"id": "web", "description": "somebody else's", "read-only": "true"}


def test_details_of_the_stores(user, places):
    """Asks for the details of all stores at once, which administrators may."""
    told = user.stores(detail=True)
    assert told.keys() == places.keys()
    for store, place in places.items():
        assert told[store]["type"] == place.kind
        assert told[store]["properties"] == place.properties()
    assert (told["fast"]["weight"], told["cheap"]["weight"]) == (7, 0)
    user.as_role("member").ask("GET", "info/stores/detail", 403)


@contextlib.contextmanager
def mounted(path, size):
    """Mount a tmpfs of some bytes."""
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "store_lib-test", path], check=True)
    try:
        yield path
    finally:
        while os.path.ismount(path):
            subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture(scope="module")
def poor(make_glance, tmp_path_factory):
    """Return a Glance with a good store, a small one, one that will be protected, and one that is broken at start."""
    folder = tmp_path_factory.mktemp("poor")
    (folder / "blocker").touch()
    with mounted(folder / "small", 8 * MIB) as small, mounted(folder / "protected", 8 * MIB) as protected:
        quick = {"probe_interval": "1"}
        rows = [
            kinds.FilePlace("good", folder / "good"),
            kinds.FilePlace("small", small),
            kinds.FilePlace("protected", protected, **quick),
            kinds.FilePlace("broken", folder / "blocker/images", **quick),
        ]
        glance = make_glance(folder / "glance", rows)
        yield glance
        glance.stop()


@pytest.mark.root
def test_a_store_that_is_full(poor):
    """Uploads, and imports, more than there is room for: 413, nothing is left, and what fits can be stored then."""
    user = Client(poor)
    small = {place.store: place for place in poor.places}["small"]
    large, data = support.payload(12 * MIB), support.payload(5 * MIB)
    image = user.create()
    for body in (large, support.pieces(large)):
        user.upload(image, body, "small", status=413)
        assert user.show(image)["status"] == "queued"
        assert small.objects() == set()
    user.upload(image, data, "small")
    user.check(image, data, ["small"])
    second = user.add(large, "good")
    user.import_image(second, "copy-image", stores=["small"], all_stores_must_succeed=False, failed=["small"])
    user.check(second, large, ["good"])
    assert small.objects() == {image}
    user.delete(image)
    user.delete(second)


def mount_again(place, how):
    """Change the mount of a store."""
    subprocess.run(["mount", "-o", f"remount,{how}", place.folder], check=True)


@pytest.mark.root
def test_a_store_that_is_write_protected(poor):
    """Protects a store: images are read, not added or deleted, whether it was so at start or not, until it ends."""
    user = Client(poor)
    place = {place.store: place for place in poor.places}["protected"]
    data = support.payload(MIB)
    image, other = user.add(data, "protected"), user.create()
    mount_again(place, "ro")
    answer = user.ask("PUT", f"images/{other}/file", None, data=data, headers=octets("protected"))
    assert answer.status_code in (410, 503)
    user.delete(image, status=403)
    user.check(image, data, ["protected"])
    poor.restart()
    user.upload(other, data, "protected", status=410)
    assert user.show(other)["status"] == "queued"
    user.delete(image, status=403)
    user.check(image, data, ["protected"])
    mount_again(place, "rw")
    support.until(lambda: _took(user, other, data, "protected"), service.PATIENCE)
    for each in (image, other):
        user.delete(each)
    assert place.objects() == set()


def octets(store):
    """Return the headers of an upload to a store."""
    return {"Content-Type": "application/octet-stream", "X-Image-Meta-Store": store}


@pytest.mark.root
def test_a_store_that_is_broken_at_start(poor):
    """Starts with a store whose directory cannot be: all others work, and it does once the directory can be."""
    user = Client(poor)
    place = {place.store: place for place in poor.places}["broken"]
    assert "broken" in user.stores(detail=True)
    data = support.payload(MIB)
    good, image = user.add(data, "good"), user.create()
    user.check(good, data, ["good"])
    user.upload(image, data, "broken", status=410)
    assert user.show(image)["status"] == "queued"
    user.import_image(good, "copy-image", stores=["broken"], all_stores_must_succeed=False, failed=["broken"])
    user.check(good, data, ["good"])
    place.folder.parent.unlink()
    place.folder.mkdir(parents=True)
    support.until(lambda: _took(user, image, data, "broken"), service.PATIENCE)
    user.check(image, data, ["broken"])
    for each in (good, image):
        user.delete(each)
    assert place.objects() == set()


def test_a_swift_that_is_down_at_start(make_glance, tmp_path, places):
    """Starts without Keystone: images fail at once and are not left importing, and all is well once it answers."""
    place = copy.copy(places["container"])
    section = place.section()
    address = urllib.parse.urlsplit(section["swift_store_auth_address"])
    with Relay(address.port) as relay:
        relay.set(refuse=True)
        behind = f"http://127.0.0.1:{relay.port}{address.path}"
        place._section = {**section, "swift_store_auth_address": behind, "probe_interval": "1"}
        glance = make_glance(tmp_path / "glance", [kinds.FilePlace("good", tmp_path / "good"), place])
        try:
            user, data = Client(glance), support.payload(MIB)
            good, image = user.add(data, "good"), user.create()
            user.upload(image, data, place.store, status=410)
            assert user.show(image)["status"] == "queued"
            user.import_image(
                good, "copy-image", stores=[place.store], all_stores_must_succeed=False, failed=[place.store]
            )
            user.check(good, data, ["good"])
            relay.set(refuse=False)
            support.until(lambda: _took(user, image, data, place.store), service.PATIENCE)
            user.check(image, data, [place.store])
            for each in (good, image):
                user.delete(each)
            assert not place.holds(image)
        finally:
            glance.stop()


def _took(user, image, data, store):
    """Return whether the store took the image."""
    answer = user.ask("PUT", f"images/{image}/file", None, data=data, headers=octets(store))
    assert answer.status_code in (204, 410), answer.text
    return answer.status_code == 204
