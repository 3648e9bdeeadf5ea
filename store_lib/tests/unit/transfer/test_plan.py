"""Cutting images: every plan keeps the limits and the memory."""

import hypothesis
import pytest
from hypothesis import strategies as st

from store_lib import errors
from store_lib.interface import GIB, KIB, MIB, Limits
from store_lib.transfer.plan import fits, plan

SIZES = st.one_of(st.none(), st.integers(0, 2000), st.integers(0, 200_000))


@st.composite
def limits(draw):
    """Return limits that some backend could have."""
    align = draw(st.sampled_from([1, 1, 1, 4, 64]))
    least = draw(st.integers(1, 500))
    most = draw(st.one_of(st.none(), st.integers(-(-least // align) * align, 5000)))
    return Limits(
        part_size=draw(st.integers(1, 3000)),
        min_part=least,
        max_part=most,
        max_parts=draw(st.one_of(st.none(), st.integers(1, 200))),
        parallel=draw(st.integers(1, 16)),
        equal_parts=draw(st.booleans()),
        align=align,
        whole_max=draw(st.integers(0, 20_000)),
    )


def cut(made, size):
    """Return the sizes of the parts of an image as the engine cuts it."""
    found: list[int] = []
    left = size
    while left > 0 or not found:
        part = min(left, made.part_at(len(found)))
        found.append(part)
        left -= part
    return found


@hypothesis.settings(max_examples=400)
@hypothesis.given(
    size=SIZES,
    real=st.integers(0, 300_000),
    limits=limits(),
    budget=st.integers(1, 50_000),
    part_size=st.one_of(st.none(), st.integers(1, 10_000)),
    parallel=st.one_of(st.none(), st.integers(1, 32)),
)
def test_every_plan_keeps_the_limits(size, real, limits, budget, part_size, parallel):
    try:
        made = plan(size, limits, budget, part_size=part_size, parallel=parallel)
    except errors.BadRequest:
        assert _impossible(size, limits, budget)
        return
    real = real if size is None else size
    assert made.memory <= budget
    assert 1 <= made.parallel <= min(limits.parallel, parallel or limits.parallel)
    assert made.parallel <= made.buffers
    assert 1 <= made.window <= made.buffers
    assert made.window * made.part_size <= made.memory
    try:
        parts = cut(made, real)
    except errors.BadRequest:
        assert size is None, "a size that is known must not fail in the middle"
        assert limits.max_parts is not None
        return
    assert sum(parts) == real
    assert limits.max_parts is None or len(parts) <= limits.max_parts
    if len(parts) > 1:
        for index, part in enumerate(parts[:-1]):
            assert limits.min_part <= part <= (limits.max_part or part)
            assert part % limits.align == 0
            assert made.buffers_at(index) * part <= made.memory
        assert all(part == made.part_size for part in parts[: made.window]) or len(parts) <= made.window
        if limits.equal_parts:
            assert len(set(parts[:-1])) == 1


def _impossible(size, limits, budget):
    """Whether no plan exists: the smallest part of which not even one fits, or too many of the largest."""
    least = limits.min_part
    if size is not None and limits.max_parts is not None:
        least = max(least, -(-size // limits.max_parts))
    least = -(-least // limits.align) * limits.align
    return least > budget or (limits.max_part is not None and least > limits.max_part // limits.align * limits.align)


@hypothesis.given(limits=limits(), budget=st.integers(3000, 50_000))
def test_with_the_size_unknown_parts_never_shrink(limits, budget):
    try:
        made = plan(None, limits, budget)
    except errors.BadRequest:
        return
    sizes = [made.part_at(index) for index in range(min(limits.max_parts or 100, 200))]
    assert sizes == sorted(sizes)


def test_an_image_of_one_part_takes_as_much_memory_as_it_has_bytes():
    assert plan(100, Limits(), 10 * MIB).memory == 100
    assert plan(100, Limits(), 10 * MIB).small
    assert not plan(None, Limits(), 10 * MIB).small


def test_buffers_are_those_on_their_way_and_three_more():
    made = plan(1 * GIB, Limits(parallel=4), 128 * MIB)
    assert (made.buffers, made.parallel, made.memory) == (7, 4, 28 * MIB)


def test_parallel_falls_when_parts_are_large():
    made = plan(100 * GIB, Limits(part_size=64 * MIB, parallel=8), 256 * MIB)
    assert (made.part_size, made.buffers, made.parallel) == (64 * MIB, 4, 4)


def test_an_unknown_size_reaches_terabytes_in_ten_thousand_parts():
    made = plan(None, Limits(part_size=16 * MIB, min_part=5 * MIB, max_parts=10_000, parallel=4), 128 * MIB)
    assert sum(made.part_at(index) for index in range(10_000)) > GIB * 700
    assert made.part_at(0) == 16 * MIB


def test_a_part_shrinks_to_the_memory_at_hand():
    assert plan(10 * MIB, Limits(part_size=4 * MIB), 1 * MIB).part_size <= 1 * MIB
    assert plan(None, Limits(part_size=4 * MIB), 1 * MIB).part_size <= 1 * MIB


def test_a_part_that_cannot_shrink_says_what_to_raise():
    with pytest.raises(errors.BadRequest, match="raise memory_limit"):
        plan(10 * GIB, Limits(max_parts=10), 512 * MIB)


def test_an_image_that_the_storage_cannot_take_says_so():
    with pytest.raises(errors.BadRequest, match="larger than the storage takes: 10 parts of 1024 bytes"):
        plan(11 * KIB, Limits(max_parts=10, max_part=KIB), 512 * MIB)


def test_a_whole_image_of_several_buffers_is_held_back():
    made = plan(10 * MIB, Limits(part_size=4 * MIB, whole_max=64 * MIB), 128 * MIB)
    assert (made.window, made.memory) == (3, 12 * MIB)
    assert plan(65 * MIB, Limits(part_size=4 * MIB, whole_max=64 * MIB), 128 * MIB).window == 1


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 4096])
def test_what_fits_into_one_buffer_is_planned_as_one(size):
    """Asks beforehand what the plan says: whether the image is one part."""
    for limits in (Limits(part_size=1000), Limits(part_size=1000, align=512), Limits(part_size=4096, max_part=1000)):
        for budget in (999, 1000, 10_000):
            made = plan(size, limits, budget)
            one = made.small and made.part_size >= size
            assert fits(size, limits, budget) == one, (limits, budget)
