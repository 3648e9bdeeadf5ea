"""Digests of stored images."""

import hashlib
import threading

import pytest

from store_lib import errors
from store_lib.interface import MIB, Limits
from store_lib.runtime import Clock
from store_lib.tests import fakes
from store_lib.tests.support import payload
from store_lib.tests.unit.transfer.images import AHEAD, DATA, SERIAL, URI
from store_lib.transfer.hashing import hash_image


@pytest.fixture
def store(make_filled):
    return make_filled(fakes.fake(AHEAD))


@pytest.mark.parametrize("names", [["md5"], ["md5", "sha256", "sha512"], ["SHA1"], []])
def test_all_digests_in_one_pass(store, names):
    found = store.hash(URI, names)
    assert found == {name.lower(): hashlib.new(name, DATA).hexdigest() for name in names}
    assert store._driver.script.count("open") == 1


@pytest.mark.parametrize("size", [0, 1, 4 * MIB, 4 * MIB + 1, 9 * MIB])
def test_images_of_any_size(make_store, size):
    store = make_store(fakes.fake(Limits(part_size=MIB, ranges=True)))
    store.add("image", payload(size))
    assert store.hash(URI, ["sha256"]) == {"sha256": hashlib.sha256(payload(size)).hexdigest()}


def test_holes_are_hashed_without_reading_them(make_store):
    driver = fakes.fake(Limits(part_size=1000, sparse=100, thin=True, ranges=True))
    store = make_store(driver)
    data = payload(500) + bytes(50_000) + payload(500)
    store.add("image", data)
    assert store.hash(URI, ["md5"]) == {"md5": hashlib.md5(data).hexdigest()}
    assert sum(call.detail["offset"] == 0 for call in driver.script.of("read")) == 1
    assert len(driver.script.of("read")) == 2, "once before the hole and once behind it"


def test_what_is_read_can_be_written_elsewhere_in_the_same_pass(make_store):
    driver = fakes.fake(Limits(part_size=1000, sparse=100, thin=True, ranges=True))
    store = make_store(driver)
    data = payload(500) + bytes(50_000) + payload(500)
    store.add("image", data)
    copy = bytearray(b"?" * len(data))
    holes = []

    def write(piece, offset, hole):
        assert threading.current_thread() is threading.main_thread()
        copy[offset : offset + len(piece)] = piece
        if hole:
            holes.append((offset, len(piece)))

    with store.open(URI) as reader:
        hash_image(reader, ["md5"], store._runtime, write=write)
    assert copy == data
    assert holes == [(500, 50_000)]


def test_an_error_while_writing_elsewhere_passes_unchanged(store):
    error = OSError(28, "full")

    def write(piece, offset, hole):
        raise error

    with store.open(URI) as reader, pytest.raises(OSError, match="full") as raised:
        hash_image(reader, ["md5"], store._runtime, write=write)
    assert raised.value is error


def test_verify(store):
    good = hashlib.sha256(DATA).hexdigest()
    store.verify(URI, f"sha256:{good}")
    store.verify(URI, f"SHA256:{good.upper()}")
    with pytest.raises(errors.DigestMismatch, match=good) as raised:
        store.verify(URI, f"sha256:{good[::-1]}")
    assert (raised.value.store, raised.value.operation, raised.value.location) == ("it", "verify", URI)


@pytest.mark.parametrize("digest", ["", "sha256", "sha256:", "sha256:00", "md5:" + "x" * 32, "nope:" + "0" * 32, ":00"])
def test_what_is_no_digest(store, digest):
    with pytest.raises(errors.UnknownDigest):
        store.verify(URI, digest)


@pytest.mark.timeout(60)
def test_many_at_once_do_not_wait_for_each_others_memory(make_filled):
    store = make_filled(fakes.fake(AHEAD), memory_limit=MIB, max_threads=2, threads=2)
    good = hashlib.md5(DATA).hexdigest()
    found = []
    threads = [threading.Thread(target=lambda: found.append(store.hash(URI, ["md5"]))) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [{"md5": good}] * 32


def test_the_bandwidth_is_counted_once(make_filled, monkeypatch):
    """Watches what the store's limit is told: each byte of the image, and none a second time."""
    store = make_filled(fakes.fake(AHEAD), bandwidth_limit=10**9, clock=Clock())
    taken = []
    monkeypatch.setattr(store._runtime.bandwidth, "take", lambda size, check: taken.append(size))
    store.hash(URI, ["md5"])
    assert sum(taken) == len(DATA)


def test_cancel_and_progress(make_filled):
    store = make_filled(fakes.fake(SERIAL))
    told = []
    store.hash(URI, ["md5"], progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(DATA), len(DATA))
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.Cancelled):
        store.hash(URI, ["md5"], cancel=cancel)
