"""Memory that helpers see, too: what is kept of it between transfers."""

import gc
import os
from typing import Any

import pytest

from store_lib.drivers._helper_memory import KEPT, SharedBuffers, address_of
from store_lib.interface import MIB
from store_lib.runtime import PerProcess


class Runtime:
    """What is asked of one."""

    per_process = PerProcess


@pytest.fixture
def buffers():
    """Return buffers."""
    runtime: Any = Runtime()
    return SharedBuffers(runtime)


def held():
    """Return how many bytes of shared memory this process has open."""
    gc.collect()
    sizes = {}
    for number in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{number}"
        if os.path.exists(path) and "memfd:store_lib" in os.readlink(path):
            found = os.stat(path)
            sizes[found.st_ino] = found.st_size  # a map has it open twice
    return sum(sizes.values())


def test_a_block_is_used_again_for_the_next_transfer(buffers):
    first, other = buffers.allocate(MIB), buffers.allocate(MIB)
    known, taken = address_of(first), address_of(other)
    assert known != taken
    buffers.release(first)
    again = buffers.allocate(MIB)
    assert address_of(again) == known
    assert (len(again), again.readonly) == (MIB, False)
    more = buffers.allocate(MIB)
    assert address_of(more) not in (known, taken)  # each by one transfer


def test_a_block_that_somebody_looks_at_is_not_used_again(buffers):
    block = buffers.allocate(MIB)
    look = block[:3]
    look[:] = b"abc"
    buffers.release(block)
    new = buffers.allocate(MIB)
    assert address_of(new) != address_of(look)
    new[:3] = b"xyz"
    assert bytes(look) == b"abc"


def test_what_is_kept_is_bounded_and_makes_way_for_other_sizes(buffers):
    before = held()
    for block in [buffers.allocate(MIB) for _ in range(2 * KEPT // MIB)]:
        buffers.release(block)
    assert held() == before + KEPT
    large = buffers.allocate(KEPT // 2)
    assert held() == before + KEPT
    buffers.release(large)
    larger = buffers.allocate(4 * KEPT)
    assert held() == before + 4 * KEPT
    buffers.release(larger)
    assert held() == before


@pytest.mark.parametrize("size", [0, 1, MIB - 1])
def test_small_blocks_are_given_back(buffers, size):
    before = held()
    block = buffers.allocate(size)
    assert bytes(block) == bytes(size)
    buffers.release(block)
    assert held() == before


def test_closed_buffers_keep_nothing(buffers):
    before = held()
    one, two = buffers.allocate(MIB), buffers.allocate(MIB)
    buffers.release(one)
    assert held() == before + 2 * MIB
    buffers.close()
    assert held() == before + MIB
    buffers.release(two)  # a transfer that ended later
    assert held() == before


def test_a_forked_child_has_none_of_its_parents(buffers):
    """Both would write to the same memory."""
    block = buffers.allocate(MIB)
    block[:6] = b"parent"
    known = address_of(block)
    buffers.release(block)
    pid = os.fork()
    if not pid:
        own = buffers.allocate(MIB)
        own[:6] = b"child "
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    again = buffers.allocate(MIB)
    assert address_of(again) == known
    assert bytes(again[:6]) == b"parent"
