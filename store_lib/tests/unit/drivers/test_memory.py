"""The memory driver by itself: what the conformance of other drivers is measured with."""

import gc
import threading

import hypothesis
import pytest
from hypothesis import strategies as st

from store_lib import errors
from store_lib.drivers.memory import MemoryAddress, MemoryDriver
from store_lib.interface import Limits, Part, Status
from store_lib.tests.support import content, payload


@pytest.fixture
def make(make_stores):
    """Return a function that makes a store with a driver of some limits."""

    def make(limits=None, **options):
        driver = MemoryDriver if limits is None else type("Limited", (MemoryDriver,), {"LIMITS": limits})
        lines = ["[DEFAULT]", "enabled_backends = it:memory", "[it]", *(f"{key} = {options[key]}" for key in options)]
        return make_stores("\n".join(lines), drivers={"memory": driver})["it"]

    return make


OBJECTS = Limits(part_size=10, ranges=True)
BLOCKS = Limits(part_size=10, sparse=4, ranges=True)


def upload_of(store, image_id="image", size=None):
    return store._driver.upload(image_id, size, store._runtime.context())


def part(index, offset, data, last=False):
    return Part(index, offset, memoryview(data), last)


def read(store, image_id="image"):
    return content(store, f"memory://it/{image_id}")


# -- locations --------------------------------------------------------------------------------------------------------


def test_locations_are_read_back(make):
    driver = make()._driver
    assert driver.uri(MemoryAddress("image")) == "memory://it/image"
    assert driver.parse("memory://it/image") == MemoryAddress("image")
    assert driver.parse("MEMORY://it/image") == MemoryAddress("image")


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("memory://other/image", errors.ForeignLocation),
        ("file://it/image", errors.ForeignLocation),
        ("memory:///image", errors.ForeignLocation),
        ("memory://it", errors.BadLocation),
        ("memory://it/", errors.BadLocation),
        ("memory://it/.image", errors.BadLocation),
        ("memory://it/a/b", errors.BadLocation),
        ("memory://it/image?x=1", errors.BadLocation),
    ],
)
def test_locations_of_elsewhere_and_malformed_ones(make, uri, error):
    with pytest.raises(errors.BadLocation) as raised:
        make()._driver.parse(uri)
    assert type(raised.value) is error


# -- parts ------------------------------------------------------------------------------------------------------------


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], max_examples=50)
@hypothesis.given(size=st.integers(1, 200), order=st.randoms(use_true_random=False), repeat=st.booleans())
def test_parts_may_come_in_any_order_and_more_than_once(make, size, order, repeat):
    for limits in (OBJECTS, BLOCKS):
        store, data = make(limits), payload(size)
        upload = upload_of(store)
        upload.start()
        parts = [part(number, number * 10, data[number * 10 : number * 10 + 10]) for number in range(-(-size // 10))]
        shuffled = parts * (1 + repeat)
        order.shuffle(shuffled)
        tokens = {each.index: upload.write_part(each) for each in shuffled}
        upload.commit(size, [(each, tokens[each.index]) for each in parts if tokens[each.index] is not None])
        assert read(store) == data
        assert store.capacity().used == size


def test_what_is_not_written_reads_as_zeroes_and_takes_no_room(make):
    store = make(BLOCKS)
    upload = upload_of(store)
    upload.start()
    upload.write_part(part(0, 5, b"abc"))
    upload.write_part(part(1, 20, b"xyz"))
    upload.commit(30, [])
    assert read(store) == bytes(5) + b"abc" + bytes(12) + b"xyz" + bytes(7)
    assert store.capacity().used == 6
    with store.open("memory://it/image", 6, 20) as reader:
        found = [(extent.offset, extent.length, extent.hole) for extent in reader.extents()]
    assert found == [(0, 2, False), (2, 12, True), (14, 3, False), (17, 3, True)]


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], max_examples=50)
@hypothesis.given(
    runs=st.dictionaries(st.integers(0, 20).map(lambda number: number * 10), st.binary(min_size=1, max_size=10)),
    offset=st.integers(0, 220),
    length=st.integers(0, 220),
)
def test_any_range_of_any_runs(make, runs, offset, length):
    store = make(BLOCKS)
    whole = bytearray(220)
    upload = upload_of(store)
    upload.start()
    for at, data in runs.items():
        upload.write_part(part(0, at, data))
        whole[at : at + len(data)] = data
    upload.commit(220, [])
    length = min(length, 220 - offset)
    address = MemoryAddress("image")
    download = store._driver.open(address, 0, None, store._runtime.context())
    chunks = list(download.read(offset, length))
    assert b"".join(chunks) == whole[offset : offset + length]
    assert all(chunks)
    extents = list(download.extents(offset, length))
    assert sum(extent.length for extent in extents) == length
    assert all(extent.length > 0 for extent in extents)
    at = offset
    for extent in extents:
        assert extent.offset == at
        at += extent.length
        if extent.hole:
            assert not any(whole[extent.offset : at])


@pytest.mark.parametrize("wrong", ["missing", "token", "size", "order"])
def test_an_object_is_made_of_exactly_the_parts_that_were_acknowledged(make, wrong):
    store = make(OBJECTS)
    upload = upload_of(store)
    upload.start()
    parts = [part(0, 0, b"a" * 10), part(1, 10, b"b" * 10)]
    named = [(each, upload.write_part(each)) for each in parts]
    if wrong == "missing":
        named.pop(0)
    elif wrong == "token":
        named[1] = (parts[1], 12345)
    elif wrong == "order":
        named.reverse()
    with pytest.raises(errors.BackendError):
        upload.commit(21 if wrong == "size" else 20, named)
    assert list(store.list()) == []


# -- the end of an upload ---------------------------------------------------------------------------------------------


def test_nothing_is_there_before_the_start_and_visible_before_the_commit(make):
    store = make(OBJECTS)
    upload = upload_of(store)
    assert list(store.leftovers()) == []
    upload.start()
    (left,) = store.leftovers()
    assert left.owner.upload == upload.uuid
    token = upload.write_part(part(0, 0, b"abc"))
    assert list(store.list()) == []
    with pytest.raises(errors.NotFound):
        store.stat("memory://it/image")
    upload.commit(3, [(part(0, 0, b"abc"), token)])
    assert store.stat("memory://it/image").size == 3
    assert list(store.leftovers()) == []


@pytest.mark.parametrize("limits", [OBJECTS, BLOCKS])
def test_who_comes_second_gets_duplicate_and_harms_nothing(make, limits):
    store = make(limits)
    first, second = upload_of(store), upload_of(store)
    for upload in (first, second):
        upload.start()
    one = first.write_part(part(0, 0, b"one"))
    two = second.write_part(part(0, 0, b"second"))
    first.commit(3, [(part(0, 0, b"one"), one)] if one is not None else [])
    with pytest.raises(errors.Duplicate):
        second.commit(6, [(part(0, 0, b"second"), two)] if two is not None else [])
    with pytest.raises(errors.Duplicate):
        second.write_whole(part(0, 0, b"second", True))
    assert second.outcome() is None
    assert first.outcome().info.size == 3
    second.abort()
    first.abort()
    assert read(store) == b"one"
    assert store.capacity().used == 3


def test_abort_is_legal_in_every_state_and_ends_it(make):
    store = make(OBJECTS)
    new = upload_of(store)
    assert new.abort() == new.abort() == ()
    started = upload_of(store)
    started.start()
    started.write_part(part(0, 0, b"abc"))
    started.abort()
    assert store.capacity().used == 0
    assert started.outcome() is None
    for late in (lambda: started.write_part(part(0, 0, b"abc")), lambda: started.commit(0, [])):
        with pytest.raises(errors.BackendError, match="ended"):
            late()
    assert list(store.list()) == []


def test_the_outcome_goes_by_the_upload_and_not_by_the_name(make):
    store = make(OBJECTS)
    upload = upload_of(store)
    upload.write_whole(part(0, 0, b"abc", True))
    assert upload.outcome().address == MemoryAddress("image")
    store.delete("memory://it/image")
    assert upload.outcome() is None
    store.add("image", b"another")
    assert upload.outcome() is None
    upload.abort()
    assert read(store) == b"another"


def test_of_many_at_once_one_wins(make):
    store = make()
    won, lost = [], []

    def work(number):
        try:
            won.append(store.add("image", payload(100, seed=number)).digests["md5"])
        except errors.Duplicate:
            lost.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 15)
    assert store.hash("memory://it/image", ["md5"])["md5"] == won[0]


# -- room -------------------------------------------------------------------------------------------------------------


def test_a_store_takes_as_much_as_it_may(make):
    store = make(memory_store_size=100_000)
    store.add("half", payload(50_000))
    with pytest.raises(errors.StoreFull, match="60000 bytes do not fit"):
        store.add("too-large", payload(60_000), 60_000)
    with pytest.raises(errors.StoreFull):
        store.add("too-large", iter([payload(60_000)]))
    assert store.capacity().free == 50_000
    store.add("fits", payload(50_000))
    assert store.probe().status is Status.DEGRADED
    store.delete("memory://it/half")
    assert store.capacity().free == 50_000
    assert store.probe().status is Status.UP


@pytest.mark.parametrize("limits", [OBJECTS, BLOCKS])
def test_every_byte_is_counted_once(make, limits):
    store = make(limits)
    for size in (0, 1, 10, 95):
        store.add(f"image-{size}", payload(size))
    assert store.capacity().used == 106
    for size in (0, 1, 10, 95):
        store.delete(f"memory://it/image-{size}")
    assert store.capacity().used == 0


# -- leftovers --------------------------------------------------------------------------------------------------------


def test_an_upload_whose_writer_is_gone_can_be_swept(make):
    store = make(OBJECTS)
    upload = upload_of(store)
    upload.start()
    upload.write_part(part(0, 0, b"abc"))
    (left,) = store.leftovers()
    assert left.alive
    with pytest.raises(errors.InUse):
        store._driver.sweep(left, store._runtime.context())
    del upload
    gc.collect()
    (left,) = store.leftovers()
    assert not left.alive
    store._driver.sweep(left, store._runtime.context())
    assert list(store.leftovers()) == []
    assert store.capacity().used == 0
    with pytest.raises(errors.NotFound):
        store._driver.sweep(left, store._runtime.context())


def test_images_are_gone_after_close(make):
    store = make()
    store.add("image", b"abc")
    driver = store._driver
    store.close()
    assert list(driver.list(store._runtime.context())) == []
