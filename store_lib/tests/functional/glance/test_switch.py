"""The same configuration file and the same database under glance_store 5.7.0 and store_lib, in turn."""

import pytest

from store_lib.tests import support
from store_lib.tests.functional.glance import places as kinds
from store_lib.tests.functional.glance.client import Client

MIB = support.MIB
pytestmark = pytest.mark.timeout(600)  # several starts


class Turns:
    """A Glance that runs on one library and then on another one, on the same folder."""

    def __init__(self, glance):
        self.glance = glance
        self.user = Client(glance)
        self._config = glance.config.read_bytes()

    def run_on(self, library, **changes):
        """Stop Glance and start it on another library, with the very same configuration unless `changes` are told."""
        self.glance.stop()
        self.glance.library = library
        for name, value in changes.items():
            setattr(self.glance, name, value)
        self.glance.start()
        assert changes or self.glance.config.read_bytes() == self._config


@pytest.fixture
def two(make_glance, tmp_path, web):
    """Return a Glance that begins on glance_store, with two directories and a web store."""
    rows = [kinds.FilePlace("fast", tmp_path / "fast"), kinds.FilePlace("cheap", tmp_path / "cheap")]
    glance = make_glance(tmp_path / "glance", [*rows, kinds.HttpPlace("web", web)], on="glance_store")
    yield Turns(glance)
    glance.stop()


def test_there_and_back(two, web):
    """Images of every kind made on one library are the same on the other one, which changes and deletes them."""
    user, glance = two.user, two.glance
    fast, cheap, _ = glance.places
    library = "store_lib"
    for number, other in enumerate(["glance_store", library]):
        data = support.payload(3 * MIB + 7, seed=number)
        one = user.add(data, "fast")
        both = user.add(support.pieces(data), "cheap")
        user.import_image(both, "copy-image", stores=["fast"])
        empty = user.add(b"", "cheap")
        remote = user.create()
        user.add_location(remote, web.put("/remote.img", data))
        user.settled(remote)
        staged = user.create()
        user.stage(staged, data)
        images = (one, both, empty, remote)
        before = {image: user.show(image) for image in (*images, staged)}
        places = {image: user.locations(image) for image in images}

        two.run_on(library if other == "glance_store" else "glance_store")
        for image, shown in before.items():
            assert user.show(image) == shown
        for image in images:
            assert user.locations(image) == places[image]
            assert user.download(image) == (b"" if image == empty else data)
        user.import_image(staged, "glance-direct", stores=["fast", "cheap"])
        user.check(staged, data, ["fast", "cheap"])
        user.import_image(one, "copy-image", stores=["cheap"])
        user.check(one, data, ["fast", "cheap"])
        user.delete_from("cheap", both)
        user.check(both, data, ["fast"])
        for image in (*images, staged):
            user.delete(image)
        assert fast.objects() == cheap.objects() == set(support.names(glance.staging)) == set()


@pytest.fixture
def single(make_glance, tmp_path):
    """Return a Glance that begins on glance_store, configured the old way, with one directory."""
    glance = make_glance(
        tmp_path / "glance", [kinds.FilePlace("fast", tmp_path / "fast")], on="glance_store", single=True
    )
    yield Turns(glance)
    glance.stop()


def test_a_single_store_and_then_several(single, web):
    """Goes from glance_store to store_lib with one store, and from there to several stores with the same images."""
    user, (fast,) = single.user, single.glance.places
    data = support.payload(2 * MIB + 1)
    old = user.add(data)
    staged = user.create()
    user.stage(staged, data)

    single.run_on("store_lib")
    user.check(old, data)
    assert user.download(old, 206, {"Range": "bytes=5-99"}) == data[5:100]
    new = user.add(support.pieces(data))
    user.check(new, data)
    user.import_image(staged, "glance-direct")
    user.check(staged, data)
    downloaded = user.create()
    user.import_image(downloaded, {"name": "web-download", "uri": web.put("/one.img", data)})
    remote = user.create()
    user.add_location(remote, web.put("/remote.img", data))
    user.settled(remote)
    for image in (downloaded, remote):
        user.check(image, data)
        user.delete(image)
    user.upload(user.create(), support.pieces(data), status=204)
    assert {location["url"] for location in user.locations(new)} == {fast.url(new)}
    assert user.locations(new)[0]["metadata"] == {}

    single.run_on("glance_store")
    for image in (old, new, staged):
        user.check(image, data)

    single.run_on("store_lib", single=False)
    for image in (old, new, staged):
        user.check(image, data, ["fast"])
        user.delete(image)
        assert not fast.holds(image)


@pytest.fixture
def served(make_glance, tmp_path, places):
    """Return a Glance that begins on glance_store, with stores on real servers."""
    rows = [places["ceph"], places["container"]]
    glance = make_glance(tmp_path / "glance", rows, on="glance_store")
    yield Turns(glance)
    glance.stop()


def test_there_and_back_on_servers(served):
    """Images on Ceph and Swift that one library has made are the same on the other one, which deletes them."""
    user, rows = served.user, served.glance.places
    for number, other in enumerate(["store_lib", "glance_store"]):
        data = support.payload(5 * MIB + 7, seed=number)
        images = {user.add(body, place.store): place for place in rows for body in (data, support.pieces(data))}
        before = {image: (user.show(image), user.locations(image)) for image in images}

        served.run_on(other)
        for image, place in images.items():
            assert (user.show(image), user.locations(image)) == before[image]
            user.check(image, data, [place.store])
            user.delete(image)
            assert not place.holds(image)
