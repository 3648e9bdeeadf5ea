"""Broken drivers: for each behaviour one that breaks it and keeps all others.

They prove that the suite can fail.  Each is the memory driver, or its upload or download, with one method of its own.
Where a fault would break several behaviours at once, it shows with images of a certain size only.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from store_lib.drivers.memory import MemoryDownload, MemoryDriver, MemoryUpload
from store_lib.interface import KIB, Driver

__all__ = ["CONFIG", "PART", "breaks", "broken_drivers"]

T = TypeVar("T", bound=type[Any])

#: Bytes of a part where the memory store is under test.
PART = 64 * KIB
#: The stores with which the table of behaviours and broken drivers is made, but for a name that nobody else has.
CONFIG = """
[DEFAULT]
enabled_backends = it:memory, other:memory
[backend_defaults]
memory_store_name = {name}
memory_store_password = a-secret-of-memory
digests = sha256
parallel = 1
"""

_classes: dict[int, type[Any]] = {}


def breaks(number: int) -> Callable[[T], T]:
    """Register the class below as the one that breaks behaviour `number`."""

    def register(broken: T) -> T:
        _classes[number] = broken
        return broken

    return register


@functools.cache
def broken_drivers() -> Mapping[int, tuple[type[Any], type[Driver[Any]]]]:
    """Return, by the number of the behaviour that it breaks, each class and the driver that uses it."""
    for module in pkgutil.iter_modules(__path__):
        if module.name.startswith("__"):
            continue  # a program
        importlib.import_module(f"{__name__}.{module.name}")
    return MappingProxyType({number: (_classes[number], _driver(_classes[number])) for number in sorted(_classes)})


def _driver(broken: type[Any]) -> type[Driver[Any]]:
    for base, name in ((MemoryUpload, "UPLOAD_CLASS"), (MemoryDownload, "DOWNLOAD_CLASS")):
        if issubclass(broken, base):
            return type(f"{broken.__name__}Driver", (MemoryDriver,), {name: broken})
    found: type[Driver[Any]] = broken
    return found
