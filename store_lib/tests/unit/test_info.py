"""What a store tells of itself, and the verbs that only some stores have."""

import json

import pytest
from oslo_config import cfg

from store_lib import errors
from store_lib.drivers.memory import MemoryDriver
from store_lib.interface import Capacity, Feature, Status
from store_lib.tests import fakes


def telling(**attributes):
    """Return a driver that tells all there is to tell."""
    options = [*MemoryDriver.OPTIONS, cfg.StrOpt("fake_password", secret=True)]
    return fakes.fake(
        OPTIONS=options,
        FEATURES=MemoryDriver.FEATURES | Feature.SIGNED_URLS,
        describe=lambda self: {"pool": "images"},
        backend_id=lambda self: "cluster-1",
        signed_url=lambda self, address, seconds, ctx: f"https://x/{address.image_id}?s={seconds}&c={ctx.caller}",
        initialise=lambda self, ctx: "the marker was made",
        **attributes,
    )


def test_everything_about_a_store(make_store):
    store = make_store(
        telling(),
        fake_password="hidden",
        weight=3,
        store_description="the fast one",
        disabled_features="list",
        memory_store_size=1000,
    )
    info = store.info()
    assert (info.id, info.type, info.description, info.weight) == ("it", "fake", "the fast one", 3)
    assert (info.default, info.read_only) == (True, False)
    assert info.schemes == ("memory",)
    assert info.prefix == "memory://it/"
    assert Feature.WRITE in info.features
    assert Feature.LIST not in info.features
    assert info.limits == store.limits
    assert info.properties == {"pool": "images"}
    assert info.backend == "cluster-1"
    assert info.settings["weight"] == {"value": 3, "origin": "the store's group"}
    assert info.settings["retry_attempts"]["origin"] == "the option's default"
    assert info.health.status is Status.UNKNOWN
    assert info.capacity is None
    assert store.info(capacity=True).capacity == Capacity(1000, 1000, 0)


def test_it_is_json_without_secrets(make_store):
    store = make_store(telling(), fake_password="hidden", memory_store_size=1000)
    text = json.dumps(store.info(capacity=True).to_dict())
    told = json.loads(text)
    assert "hidden" not in text
    assert told["settings"]["fake_password"]["value"] == "***"
    assert "write" in told["features"]
    assert told["limits"]["parallel"] == 2
    assert told["capacity"] == {"total": 1000, "free": 1000, "used": 0}
    assert "capacity" not in store.info().to_dict()


def test_it_asks_nobody_unless_the_room_is_wanted(make_store):
    driver = telling()
    make_store(driver).info()
    assert driver.script.calls == []


def test_a_room_or_a_backend_that_cannot_be_told_is_none(make_store):
    driver = fakes.fake(ERRORS=((OSError, errors.BackendError),))
    driver.backend_id = lambda self: (_ for _ in ()).throw(OSError("gone"))
    driver.script.fail("capacity", errors.Forbidden("no"))
    info = make_store(driver).info(capacity=True)
    assert (info.backend, info.capacity) == (None, None)


def test_one_store_is_the_default(make_stores):
    stores = make_stores("[DEFAULT]\nenabled_backends = a:memory, b:memory\n[glance_store]\ndefault_backend = b\n")
    assert [store.info().default for store in stores.values()] == [False, True]


# -- signed URLs ------------------------------------------------------------------------------------------------------


def test_a_url_for_a_while(make_store):
    store = make_store(telling())
    place = store.add("one", b"x").location
    assert store.url(place, 60, context="me") == "https://x/one?s=60&c=me"


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_url_for_no_time_is_refused(make_store, seconds):
    with pytest.raises(errors.BadRequest, match="seconds"):
        make_store(telling()).url("memory://it/one", seconds)


def test_a_url_where_the_storage_signs_none(make_store):
    store = make_store(fakes.fake(FEATURES=MemoryDriver.FEATURES & ~Feature.SIGNED_URLS))
    with pytest.raises(errors.NotSupported, match="signed_urls"):
        store.url("memory://it/one", 60)


# -- preparing the place ----------------------------------------------------------------------------------------------


def test_a_place_is_prepared(make_store):
    assert make_store(telling()).initialise() == "the marker was made"


def test_a_place_that_needs_no_preparation_or_must_not_be_changed(make_store):
    with pytest.raises(errors.NotSupported, match="no preparation"):
        make_store(fakes.fake()).initialise()
    with pytest.raises(errors.ReadOnlyStore):
        make_store(telling(), read_only=True).initialise()


# -- listings ---------------------------------------------------------------------------------------------------------


def test_a_listing_that_fails_at_its_first_page_is_asked_for_again(make_store):
    driver = fakes.fake()
    store = make_store(driver)
    store.add("one", b"x")
    driver.script.fail("list", fakes.passing, 1, 2)
    assert [each.id for each in store.list()] == ["one"]
    assert driver.script.count("list") == 3


def test_a_listing_that_fails_later_is_not(make_store):
    """Gives no image twice: what was given out cannot be taken back."""

    def broken(self, ctx):
        yield from MemoryDriver.list(self, ctx)
        raise errors.StoreUnavailable("the second page")

    store = make_store(fakes.fake(list=broken))
    store.add("one", b"x")
    found = []
    with pytest.raises(errors.StoreUnavailable, match="second page") as raised:
        found += store.list()
    listing = store.list()
    seen: list[str] = []
    with pytest.raises(errors.StoreUnavailable):
        seen.extend(each.id for each in listing)
    assert seen == ["one"]
    assert raised.value.operation == "list"


def test_leftovers_are_asked_for_again(make_store):
    tries = []

    def leftovers(self, ctx):
        tries.append(1)
        if len(tries) < 3:
            raise errors.StoreUnavailable("busy")
        yield from MemoryDriver.leftovers(self, ctx)

    store = make_store(fakes.fake(leftovers=leftovers))
    assert [*store.leftovers()] == []
    assert len(tries) == 3
