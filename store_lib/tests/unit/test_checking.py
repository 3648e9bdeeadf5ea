"""What the limits of a store come to: as much as a transfer really takes."""

import threading

import pytest

from store_lib.checking import needs
from store_lib.interface import MIB, Limits
from store_lib.tests import fakes
from store_lib.tests.support import pieces


@pytest.mark.parametrize(
    ("limits", "options", "memory", "side_by_side"),
    [
        pytest.param(Limits(part_size=MIB, parallel=2), {"memory_limit": 32 * MIB}, 5 * MIB, 6, id="all its buffers"),
        pytest.param(Limits(part_size=MIB, parallel=8), {"memory_limit": 32 * MIB}, 8 * MIB, 4, id="a quarter"),
        pytest.param(Limits(part_size=5 * MIB, parallel=8), {"memory_limit": 32 * MIB}, 10 * MIB, 3, id="two parts"),
        pytest.param(
            Limits(part_size=MIB, parallel=8),
            {"memory_limit": 32 * MIB, "part_size": 2 * MIB, "parallel": 1},
            8 * MIB,
            4,
            id="options",
        ),
    ],
)
def test_a_transfer_takes_what_is_told(make_store, limits, options, memory, side_by_side):
    driver = fakes.fake(limits)
    gate = driver.script.block("write_part", 1)
    store = make_store(driver, memory_store_size=64 * MIB, **options)
    told = needs(store)
    assert (told.transfer_memory, told.side_by_side) == (memory, side_by_side)
    thread = threading.Thread(target=store.add, args=("image", pieces(bytes(20 * MIB))))
    thread.start()
    gate.wait()
    taken = store._runtime.budget.used
    gate.open()
    thread.join()
    assert taken == memory
