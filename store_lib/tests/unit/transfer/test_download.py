"""Reading images: ranges, errors, resuming, closing."""

import gc
import hashlib
import io
import threading
import time

import hypothesis
import pytest
from hypothesis import strategies as st

from store_lib import errors
from store_lib.interface import Limits
from store_lib.runtime import Clock
from store_lib.tests import fakes
from store_lib.tests.support import payload, until
from store_lib.tests.unit.transfer.images import AHEAD, DATA, PART, SERIAL, URI


@pytest.fixture(params=[SERIAL, AHEAD], ids=["serial", "ahead"])
def driver(request):
    return fakes.fake(request.param)


@pytest.fixture
def store(make_filled, driver):
    return make_filled(driver)


# -- what is read -----------------------------------------------------------------------------------------------------


def test_an_image_is_read_whole(store):
    with store.open(URI) as reader:
        assert reader.length == len(DATA)
        assert reader.info.size == len(DATA)
        assert reader.read() == DATA
        assert reader.read() == b""


def test_an_image_is_an_iterator_of_chunks(store):
    with store.open(URI) as reader:
        chunks = list(reader)
    assert b"".join(chunks) == DATA
    assert all(chunks)
    assert all(type(chunk) is bytes for chunk in chunks)


@pytest.mark.parametrize("size", [1, 7, 999, 1000, 1001, 5000, 10**6])
def test_a_read_is_as_long_as_asked_for(store, size):
    with store.open(URI) as reader:
        found = []
        while chunk := reader.read(size):
            found.append(chunk)
    assert b"".join(found) == DATA
    assert all(len(chunk) == size for chunk in found[:-1])


def test_it_is_a_file(store):
    with store.open(URI) as reader, io.BufferedReader(reader, 333) as file:
        assert reader.readable()
        assert not reader.writable()
        assert file.read(10) == DATA[:10]
        assert file.seek(5000) == 5000
        assert file.read(3) == DATA[5000:5003]
    with store.open(URI) as reader:
        assert hashlib.file_digest(reader, "sha256").hexdigest() == hashlib.sha256(DATA).hexdigest()


@hypothesis.settings(max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(offset=st.integers(0, len(DATA)), length=st.none() | st.integers(0, len(DATA)))
def test_ranges(store, offset, length):
    if length is not None and offset + length > len(DATA):
        with pytest.raises(errors.BadRange):
            store.open(URI, offset, length)
        return
    with store.open(URI, offset, length) as reader:
        end = len(DATA) if length is None else offset + length
        assert reader.length == end - offset
        assert reader.read() == DATA[offset:end]


@hypothesis.settings(max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    start=st.integers(0, 3000),
    steps=st.lists(st.tuples(st.sampled_from(["seek", "end", "skip", "read"]), st.integers(0, 9000)), max_size=6),
)
def test_seeking_and_telling_count_from_the_start_of_the_range(store, start, steps):
    length = 15 * PART
    same = io.BytesIO(DATA[start : start + length])
    with store.open(URI, start, length) as reader:
        for what, number in steps:
            if what == "read":
                assert reader.read(number) == same.read(number)
            elif what == "seek":
                assert reader.seek(number) == same.seek(number)
            elif what == "end":
                assert reader.seek(-number, io.SEEK_END) == same.seek(-number, io.SEEK_END)
            else:
                target = min(number, length - same.tell())
                assert reader.seek(target, io.SEEK_CUR) == same.seek(target, io.SEEK_CUR)
            assert reader.tell() == same.tell()
        assert reader.read() == same.read()


def test_seeking_beyond_the_ends(store):
    with store.open(URI, 100, 50) as reader:
        with pytest.raises(ValueError, match="negative"):
            reader.seek(-1)
        assert reader.seek(1000) == 50
        assert reader.read() == b""


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (0, -1), ("1", None), (0, 1.5)])
def test_a_range_is_made_of_numbers(store, driver, offset, length):
    driver.script.calls.clear()
    with pytest.raises(errors.BadRange):
        store.open(URI, offset, length)
    assert driver.script.calls == []


def test_holes_are_told_from_the_start_of_the_range(make_store):
    store = make_store(fakes.fake(Limits(part_size=PART, sparse=100, thin=True, ranges=True)))
    store.add("image", payload(1500) + bytes(3000) + payload(1500))
    with store.open(URI, 1000, 4000) as reader:
        found = [(extent.offset, extent.length, extent.hole) for extent in reader.extents()]
    assert found == [(0, 500, False), (500, 3000, True), (3500, 500, False)]


# -- errors -----------------------------------------------------------------------------------------------------------


def test_opening_tells_what_is_wrong_at_once(store):
    with pytest.raises(errors.NotFound) as raised:
        store.open("memory://it/nope")
    assert (raised.value.store, raised.value.operation, raised.value.location) == ("it", "open", "memory://it/nope")


def test_opening_is_tried_again(make_store):
    driver = fakes.fake()
    driver.script.fail("open", fakes.passing, 1, 2)
    store = make_store(driver)
    store.add("image", b"abc")
    assert store.open(URI).read() == b"abc"
    assert driver.script.count("open") == 3


@pytest.mark.parametrize("where", [0, 1, 500, 1000, 1500])
@pytest.mark.parametrize("error", [None, fakes.passing()])
def test_a_body_that_breaks_off_is_resumed_where_it_did(store, driver, where, error):
    driver.script.body(1, fakes.cut(where, error))
    with store.open(URI) as reader:
        assert reader.read() == DATA
    (offset, length), *others = [(call.detail["offset"], call.detail["length"]) for call in driver.script.of("read")]
    assert ((offset + where, length - where) in others) is (where < length)


def test_a_body_may_break_off_as_often_as_it_likes_as_long_as_it_goes_on(make_filled):
    driver = fakes.fake(SERIAL)
    for number in range(1, 30):
        driver.script.body(number, fakes.cut(100, fakes.passing()))
    store = make_filled(driver, retry_attempts=2)
    assert store.open(URI).read() == DATA


def test_an_early_end_is_never_a_normal_end(store, driver):
    for number in range(1, 100):
        driver.script.body(number, fakes.cut(0 if number > 4 else 300))
    with store.open(URI) as reader:
        with pytest.raises(errors.StoreUnavailable, match="broke off after") as raised:
            list(reader)
        assert (raised.value.store, raised.value.operation) == ("it", "read")
        with pytest.raises(errors.StoreUnavailable):
            reader.read(1000)


def test_after_an_error_reading_goes_on_where_it_was(make_filled):
    driver = fakes.fake(SERIAL)
    driver.script.body(1, fakes.cut(700, errors.BackendError("broken")))
    store = make_filled(driver)
    with store.open(URI) as reader:
        assert reader.read(500) == DATA[:500]
        with pytest.raises(errors.BackendError):
            reader.read()
        at = reader.tell()
        assert reader.read() == DATA[at:]


def test_bytes_beyond_what_was_asked_for_are_cut(store, driver):
    for number in range(1, 100):
        driver.script.body(number, fakes.longer(b"junk" * 1000))
    with store.open(URI) as reader:
        assert reader.read() == DATA
    with store.open(URI, 5, 100) as reader:
        assert reader.read() == DATA[5:105]


def test_a_store_that_reads_from_the_beginning_only_cannot_resume(make_filled):
    driver = fakes.fake(Limits(part_size=PART, parallel=4))
    driver.script.body(1, fakes.cut(1500, fakes.passing()))
    driver.script.body(3, fakes.cut(0, fakes.passing()))
    store = make_filled(driver)
    with store.open(URI) as reader:
        assert not reader.seekable()
        with pytest.raises(errors.StoreUnavailable, match="from the beginning only"):
            reader.read()
        with pytest.raises(io.UnsupportedOperation):
            reader.seek(5)
    assert driver.script.count("read") == 1
    driver.script.body(2, fakes.cut(0, fakes.passing()))
    assert store.open(URI).read() == DATA, "nothing was read yet, so it may begin again"


@pytest.mark.parametrize("limits", [SERIAL, AHEAD])
def test_errors_of_the_client_are_translated_inside_the_body_too(make_filled, limits):
    driver = fakes.fake(limits, ERRORS=((OSError, lambda error: errors.Forbidden("token expired")),))
    for number in range(1, 9):
        driver.script.body(number, fakes.cut(400, OSError("401")))
    store = make_filled(driver)
    with store.open(URI) as reader, pytest.raises(errors.Forbidden, match="token expired") as raised:
        reader.read()
    assert raised.value.location == URI
    assert isinstance(raised.value.__cause__, OSError)


def test_a_bug_in_the_body_passes_as_it_is(store, driver):
    error = TypeError("a bug")
    for number in range(1, 30):
        driver.script.body(number, fakes.cut(400, error))
    with store.open(URI) as reader, pytest.raises(TypeError) as raised:
        reader.read()
    assert raised.value is error


# -- closing ----------------------------------------------------------------------------------------------------------


def test_closing_releases_everything_once(store, driver):
    reader = store.open(URI)
    reader.read(10)
    reader.close()
    reader.close()
    assert driver.script.count("close_download") == 1
    assert store._runtime.budget.used == 0
    with pytest.raises(ValueError, match="closed"):
        reader.read(1)


def test_a_reader_that_nobody_closed_gives_its_memory_back(store):
    reader = store.open(URI)
    reader.read(10)
    del reader
    until(lambda: gc.collect() is not None and store._runtime.budget.used == 0)


def test_closing_from_another_thread_ends_a_read(make_filled):
    driver = fakes.fake(AHEAD)
    gate = driver.script.block("read", 3)
    store = make_filled(driver)
    reader = store.open(URI)
    failures = []

    def read():
        try:
            reader.read()
        except (ValueError, errors.StoreLibError) as error:
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    gate.wait()
    reader.close()
    thread.join(2)
    assert not thread.is_alive()
    assert failures
    gate.open()


def test_closing_from_another_thread_ends_the_wait_for_bandwidth(make_store):
    store = make_store(fakes.fake(SERIAL), bandwidth_limit=100, clock=Clock())
    store.add("image", b"x" * 10)
    store._runtime.bandwidth.take(1000, lambda: None)
    reader = store.open(URI)
    failures = []

    def read():
        try:
            reader.read()
        except ValueError as error:
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.1)
    reader.close()
    thread.join(2)
    assert failures


def test_the_bandwidth_limit_holds_for_reading(make_filled):
    store = make_filled(fakes.fake(SERIAL), bandwidth_limit=40_000, clock=Clock())
    time.sleep(0.6)
    began = time.monotonic()
    with store.open(URI) as reader:
        reader.read()
    assert 0.3 < time.monotonic() - began < 2


def test_deleting_does_not_disturb_who_reads(store):
    with store.open(URI) as reader:
        reader.read(10)
        store.delete(URI)
        assert reader.read() == DATA[10:]
