"""Locations that users and services add, and what is shown of them."""

import hashlib

import pytest

from store_lib.tests import support

MIB = support.MIB


@pytest.fixture
def member(user):
    """Return an ordinary user."""
    return user.as_role("member")


def digests(data):
    """Return the validation data of bytes."""
    return {"os_hash_algo": "sha512", "os_hash_value": hashlib.sha512(data).hexdigest()}


def test_a_web_address_with_validation_data(user, member, web):
    """Adds an address and says what its bytes must be: the image becomes active, whole and readable in parts."""
    data = support.payload(3 * MIB + 11)
    url = web.put("/valid.img", data)
    image = member.create()
    member.add_location(image, url, validation_data=digests(data))
    user.settled(image)
    user.check(image, data, ["web"])
    assert user.locations(image) == [{"url": url, "metadata": {"store": "web"}}]
    member.delete(image)
    assert web.files["/valid.img"] == data


def test_ranges_of_a_web_address(user, member, web):
    """Reads parts of an image at a web address, as from any other store."""
    data = support.payload(2 * MIB)
    image = member.create()
    member.add_location(image, web.put("/ranges.img", data))
    user.settled(image)
    assert user.download(image, 206, {"Range": "bytes=1000-1999"}) == data[1000:2000]
    assert user.download(image, 206, {"Range": f"bytes={MIB}-"}) == data[MIB:]
    member.delete(image)


def test_validation_data_that_does_not_match(user, member, web):
    """Says that the bytes must be others: the image is queued and has no digests."""
    image = member.create()
    url = web.put("/other.img", support.payload(MIB))
    member.add_location(image, url, validation_data=digests(b"something else"))
    shown = user.settled(image, "queued")
    assert (shown["checksum"], shown["os_hash_value"]) == (None, None)
    member.delete(image)


def test_addresses_that_are_refused(user, member, web, places):
    """Adds what is not there, files of the machine, an unknown scheme and a machine that may not be asked."""
    image = member.create()
    there = web.put("/there.img", b"x")
    member.add_location(image, there.replace("there", "missing"))
    user.settled(image, "queued")
    member.add_location(image, "http://127.0.0.2/there.img", status=400)
    secret = places["fast"].folder / "secret"
    secret.write_bytes(b"secret")
    service = user.as_role("service")
    for url in (f"file://{secret}", f"filesystem://{secret}", "file:///etc/passwd", "gopher://127.0.0.1/x"):
        member.add_location(image, url, status=403)
        service.add_location(image, url)
        assert user.settled(image, "queued")["locations"] == []
    member.delete(image)
    assert secret.read_bytes() == b"secret"
    secret.unlink()


def test_locations_in_the_record(user, member, web):
    """Adds and takes away locations in the image's record, as Glance offers it to those who may see them."""
    data = support.payload(MIB)
    image = user.add(data, "fast")
    url = web.put("/second.img", data)
    headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}

    def patch(status, *operations):
        return user.ask("PATCH", f"images/{image}", status, json=operations, headers=headers)

    value = {"url": url, "metadata": {}}
    patch(200, {"op": "add", "path": "/locations/-", "value": value})
    user.check(image, data, ["fast", "web"])
    patch(400, {"op": "add", "path": "/locations/-", "value": {"url": "file:///etc/passwd", "metadata": {}}})
    missing = {"url": url.replace("second", "missing"), "metadata": {"store": "web"}}
    patch(400, {"op": "add", "path": "/locations/-", "value": missing})
    patch(200, {"op": "remove", "path": "/locations/1"})
    user.check(image, data, ["fast"])
    user.delete(image)


def test_locations_of_stored_images(user, store, places):
    """Shows the locations of an image to services only, in the form that the store's kind has."""
    data = support.payload(1000)
    image = user.add(data, store)
    (location,) = user.locations(image)
    assert location == {"url": places[store].url(image), "metadata": {"store": store}}
    user.as_role("member").ask("GET", f"images/{image}/locations", 404)
    user.delete(image)
