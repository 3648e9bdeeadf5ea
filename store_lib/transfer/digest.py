"""Digests and the signature verifier: each sees every byte once, in order, while other bytes are read and written."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from store_lib import errors
from store_lib.runtime import Pool
from store_lib.transfer.flow import Flow, Line, Slot

__all__ = ["Digests", "Verifier", "check_algorithms", "new_hash", "split_digest"]


class Verifier(Protocol):
    """A signature verifier, or anything else that wants to see an image's bytes."""

    def update(self, data: bytes, /) -> Any:
        """Take the next bytes."""


def check_algorithms(names: Iterable[str]) -> tuple[str, ...]:
    """Return `names` in lower case, each once.

    :raises UnknownDigest: one is not to be had on this machine, or has no fixed length.
    """
    return _checked(tuple(names))


@functools.lru_cache(maxsize=256)
def _checked(names: tuple[str, ...]) -> tuple[str, ...]:
    found = dict.fromkeys(name.lower() for name in names)
    for name in found:
        new_hash(name)
    return tuple(found)


def new_hash(name: str) -> Any:
    """Return a new hashlib object; digests here guard against faults, hence FIPS machines allow md5 too.

    :raises UnknownDigest: it is not to be had on this machine.
    """
    return _fresh(name).copy()  # looking the name up takes longer


@functools.lru_cache(maxsize=64)
def _fresh(name: str) -> Any:
    try:
        made = hashlib.new(name, usedforsecurity=False)
    except (ValueError, TypeError) as error:
        raise errors.UnknownDigest(f"{name!r} is no digest that this machine can compute") from error
    if not made.digest_size:
        raise errors.UnknownDigest(f"{name!r} has no length of its own; use for instance sha512")
    return made


def split_digest(digest: str) -> tuple[str, str]:
    """Return name and lower-case value of ``algorithm:hex``.

    :raises UnknownDigest: it is no such text, or its value has not the algorithm's length.
    """
    name, _, value = digest.partition(":")
    (name,) = check_algorithms([name])
    if len(value) != 2 * new_hash(name).digest_size or not all(char in "0123456789abcdefABCDEF" for char in value):
        raise errors.UnknownDigest(f"{value!r} is no {name} in hexadecimal")
    return name, value.lower()


class Digests:
    """The digests of one transfer.

    :param names: hashlib's names, checked.
    :param verifier: sees the bytes too, as ``bytes``; called from one thread at a time.
    """

    def __init__(self, names: Iterable[str], verifier: Verifier | None = None) -> None:
        self._hashes = {name: new_hash(name) for name in names}
        self._feeds: list[Callable[[memoryview], None]] = [made.update for made in self._hashes.values()]
        if verifier is not None:
            self._feeds.append(lambda data: verifier.update(data.tobytes()))
        self._lines: list[Line] = []

    def __len__(self) -> int:
        return len(self._feeds)

    def spread(self, pool: Pool, flow: Flow) -> None:
        """Compute in `pool` from now on; errors end `flow`."""

        def work(feed: Callable[[memoryview], None]) -> Callable[[tuple[memoryview, Slot]], None]:
            def step(piece: tuple[memoryview, Slot]) -> None:
                data, slot = piece
                feed(data)
                flow.let_go(slot)

            return step

        self._lines = [Line(work(feed), pool, flow) for feed in self._feeds]

    def put(self, data: memoryview, slot: Slot) -> None:
        """Take the next bytes; `slot` is let go once by each consumer."""
        for line in self._lines:
            line.put((data, slot))

    def update(self, data: memoryview) -> None:
        """Take the next bytes in this thread."""
        for feed in self._feeds:
            feed(data)

    def result(self) -> dict[str, str]:
        """Return ``{name: lower-case hexadecimal}`` of what was taken so far."""
        return {name: made.hexdigest() for name, made in self._hashes.items()}
