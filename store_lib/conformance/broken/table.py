"""What comes of each behaviour with one driver."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

from store_lib.conformance.behaviour import NotOffered, behaviours
from store_lib.conformance.broken import CONFIG, PART
from store_lib.conformance.faults import QuickClock
from store_lib.conformance.place import Place
from store_lib.drivers.memory import MemoryDriver
from store_lib.interface import Driver

__all__ = ["outcomes", "vanish"]


def outcomes(driver: type[Driver[Any]]) -> dict[int, str]:
    """Return, by the number of each behaviour, nothing where `driver` keeps it, else why not.

    :param driver: of the memory's kind.
    """
    config = CONFIG.format(name=uuid.uuid4().hex)
    with Place(config, "it", other_id="other", drivers={"memory": driver}, clock=QuickClock()) as place:
        place.vanish = vanish
        place.too_small = {"memory_store_size": PART}
        return {behaviour.number: _outcome(behaviour.run, place) for behaviour in behaviours()}


def _outcome(run: Any, place: Place) -> str:
    try:
        run(place)
    except NotOffered as reason:
        return f"not offered: {reason}"
    except BaseException as error:  # pytest's own are no Exceptions
        return f"{type(error).__name__}: {error}"
    return ""


@contextlib.contextmanager
def vanish(place: Place) -> Iterator[None]:
    """Take the place of a memory store away."""
    driver = place.store()._driver
    assert isinstance(driver, MemoryDriver)
    state = driver.state
    state.there = False
    try:
        yield
    finally:
        state.there = True
