"""What a store can do, in the bits that image services know."""

from __future__ import annotations

import enum

from store_lib import Feature

__all__ = ["BitMasks", "StoreCapability", "capabilities_of"]


class BitMasks(enum.IntEnum):
    """The bits; the longer ones hold the bit of plain access as well."""

    NONE = 0b00000000
    ALL = 0b11111111
    READ_ACCESS = 0b00000001
    READ_OFFSET = 0b00000011
    READ_CHUNK = 0b00000101
    READ_RANDOM = 0b00000111
    WRITE_ACCESS = 0b00001000
    WRITE_OFFSET = 0b00011000
    WRITE_CHUNK = 0b00101000
    WRITE_RANDOM = 0b00111000
    RW_ACCESS = 0b00001001
    RW_OFFSET = 0b00011011
    RW_CHUNK = 0b00101101
    RW_RANDOM = 0b00111111
    DRIVER_REUSABLE = 0b01000000


def capabilities_of(features: Feature) -> int:
    """Return the bits of a store's features.  Every driver serves any number of callers and reads any length."""
    found = BitMasks.READ_CHUNK | BitMasks.DRIVER_REUSABLE
    if Feature.RANGES in features:
        found |= BitMasks.READ_RANDOM
    if Feature.WRITE in features:
        found |= BitMasks.WRITE_ACCESS
    return int(found)


class StoreCapability:
    """Tells and changes the bits of one store."""

    def __init__(self, capabilities: int = BitMasks.NONE) -> None:
        self._capabilities = int(capabilities)

    @property
    def capabilities(self) -> int:
        """The bits."""
        return self._capabilities

    @staticmethod
    def contains(held: int, wanted: int) -> bool:
        """Return whether all bits of `wanted` are in `held`."""
        return held & wanted == wanted

    def update_capabilities(self) -> None:
        """Do nothing: what a store can do is asked of it when it is used."""

    def is_capable(self, *wanted: int) -> bool:
        """Return whether the store has all of these bits."""
        return all(self.contains(self._capabilities, int(each)) for each in wanted)

    def set_capabilities(self, *given: int) -> None:
        """Add bits."""
        for each in given:
            self._capabilities |= int(each)

    def unset_capabilities(self, *taken: int) -> None:
        """Take bits away."""
        for each in taken:
            self._capabilities &= ~int(each)
