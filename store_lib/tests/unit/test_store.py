"""The facade: features, names in errors, listing, access lists, and life after a fork."""

import datetime
import hashlib
import io
import logging
import os
import threading
from typing import Any

import pytest

from store_lib import Deletion, Location, errors
from store_lib.interface import Feature, Limits
from store_lib.tests import fakes
from store_lib.tests.support import content, in_child, payload

URI = "memory://it/image"


def test_what_a_store_tells_of_itself(make_store):
    store = make_store(weight=7, store_description="Fast and small", memory_store_size=1000)
    assert (store.id, store.type, store.weight, store.description) == ("it", "fake", 7, "Fast and small")
    assert store.schemes == ("memory",)
    assert store.prefix() == "memory://it/"
    assert not store.read_only
    assert store.options()["memory_store_size"] == {"value": 1000, "origin": "the store's group"}
    assert store.options()["operation_timeout"]["origin"] == "the driver's default"
    assert isinstance(store.describe(), dict)
    assert "it" in repr(store)


def test_add_returns_everything_worth_keeping(make_store):
    before = datetime.datetime.now(datetime.UTC)
    record = make_store().add("image", io.BytesIO(b"abc"), 3)
    assert record.id == "image"
    assert record.location == Location(URI, "it")
    assert record.size == 3
    assert record.digests == {"md5": hashlib.md5(b"abc").hexdigest(), "sha512": hashlib.sha512(b"abc").hexdigest()}
    assert record.verified_by == "size"
    assert record.backend_checksum is None
    assert before <= record.written_at <= datetime.datetime.now(datetime.UTC)
    assert 0 <= record.seconds < 5


@pytest.mark.parametrize(
    ("option", "asked", "found"), [("sha1", None, ["sha1"]), ("sha1", ["md5"], ["md5"]), ("", None, [])]
)
def test_the_digests_of_the_store_or_of_the_caller(make_store, option, asked, found):
    assert list(make_store(digests=option).add("image", b"x", digests=asked).digests) == found


def test_a_bad_image_id_is_refused_before_any_question(make_store):
    driver = fakes.fake()
    store = make_store(driver)
    for image_id in ("", "../x", "a/b", ".hidden", "x" * 256, None):
        with pytest.raises(errors.BadImageId):
            store.add(image_id, b"x")
    assert driver.script.calls == []


# -- features ---------------------------------------------------------------------------------------------------------


USES = {
    "write": lambda store: store.add("other", b"x"),
    "delete": lambda store: store.delete(URI),
    "ranges": lambda store: store.open(URI, 1),
    "list": lambda store: list(store.list()),
    "capacity": lambda store: store.capacity(),
    "leftovers": lambda store: list(store.leftovers()),
}


@pytest.mark.parametrize("name", USES)
def test_a_feature_that_is_switched_off_is_refused_by_name(make_store, name):
    driver = fakes.fake()
    store = make_store(driver, disabled_features=name)
    if name != "write":
        store.add("image", b"abc")
    driver.script.calls.clear()
    with pytest.raises(errors.NotSupported, match=f"'{name}'") as raised:
        USES[name](store)
    assert raised.value.store == "it"
    assert driver.script.calls == []
    assert Feature[name.upper()] not in store.features


@pytest.mark.parametrize("name", USES)
def test_a_feature_that_the_driver_has_not(make_store, name):
    flag = Feature[name.upper()]
    store = make_store(fakes.fake(FEATURES=~flag))
    with pytest.raises(errors.NotSupported):
        USES[name](store)


def test_a_read_only_store_is_read(make_stores):
    driver = fakes.fake()
    text = "[DEFAULT]\nenabled_backends = it:fake\n[it]\n"
    writable = make_stores(text, drivers={"fake": driver})["it"]
    writable.add("image", b"abc")
    state = writable._driver._state.get()
    store = make_stores(text + "read_only = true\n", drivers={"fake": driver})["it"]
    store._driver._state._values.append(state)
    assert store.read_only
    assert content(store, URI) == b"abc"
    assert len(list(store.list())) == 1
    for change in (USES["write"], USES["delete"], lambda store: store.sweep()):
        with pytest.raises(errors.ReadOnlyStore, match="the operator"):
            change(store)


# -- locations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use", ["open", "stat", "delete", "hash", "verify"])
@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("memory://other/image", errors.ForeignLocation),
        ("file:///image", errors.ForeignLocation),
        (Location(URI, "other"), errors.ForeignLocation),
        ("memory://it/../image", errors.BadLocation),
        ("nonsense", errors.BadLocation),
        ("memory://it/nope", errors.NotFound),
    ],
)
def test_a_location_that_is_not_here(make_store, use, location, error):
    store = make_store()
    store.add("image", b"abc")
    more: dict[str, list[Any]] = {"hash": [["md5"]], "verify": ["md5:" + "0" * 32]}
    with pytest.raises(error) as raised:
        getattr(store, use)(location, *more.get(use, []))
    assert raised.value.store == "it"
    assert raised.value.location == Location.of(location).redacted
    assert content(store, URI) == b"abc"


def test_a_location_with_a_secret_is_named_without_it(make_store):
    with pytest.raises(errors.ForeignLocation) as raised:
        make_store().stat("swift+https://user:hunter2@host/container/object")
    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in repr(vars(raised.value))


def test_owns(make_store):
    store = make_store()
    assert store.owns(URI)
    assert store.owns(Location(URI, "whatever"))
    assert not store.owns("memory://other/image")
    assert not store.owns("nonsense")


# -- delete, stat, list -----------------------------------------------------------------------------------------------


def test_delete(make_store, logged):
    store = make_store()
    store.add("image", b"abc")
    assert store.delete(URI) is Deletion.DELETED
    with pytest.raises(errors.NotFound):
        store.delete(URI)
    assert store.delete(URI, missing_ok=True) is None
    assert any("deleted memory://it/image" in text for text in logged(logging.INFO))


def test_a_delete_whose_answer_was_lost_is_a_success(make_store):
    driver = fakes.fake()
    driver.script.fail("delete", fakes.lost, 1, after=True)
    store = make_store(driver)
    store.add("image", b"abc")
    assert store.delete(URI) is Deletion.DELETED
    assert driver.script.count("delete") == 2


def test_a_delete_that_was_not_done_and_finds_nothing_then_says_so(make_store):
    driver = fakes.fake()
    driver.script.fail("delete", fakes.passing, 1)
    with pytest.raises(errors.NotFound):
        make_store(driver).delete(URI)


@pytest.mark.parametrize("error", [errors.InUse("cloned"), errors.Forbidden("no")])
def test_what_cannot_be_deleted_stays(make_store, error):
    driver = fakes.fake()
    driver.script.fail("delete", error)
    store = make_store(driver)
    store.add("image", b"abc")
    with pytest.raises(type(error)) as raised:
        store.delete(URI)
    assert raised.value.location == URI
    assert content(store, URI) == b"abc"


@pytest.mark.parametrize("verb", ["stat", "delete", "capacity"])
def test_verbs_are_tried_again(make_store, verb):
    driver = fakes.fake()
    store = make_store(driver)
    store.add("image", b"abc")
    before = driver.script.count(verb)  # a probe asks for the capacity, too
    driver.script.fail(verb, fakes.passing, before + 1, before + 2)
    if verb == "capacity":
        store.capacity()
    else:
        getattr(store, verb)(URI)
    assert driver.script.count(verb) == before + 3


@pytest.mark.parametrize("verb", ["stat", "delete", "capacity", "list"])
def test_errors_of_the_client_are_translated_and_bugs_are_not(make_store, verb):
    driver = fakes.fake(ERRORS=((OSError, errors.BackendError),))
    store = make_store(driver)
    store.add("image", b"abc")
    before = driver.script.count(verb)
    driver.script.fail(verb, OSError("disk"), before + 1)
    driver.script.fail(verb, TypeError("bug"), before + 2)

    def use():
        if verb == "capacity":
            store.capacity()
        elif verb == "list":
            list(store.list())
        else:
            getattr(store, verb)(URI)

    with pytest.raises(errors.BackendError, match="disk") as raised:
        use()
    assert (raised.value.store, raised.value.operation) == ("it", verb)
    with pytest.raises(TypeError, match="bug"):
        use()


def test_a_verb_that_hangs_is_given_up(make_store, monkeypatch):
    monkeypatch.setattr("store_lib.runtime.GRACE", 0.05)
    driver = fakes.fake()
    gate = driver.script.block("stat", 1)
    store = make_store(driver, operation_timeout=0.2, retry_attempts=2)
    store.add("image", b"abc")
    assert store.stat(URI).size == 3, "the second try"
    gate.open()


def test_listing(make_store):
    store = make_store()
    for number in range(5):
        store.add(f"image-{number}", payload(number))
    found = sorted(store.list(), key=lambda image: image.id)
    assert [image.id for image in found] == [f"image-{number}" for number in range(5)]
    assert [image.size for image in found] == list(range(5))
    assert all(content(store, image.location) == payload(image.size) for image in found)


def test_the_callers_context_reaches_the_driver(make_store):
    driver = fakes.fake()
    store = make_store(driver)
    store.add("image", b"abc")
    token = object()
    store.open(URI, context=token).close()
    assert driver.script.of("open")[-1].detail["ctx"].caller is token


# -- forks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("used", [False, True])
def test_a_store_works_in_a_child(make_store, used):
    driver = fakes.fake(Limits(part_size=1000, parallel=3, ranges=True))
    store = make_store(driver, operation_timeout=20)
    data = payload(20_000)
    if used:
        store.add("image", data)
        assert content(store, URI) == data

    def child():
        before = len(list(store.list()))
        record = store.add("other", data)
        same = content(store, record.location) == data
        return [before, same, store.stat(record.location).size, store.close(5)]

    assert in_child(child) == [0, True, 20_000, []]
    assert sorted(image.id for image in store.list()) == (["image"] if used else [])
    store.add("after", data)


@pytest.mark.timeout(60)
def test_forks_while_transfers_run_neither_hang_nor_harm(make_store):
    store = make_store(fakes.fake(Limits(part_size=1000, parallel=3, ranges=True)), operation_timeout=20)
    data = payload(30_000)
    stop, failures = threading.Event(), []

    def work(number):
        count = 0
        while not stop.is_set():
            try:
                record = store.add(f"image-{number}-{count}", data)
                assert content(store, record.location) == data
                store.delete(record.location)
            except BaseException as error:
                failures.append(error)
                return
            count += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert in_child(lambda: store.add("child", data).size) == 30_000
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_an_upload_of_the_parent_is_not_ended_by_its_child(make_store):
    store = make_store()

    def source():
        yield payload(3000)
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
        yield payload(3000)

    assert content(store, store.add("image", source()).location) == payload(3000) * 2


# -- access lists -----------------------------------------------------------------------------------------------------


def test_access_lists_reach_the_driver(make_store):
    told = []

    class Granting(fakes.FakeDriver):
        FEATURES = fakes.FakeDriver.FEATURES | Feature.ACLS

        def set_acls(self, address, public, read_tenants, write_tenants, ctx):
            told.append((address.image_id, public, read_tenants, write_tenants, ctx.caller))

    store = make_store(fakes.fake(base=Granting))
    store.add("one", b"x")
    store.set_acls("memory://it/one", read_tenants=["a", "b"], context="whose")
    store.set_acls("memory://it/one", public=True, write_tenants=iter(["c"]))
    assert told == [("one", False, ("a", "b"), (), "whose"), ("one", True, (), ("c",), None)]


def test_a_store_without_access_lists_says_so(make_store):
    with pytest.raises(errors.NotSupported, match="'acls'"):
        make_store().set_acls("memory://it/one", public=True)
