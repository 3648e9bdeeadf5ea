"""The values of the driver interface."""

import io
import random
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from store_lib import errors
from store_lib.interface import HEAP, Driver, Owner, Part
from store_lib.runtime import new_owner

HEX = st.text("0123456789abcdef", min_size=32, max_size=32)
NUMBER = st.integers(0, 2**63)
OWNERS = st.builds(Owner, HEX, st.text(max_size=300), HEX | st.just(""), NUMBER, NUMBER, NUMBER)


@hypothesis.given(OWNERS)
def test_an_owner_is_read_back_but_for_odd_host_names(owner):
    text = owner.encode()
    assert len(text) <= 190
    assert not set(text) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    again: Any = Owner.decode(text)
    assert (again.upload, again.boot, again.pid_namespace) == (owner.upload, owner.boot, owner.pid_namespace)
    assert (again.pid, again.started) == (owner.pid, owner.started)
    assert again.encode() == text, "what was read is the same owner"


def test_the_owner_of_this_process_fits_into_a_file_name():
    assert len(new_owner().encode()) < 200


@hypothesis.given(st.text() | st.text("0123456789-", max_size=40))
def test_other_texts_are_no_owner_and_raise_nothing(text):
    found = Owner.decode(text)
    assert found is None or isinstance(found.pid, int)


@pytest.mark.parametrize("text", ["", "-----", "a-b-c-d-e-f", "a-b-1-2-x-h", "a-b-" + "9" * 5000 + "-1-1-h", "a-b-1-2"])
def test_texts_that_are_no_owner(text):
    assert Owner.decode(text) is None


def part(data):
    return Part(0, 0, memoryview(data))


@hypothesis.given(data=st.binary(max_size=200), seed=st.integers())
def test_the_reader_of_a_part_is_a_file(data, seed):
    reader, file = part(data).reader(), io.BytesIO(data)
    assert len(reader) == len(data)
    dice = random.Random(seed)
    for _ in range(10):
        size = dice.choice([-1, 0, 1, 7, 300])
        assert reader.read(size) == file.read(size)
        assert reader.tell() == file.tell()
        where = dice.randrange(len(data) + 3)
        assert reader.seek(where) == file.seek(where)
    assert reader.seek(-len(data), io.SEEK_END) == 0
    assert reader.seek(0, io.SEEK_CUR) == 0
    with pytest.raises(ValueError, match="negative"):
        reader.seek(-1)


def test_each_reader_of_a_part_begins_anew():
    given = part(b"abc")
    assert given.reader().read() == given.reader().read() == given.bytes() == b"abc"
    assert given.length == 3


@pytest.mark.parametrize("size", [0, 1, 5000])
def test_buffers_are_zeroed_writable_and_can_be_given_back(size):
    block = HEAP.allocate(size)
    assert bytes(block) == bytes(size)
    block[:] = b"x" * size
    HEAP.release(block)


def test_a_buffer_that_somebody_looks_at_outlives_its_release():
    block = HEAP.allocate(10)
    look = block[2:5]
    block[2:5] = b"abc"
    HEAP.release(block)
    assert bytes(look) == b"abc"


class Table(Driver[Any]):
    """Only its table matters."""

    ERRORS = (
        (FileNotFoundError, errors.NotFound),
        (OSError, lambda error: errors.StoreFull("full") if error.errno == 28 else None),
        (OSError, errors.StoreUnavailable),
    )


NOTHING: Any = None
TABLE: Any = type("Complete", (Table,), dict.fromkeys(Table.__abstractmethods__))(NOTHING, NOTHING)


@pytest.mark.parametrize(
    ("error", "made"),
    [
        (FileNotFoundError("x"), errors.NotFound),
        (OSError(28, "x"), errors.StoreFull),
        (OSError(5, "x"), errors.StoreUnavailable),
        (TypeError("x"), type(None)),
    ],
)
def test_the_first_row_of_the_table_that_answers_wins(error, made):
    assert type(TABLE.translate(error)) is made


def test_what_a_driver_does_not_offer_it_refuses_by_default():
    driver = TABLE
    for call in (
        lambda: driver.list(None),
        lambda: driver.capacity(None),
        lambda: driver.set_acls(None, True, (), (), None),
        lambda: driver.leftovers(None),
        lambda: driver.sweep(None, None),
    ):
        with pytest.raises(errors.NotSupported):
            call()
    with pytest.raises(errors.CannotMigrate):
        driver.move(None, None, "x", None)
    assert driver.prefix() is None
    assert driver.describe() == {}
    driver.close()
