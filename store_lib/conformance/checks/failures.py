"""Errors and what they say; secrets and where they must not stand."""

from __future__ import annotations

import contextlib
import functools
import logging
import pickle
from collections.abc import Callable, Iterator

import pytest

from store_lib import errors
from store_lib.conformance.behaviour import NotOffered, behaviour
from store_lib.conformance.place import Place, payload
from store_lib.interface import Feature

DELETE = Feature.WRITE | Feature.DELETE


def _error(ask: Callable[[], object]) -> errors.StoreLibError | None:
    """Return the error of what is asked in vain; whether there is one is another behaviour's matter."""
    try:
        ask()
    except errors.StoreLibError as error:
        return error
    return None


def _errors(place: Place) -> Iterator[errors.StoreLibError]:
    """Yield the errors of what anybody may ask in vain."""
    store = place.store()
    record = place.add(payload(80))
    store.delete(record.location)
    taken = place.add(payload(81))
    asked: list[Callable[[], object]] = [
        lambda: store.stat(record.location),
        lambda: store.open(record.location),
        lambda: store.delete(record.location),
        lambda: store.stat("no location at all"),
        lambda: store.open(taken.location, 0, 82),
    ]
    if Feature.EXCLUSIVE in store.features:
        asked.append(lambda: place.add(payload(82), image_id=taken.id))
    for ask in asked:
        if (error := _error(ask)) is not None:
            yield error


@behaviour(80, DELETE)
def errors_name_the_place(place: Place) -> None:
    """An error names the store, the operation and the location, and says them in its text."""
    store = place.store()
    record = place.add(payload(800))
    store.delete(record.location)
    for operation in ("stat", "open", "delete"):
        error = _error(functools.partial(getattr(store, operation), record.location))
        if error is None:
            continue
        assert (error.store, error.operation, error.location) == (place.store_id, operation, record.location.redacted)
        assert place.store_id in str(error)
        assert operation in str(error)


@behaviour(81, DELETE)
def errors_hold_no_secret(place: Place) -> None:
    """No error holds a secret of the configuration, in its text, its repr, or the errors that caused it."""
    for found in _errors(place):
        error: BaseException | None = found
        while error is not None:
            place.no_secret_in(f"{error} {error!r} {error.args}", "an error")
            error = error.__cause__ or error.__context__


@behaviour(82, DELETE)
def logs_hold_no_secret(place: Place) -> None:
    """No log message holds a secret of the configuration, at any level."""
    with _logged() as messages:
        for stores in (place.fresh(), place.fresh(part_size=place.part)):
            store = stores[place.store_id]
            store.probe()
            record = place.add(payload(820), store)
            store.open(record.location).close()
            store.delete(record.location)
            with contextlib.suppress(errors.NotFound):
                store.delete(record.location)
    for message in messages:
        place.no_secret_in(message, "a log message")


@contextlib.contextmanager
def _logged() -> Iterator[list[str]]:
    """Collect everything that store_lib logs."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, handler = logging.getLogger("store_lib"), Collector()
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@behaviour(83)
def descriptions_hold_no_secret(place: Place) -> None:
    """Neither the description of a store nor the list of its options nor its repr holds a secret."""
    store = place.store()
    shown = f"{store!r} {store._driver!r} {store.describe()} {store.options()} {store.settings!r} {vars(store.limits)}"
    place.no_secret_in(shown, "the description")


@behaviour(84, DELETE)
def errors_are_of_the_tree(place: Place) -> None:
    """Every error is of store_lib's own closed tree, and survives being sent to another process."""
    for error in _errors(place):
        assert type(error).__module__ == "store_lib.errors", f"{type(error)} is not of the tree"
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.transient) == (type(error), str(error), error.transient)


@behaviour(85, DELETE)
def missing_is_no_passing_failure(place: Place) -> None:
    """That an image is missing is for good: not transient, its outcome is known, and it is asked for once."""
    store, script = place.scripted()
    record = place.add(payload(850), store)
    store.delete(record.location)
    script.clear()
    for operation in ("stat", "open", "delete"):
        error = _error(functools.partial(getattr(store, operation), record.location))
        if isinstance(error, errors.NotFound):
            assert not error.transient
            assert error.outcome is errors.Outcome.NOT_DONE
            assert len(script.of(operation)) == 1


@behaviour(86, DELETE)
def not_found_proves_the_place(place: Place) -> None:
    """When the place itself is away, nothing is NotFound: the store is unavailable."""
    if place.vanish is None:
        raise NotOffered("the tests of this store name no way to take the place away")
    store = place.fresh(retry_attempts=1, probe_interval=0)[place.store_id]
    record = place.add(payload(860), store)
    with place.vanish(place):
        for ask in (store.stat, store.open, store.delete):
            with pytest.raises(errors.StoreUnavailable):
                ask(record.location)
    assert store.stat(record.location)


@behaviour(87, Feature.WRITE)
def no_room(place: Place) -> None:
    """An image for which there is no room is refused as StoreFull, and nothing of it is there."""
    if not place.too_small:
        raise NotOffered("the tests of this store name no options that make it too small")
    store = place.fresh(**{"part_size": place.part, **place.too_small})[place.store_id]
    for size in (3 * place.part, None):
        with pytest.raises(errors.StoreFull):
            place.add(iter([payload(3 * place.part)]), store, size=size)
        assert place.absent(place.last_id, store)
