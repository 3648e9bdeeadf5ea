"""Adding images: the way of the bytes."""

import gc
import hashlib
import io
import itertools
import threading
import time
import weakref

import pytest

from store_lib import errors
from store_lib.interface import KIB, HeapBuffers, Limits
from store_lib.runtime import Clock
from store_lib.tests import fakes
from store_lib.tests.support import content, payload, pieces
from store_lib.tests.unit.transfer.uploads import PART, WHOLE, Failure, ids, parts, sizes, unfinished

# -- small and large --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 5 * PART, 5 * PART + 1, 12345])
@pytest.mark.parametrize("limits", [fakes.OBJECTS, fakes.BLOCKS, WHOLE], ids=["objects", "blocks", "whole"])
def test_what_was_added_is_what_is_read(make_store, limits, size, known):
    driver = fakes.fake(limits)
    store = make_store(driver)
    data = payload(size)
    record = store.add("image", io.BytesIO(data), size if known else None)
    assert record.size == size
    assert record.digests["sha512"] == hashlib.sha512(data).hexdigest()
    assert record.digests["md5"] == hashlib.md5(data).hexdigest()
    assert content(store, record.location) == data
    assert store.stat(record.location).size == size
    assert driver.script.count("abort") == 1
    assert unfinished(store) == []


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("size", "whole"), [(0, 1), (1, 1), (PART, 1), (3 * PART, 1), (4 * PART, 1), (4 * PART + 1, 0), (9 * PART, 0)]
)
def test_an_image_that_fits_goes_in_one_request(make_store, size, whole, known):
    driver = fakes.fake(WHOLE)
    store = make_store(driver)
    record = store.add("image", payload(size), size if known else None)
    assert driver.script.count("write_whole") == whole
    assert driver.script.count("start") == driver.script.count("commit") == 1 - whole
    assert content(store, record.location) == payload(size)


def test_an_image_larger_than_one_request_goes_in_parts_of_equal_size(make_store):
    driver = fakes.fake()
    make_store(driver).add("image", payload(3500))
    assert sizes(driver) == [1000, 1000, 1000, 500]
    assert [part.last for part in parts(driver)] == [False, False, False, True]
    assert [part.offset for part in parts(driver)] == [0, 1000, 2000, 3000]


def test_an_image_of_one_buffer_takes_no_thread(make_store):
    driver = fakes.fake()
    store = make_store(driver, operation_timeout=20)
    store.probe()
    driver.script.calls.clear()
    store.add("image", payload(PART), PART)
    assert {call.thread for call in driver.script.calls} == {threading.current_thread()}


def test_the_source_is_read_by_the_calling_thread_only(make_store):
    seen = set()

    def source():
        for piece in pieces(payload(20 * PART), 300):
            seen.add(threading.current_thread())
            yield piece

    driver = fakes.fake()
    make_store(driver).add("image", source())
    assert seen == {threading.current_thread()}
    assert threading.current_thread() not in {call.thread for call in driver.script.of("write_part")}


def test_an_operator_chooses_the_size_of_the_parts(make_store):
    driver = fakes.fake(Limits(part_size=PART, parallel=2))
    make_store(driver, part_size=64 * KIB).add("image", payload(100 * KIB))
    assert sizes(driver) == [64 * KIB, 36 * KIB]


def test_parts_grow_when_the_size_is_not_known(make_store):
    limits = Limits(part_size=PART, parallel=1, max_parts=20)
    driver = fakes.fake(limits)
    store = make_store(driver)
    data = payload(60 * PART)
    record = store.add("image", io.BytesIO(data))
    assert content(store, record.location) == data
    assert sizes(driver)[:4] == [PART, PART, 2 * PART, 2 * PART]


@pytest.mark.parametrize("whole_max", [0, PART, 3 * PART, 100 * PART])
@pytest.mark.parametrize("max_parts", [5, 11, 30])
def test_parts_that_grow_early_keep_the_bytes_in_order(make_store, max_parts, whole_max):
    driver = fakes.fake(Limits(part_size=PART, parallel=3, max_parts=max_parts, whole_max=whole_max, ranges=True))
    store = make_store(driver)
    for size in (PART, 2 * PART, 3 * PART + 1, 8 * PART):
        data = payload(size)
        assert content(store, store.add(f"image-{size}", pieces(data, 700)).location) == data


class Watched(HeapBuffers):
    """Sees whether what was given back is gone at the latest when new buffers are taken."""

    _SMALL = 0

    def __init__(self):
        self.given_back = []
        self.kept = []

    def allocate(self, size):
        self.kept += [len(each()) for each in self.given_back if each() is not None and not each().closed]
        return super().allocate(size)

    def release(self, block):
        self.given_back.append(weakref.ref(block.obj))
        super().release(block)


@pytest.mark.parametrize("whole_max", [0, 4 * PART])
def test_smaller_parts_are_gone_when_larger_ones_take_their_place(make_store, whole_max):
    """With no garbage collection to help."""
    buffers = Watched()
    limits = Limits(part_size=PART, parallel=3, max_parts=20, whole_max=whole_max, ranges=True)
    store = make_store(fakes.fake(limits, buffers=buffers))
    gc.collect()
    gc.disable()
    try:
        record = store.add("image", pieces(payload(60 * PART), 700))
        assert len(buffers.given_back) > 8, "the parts did not grow"
        assert buffers.kept == []
    finally:
        gc.enable()
    assert record.size == 60 * PART


def test_with_the_size_known_parts_are_as_large_as_their_number_needs(make_store):
    driver = fakes.fake(Limits(part_size=PART, parallel=2, max_parts=10))
    make_store(driver).add("image", payload(25 * PART), 25 * PART)
    assert sizes(driver) == [2500] * 10


def test_equal_parts_and_unknown_size_have_a_stated_maximum(make_store):
    driver = fakes.fake(Limits(part_size=PART, parallel=2, max_parts=10, equal_parts=True))
    store = make_store(driver)
    store.add("fits", io.BytesIO(payload(10 * PART)))
    with pytest.raises(errors.BadRequest, match="10 parts"):
        store.add("too-large", io.BytesIO(payload(10 * PART + 1)))
    assert ids(store) == ["fits"]
    assert unfinished(store) == []


def test_each_part_carries_the_digest_that_the_backend_asks_for(make_store):
    driver = fakes.fake(Limits(part_size=PART, parallel=2, part_digest="md5", whole_max=10))
    store = make_store(driver)
    store.add("image", payload(2500))
    store.add("small", b"abc")
    written = [*parts(driver), driver.script.of("write_whole")[0].detail["part"]]
    assert len(written) == 4
    assert all(part.digest == hashlib.md5(part.data).hexdigest() for part in written)


@pytest.mark.parametrize("size", [5, 3 * PART])
def test_a_digest_that_is_known_already_is_not_computed_again(make_store, monkeypatch, size):
    driver = fakes.fake(Limits(part_size=PART, parallel=2, part_digest="md5", whole_max=4 * PART))
    store = make_store(driver)
    monkeypatch.setattr("store_lib.transfer.upload.hashlib", None)
    record = store.add("image", payload(size), digests=["md5"])
    (call,) = driver.script.of("write_whole")
    assert call.detail["part"].digest == record.digests["md5"] == hashlib.md5(payload(size)).hexdigest()


# -- size -------------------------------------------------------------------------------------------------------------


BORDERS = (1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART - 1, 3 * PART, 3 * PART + 1)


@pytest.mark.parametrize(
    ("size", "more"), [(size, more) for size in BORDERS for more in (-PART, -1, 1, PART) if size + more >= 0]
)
def test_a_source_of_another_size_than_declared_is_refused(make_store, size, more):
    driver = fakes.fake(WHOLE)
    store = make_store(driver)
    with pytest.raises(errors.SizeMismatch, match="longer" if more > 0 else "ended after"):
        store.add("image", io.BytesIO(payload(size + more)), size)
    assert driver.script.count("commit") == driver.script.count("write_whole") == 0
    assert driver.script.count("abort") == 1
    assert ids(store) == unfinished(store) == []


def test_an_empty_image_may_not_be_longer(make_store):
    with pytest.raises(errors.SizeMismatch, match="longer than the declared 0"):
        make_store().add("image", b"x", 0)


@pytest.mark.parametrize("size", [-1, 1.5, "12", True - 2])
def test_a_size_that_is_none_is_refused_before_anything_is_asked(make_store, size):
    driver = fakes.fake()
    with pytest.raises(errors.BadRequest):
        make_store(driver).add("image", b"", size)
    assert driver.script.calls == []


# -- the source's errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Failure("mine"), OSError(28, "No space left on device"), KeyError("x")])
@pytest.mark.parametrize("good", [0, 1, PART, 2 * PART, 2 * PART + 5, 6 * PART])
@pytest.mark.parametrize("known", [True, False])
def test_an_error_of_the_source_passes_unchanged(make_store, good, known, error):
    def source():
        yield payload(good)
        raise error

    driver = fakes.fake(WHOLE, ERRORS=((Exception, errors.StoreFull),))
    store = make_store(driver)
    with pytest.raises(type(error)) as raised:
        store.add("image", source(), good if known else None)
    assert raised.value is error
    assert driver.script.count("abort") == 1
    assert driver.script.count("commit") == driver.script.count("write_whole") == 0
    assert ids(store) == unfinished(store) == []


def test_what_is_no_source_is_refused(make_store):
    with pytest.raises(TypeError, match="binary file"):
        make_store().add("image", 12)
    with pytest.raises(TypeError):
        make_store().add("image", io.StringIO("text"))


# -- reserve ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_room_is_asked_for_when_a_part_ends_beyond_and_nobody_writes_meanwhile(make_store, known):
    limits = Limits(part_size=PART, parallel=3, capacity=2 * PART, quiet_reserve=True, sparse=100)
    driver = fakes.fake(limits)
    driver.script.act("write_part", lambda: time.sleep(0.005))
    store = make_store(driver)
    size = 10 * PART + 1
    record = store.add("image", pieces(payload(size), 999), size if known else None)
    assert content(store, record.location) == payload(size)
    asked = [call.detail["at_least"] for call in driver.script.of("reserve")]
    assert asked[0] == 3 * PART
    assert asked[-1] == size


def test_a_backend_that_makes_more_room_than_asked_is_asked_less(make_store):
    class Generous(fakes.FakeUpload):
        def reserve(self, at_least):
            super().reserve(at_least)
            self._capacity = at_least + 100 * PART
            return self._capacity

    driver = fakes.fake(Limits(part_size=PART, capacity=0), UPLOAD=Generous)
    make_store(driver).add("image", payload(9 * PART))
    assert driver.script.count("reserve") == 1


def test_room_that_cannot_be_made(make_store):
    driver = fakes.fake(Limits(part_size=PART, capacity=PART))
    driver.script.fail("reserve", errors.StoreFull("no room"))
    store = make_store(driver)
    with pytest.raises(errors.StoreFull):
        store.add("image", payload(3 * PART))
    assert unfinished(store) == []


# -- sparse -----------------------------------------------------------------------------------------------------------


def stored(store, image="image"):
    """Return data and holes of an image as ``(offset, length, hole)``."""
    with store.open(f"memory://it/{image}") as reader:
        return [(extent.offset, extent.length, extent.hole) for extent in reader.extents()]


def test_runs_of_zeroes_are_left_out_where_the_driver_wants_it(make_store):
    data = payload(2500) + bytes(5000) + payload(700)
    for thin, holes in ((True, [(2500, 5000)]), (False, [])):
        driver = fakes.fake(Limits(part_size=PART, parallel=2, sparse=100, thin=thin, ranges=True))
        store = make_store(driver)
        store.add("image", pieces(data, 900))
        assert content(store, "memory://it/image") == data
        assert [each[:2] for each in stored(store) if each[2]] == holes


def test_holes_of_a_sparse_file_stay_holes(make_store, tmp_path):
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        for number in range(3):
            file.seek(number * 64 * KIB)
            file.write(payload(4 * KIB))
        file.truncate(256 * KIB)
    driver = fakes.fake(Limits(part_size=50 * KIB, parallel=2, sparse=4 * KIB, ranges=True))
    store = make_store(driver)
    with open(path, "rb") as file:
        record = store.add("image", file)
    assert content(store, record.location) == path.read_bytes()
    data = sum(length for _, length, hole in stored(store) if not hole)
    assert data == 12 * KIB


def test_an_image_of_holes_alone(make_store, tmp_path):
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(100 * KIB)
    driver = fakes.fake(Limits(part_size=30 * KIB, parallel=2, sparse=4 * KIB, ranges=True))
    store = make_store(driver)
    with open(path, "rb") as file:
        record = store.add("image", file, 100 * KIB)
    assert driver.script.count("write_part") == 0
    assert content(store, record.location) == bytes(100 * KIB)


def test_a_copy_of_an_image_keeps_its_holes_without_reading_them(make_store):
    limits = Limits(part_size=PART, parallel=2, sparse=100, thin=True, ranges=True)
    driver = fakes.fake(limits)
    store = make_store(driver)
    data = payload(1500) + bytes(20_000) + payload(1500)
    store.add("image", data)
    driver.script.calls.clear()
    with store.open("memory://it/image") as reader:
        store.add("copy", reader)
    assert content(store, "memory://it/copy") == data
    assert [each for each in stored(store, "copy") if each[2]] == [(1500, 20_000, True)]


# -- progress and bandwidth -------------------------------------------------------------------------------------------


def test_progress_is_told_in_the_calling_thread_at_most_ten_times_a_second(make_store):
    told = []

    def progress(done, total):
        told.append((time.monotonic(), threading.current_thread(), done, total))

    def source():
        for piece in pieces(payload(80 * PART), PART):
            time.sleep(0.01)
            yield piece

    make_store().add("image", source(), 80 * PART, progress=progress)
    assert {thread for _, thread, _, _ in told} == {threading.current_thread()}
    assert len(told) >= 4
    gaps = [after[0] - before[0] for before, after in itertools.pairwise(told[:-1])]
    assert min(gaps) >= 0.09
    done = [each[2] for each in told]
    assert done == sorted(done)
    assert told[-1][2:] == (80 * PART, 80 * PART)


@pytest.mark.parametrize("size", [0, 10, 9 * PART])
def test_progress_ends_with_everything_and_only_after_the_commit(make_store, size):
    driver = fakes.fake()
    told = []
    make_store(driver).add("image", payload(size), progress=lambda *told_: told.append((*told_, _committed(driver))))
    assert told[-1] == (size, size, 1)


def _committed(driver):
    return driver.script.count("commit")


@pytest.mark.parametrize("size", [10, 9 * PART])
def test_an_error_of_the_progress_function_ends_the_transfer(make_store, size):
    error = Failure("enough")

    def progress(done, total):
        if done == size:
            raise error

    store = make_store()
    with pytest.raises(Failure) as raised:
        store.add("image", payload(size), progress=progress)
    assert raised.value is error
    assert ids(store) == unfinished(store) == []


def test_the_bandwidth_limit_holds_for_all_transfers_together(make_store):
    store = make_store(bandwidth_limit=400_000, clock=Clock())
    began = time.monotonic()
    threads = [threading.Thread(target=store.add, args=(str(n), pieces(payload(100_000), 5000))) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    assert 0.4 < seconds < 1.5
