"""Fixtures for the tests of a protocol, whose conftest has one of its own: `protocol`, a `Protocol` that is set up."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from store_lib.drivers.cinder.base import connector_of
from store_lib.drivers.cinder.host import Host
from store_lib.tests.functional.devices.host import PATIENCE
from store_lib.tests.functional.devices.stand_in import StandIn
from store_lib.tests.support import MIB, until

__all__ = ["Protocol", "make_connector", "make_store", "make_target", "stand_in"]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A protocol, with targets in the guest's own kernel.

    :param name: Cinder's.
    :param target: makes a target with one volume of 64 MiB: see `stand_in.Target`.
    :param places: where a target can be reached, by one path each.
    :param found: returns the names of all on this host that has to do with targets: devices, maps, connections.
    :param leave: has this host leave all targets.
    """

    name: str
    target: Callable[..., Any]
    places: Sequence[str]
    found: Callable[[], list[str]]
    leave: Callable[[], None]

    def nothing_left(self):
        """Wait until nothing of any target is on this host."""
        try:
            until(lambda: not self.found(), PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"left on this host: {self.found()}") from error


@pytest.fixture(scope="session")
def stand_in(protocol):
    """Return what answers as a Cinder would, with real devices."""
    made = StandIn(protocol.target, protocol.places)
    yield made
    protocol.leave()
    made.stop()


@pytest.fixture
def make_target(protocol):
    """Return a function that makes a target with one volume; after the test nothing of it may be on this host."""
    made = []

    def make(*arguments, **options):
        made.append(protocol.target(*arguments, **options))
        return made[-1]

    yield make
    protocol.leave()
    for target in made:
        target.remove()


@pytest.fixture
def make_store(make_stores, stand_in):
    """Return a function that makes a store, with parts of a MiB, that tries nothing twice."""

    def make(**options):
        section = stand_in.section("it", part_size=MIB, probe_interval=0, retry_attempts=1, **options)
        return make_stores(f"[DEFAULT]\nenabled_backends = it:cinder\n{section}\n")["it"]

    return make


@pytest.fixture
def make_connector(make_store, protocol):
    """Return a function that makes the connector; its keyword arguments are options of the store."""

    def make(**options):
        return connector_of(Host(make_store(**options).settings), protocol.name)

    return make
