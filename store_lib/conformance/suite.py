"""The behaviours as a class of tests for pytest."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import pytest

from store_lib.conformance.behaviour import Behaviour, NotOffered, behaviours
from store_lib.conformance.place import Place
from store_lib.interface import Driver

__all__ = ["Conformance"]


class Conformance:
    """One test for each behaviour.  Derive a class ``Test...`` from it and give it a fixture ``store_config``.

    The fixture returns the text of a configuration file.  It may have any scope and ask for any other fixture; as long
    as it returns the same text, and `keep_stores` says so, the same stores are used by one test after another.

    The class may further say, as class data or by setting them on ``self`` in that fixture:
    """

    #: Id of the store in the configuration.
    store_id: str = "it"
    #: Id of a second store of the same kind in it, for copies inside one backend.
    other_id: str | None = None
    #: Further drivers by name, besides those that are installed.
    drivers: ClassVar[Mapping[str, type[Driver[Any]]]] = {}
    #: Keep the stores from one test to the next; else each test closes what it used.
    keep_stores: ClassVar[bool] = False
    #: Options that make the store unreachable, like a port where nobody listens.
    unreachable: Mapping[str, Any] = {}
    #: Options with which the store has no room for an image of three parts.
    too_small: Mapping[str, Any] = {}
    #: URIs that are well formed but of another bucket, pool, directory.
    foreign: tuple[str, ...] = ()
    #: For read-only stores: a function that puts an image there by other means and returns its URI.
    seed: Callable[[bytes], str] | None = None
    #: A function of the `Place`, for ``with``, that takes directory, bucket or pool away and brings it back.
    vanish: Callable[[Place], contextlib.AbstractContextManager[Any]] | None = None

    _places: ClassVar[dict[tuple[type, str], Place]] = {}

    @pytest.fixture
    def store_config(self) -> str:
        """Return the text of a configuration file; every class has its own."""
        raise NotImplementedError("the class needs a fixture store_config")

    @pytest.fixture
    def place(self, store_config: str, request: pytest.FixtureRequest) -> Iterator[Place]:
        """The store as the checks see it."""
        place = self._places.get((type(self), store_config))
        if place is None:
            place = Place(store_config, self.store_id, other_id=self.other_id, drivers=self.drivers)
            if self.keep_stores:
                self._keep(store_config, place, request.node.getparent(pytest.Class))
        place.seed, place.vanish = self.seed, self.vanish
        place.unreachable, place.too_small, place.foreign = self.unreachable, self.too_small, self.foreign
        yield place
        if not self.keep_stores:
            place.close()

    def _keep(self, store_config: str, place: Place, tests: pytest.Class) -> None:
        """Keep `place` for the tests that follow; close it at the end of the class."""
        key = (type(self), store_config)
        self._places[key] = place

        def close() -> None:
            del self._places[key]
            place.close()

        tests.addfinalizer(close)


def _test(behaviour: Behaviour) -> Callable[[Conformance, Place], None]:
    def test(self: Conformance, place: Place) -> None:
        try:
            behaviour.run(place)
        except NotOffered as reason:
            pytest.skip(f"not offered: {reason}")

    test.__name__ = behaviour.test
    test.__doc__ = behaviour.text
    return test


for _behaviour in behaviours():
    setattr(Conformance, _behaviour.test, _test(_behaviour))
