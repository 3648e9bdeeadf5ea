"""What a store is and what all of its operations share: its features, its health, the naming of its errors."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from store_lib import errors, opts
from store_lib.health import Gate, Health, with_room
from store_lib.interface import Address, Context, Driver, Feature, Limits, Probe, Status
from store_lib.location import Location
from store_lib.runtime import OperationContext, StoreRuntime
from store_lib.settings import StoreSettings
from store_lib.transfer.retry import Retry
from store_lib.transfer.seam import Seam

__all__ = ["StoreBase"]

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: What a store that the operator made read-only does not offer.
_CHANGES = Feature.WRITE | Feature.DELETE | Feature.ACLS | Feature.COPY | Feature.MOVE

#: Stands for no location where one may be given: None is something that a caller may pass by mistake.
_NOWHERE = Location("")


class StoreBase:
    """A configured store, without what it does; see `store_lib.Store`."""

    def __init__(self, settings: StoreSettings, driver: Driver[Any], runtime: StoreRuntime) -> None:
        self.settings = settings
        self._driver = driver
        self._runtime = runtime
        self._seam = Seam(driver)
        base = settings.base
        self._gate = Gate(settings.id, self._ask, base.probe_interval, runtime.clock)
        self._closed = False
        self._is_default = False
        found = driver.features & ~base.disabled_features
        self._features = found & ~_CHANGES if base.read_only else found

    def __repr__(self) -> str:
        return f"<Store {self.id} ({self.type})>"

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Name of the store in the configuration."""
        return self.settings.id

    @property
    def type(self) -> str:
        """Name of its driver."""
        return self.settings.driver

    @property
    def is_default(self) -> bool:
        """Whether it takes an image when no store is named."""
        return self._is_default

    @property
    def weight(self) -> int:
        """Rank among the stores."""
        return self.settings.base.weight

    @property
    def description(self) -> str | None:
        """What it is, for people."""
        return self.settings.base.store_description

    @property
    def schemes(self) -> tuple[str, ...]:
        """URI schemes that it reads; the first is the one it writes."""
        return self._driver.SCHEMES

    @property
    def read_only(self) -> bool:
        """Whether nothing may be changed here, by the driver's kind or by the operator."""
        return Feature.WRITE not in self.features

    @property
    def features(self) -> Feature:
        """What the store can do, less what the operator switched off."""
        return self._features

    @property
    def limits(self) -> Limits:
        """What an upload of unknown size may do here, told from the settings alone."""
        return self._driver.limits

    @property
    def health(self) -> Health:
        """What is known of its health; asks nobody."""
        return self._gate.health

    @property
    def probe_due(self) -> bool:
        """Whether its last probe is older than `probe_interval`, or there was none."""
        return self._gate.due

    def probe(self) -> Health:
        """Ask the storage whether it is usable, at most `probe_timeout` seconds."""
        self._open_only()
        return self._gate.ask()

    def prefix(self) -> str | None:
        """Return what every location written here begins with, None when there is nothing of the kind."""
        return self._driver.prefix()

    def backend(self) -> str | None:
        """Return what names the backend: equal for two stores means that they share it; None where nobody can tell."""
        with contextlib.suppress(errors.StoreLibError), self._seam:
            return self._driver.backend_id()
        return None

    def describe(self) -> dict[str, Any]:
        """Return the driver's properties, from the settings alone; JSON-able, no secret."""
        return dict(self._driver.describe())

    def options(self) -> dict[str, dict[str, Any]]:
        """Return every setting with its origin, secrets masked."""
        return self.settings.shown([*opts.BASE_OPTIONS, *self._driver.OPTIONS])

    # -- within -------------------------------------------------------------------------------------------------------

    def _ask(self) -> Probe:
        base = self.settings.base
        ctx = self._runtime.context(timeout=base.probe_timeout, deadline=base.probe_timeout)

        def probe() -> Probe:
            found = self._driver.probe(ctx)
            if found.status is Status.DOWN or Feature.CAPACITY not in self.features:
                return found
            try:
                return with_room(found, self._driver.capacity(ctx))
            except Exception as error:  # usable all the same
                LOG.info("store %s does not tell its room (%s)", self.id, type(error).__name__)
                return found

        with self._seam:
            return self._runtime.guarded(probe, base.probe_timeout, self._runtime.probe_pool)

    def _verb(
        self, verb: Callable[[Context], T], context: Any = None, gone: T | None = None, missing_ok: bool = False
    ) -> T:
        """Call one verb of the driver, tried again on passing errors, in bounded time.

        :param gone: to be returned when nothing is there any more after a try whose answer was lost.
        :param missing_ok: told to the driver.
        """
        ctx = self._runtime.context(context, missing_ok=missing_ok)
        timeout = self.settings.base.operation_timeout
        lost = False

        def once() -> T:
            nonlocal lost
            try:
                with self._seam:
                    return self._runtime.guarded(lambda: verb(ctx), timeout, progress=lambda: ctx.done)
            except errors.StoreLibError as error:
                if lost and gone is not None and isinstance(error, errors.NotFound):
                    return gone
                lost = lost or error.outcome is errors.Outcome.UNKNOWN
                raise

        return self._tried(ctx, once)

    def _tried(self, ctx: OperationContext, function: Callable[[], T]) -> T:
        """Call `function`, again on passing errors; the retries show in the store's health."""
        retries = 0

        def count() -> None:
            nonlocal retries
            retries += 1

        result = Retry(self.settings.base, self._runtime.clock, ctx.stop, count).call(function)
        self._gate.worked(retries)
        return result

    def _listing(self, verb: Callable[[Context], Iterator[T]]) -> Iterator[T]:
        """Yield what `verb` yields; what fails before the first item was given out is tried again."""
        ctx = self._runtime.context()

        def begin() -> tuple[Iterator[T], list[T]]:
            with self._seam:
                items = self._seam.iterate(verb(ctx))
            return items, [*itertools.islice(items, 1)]

        items, first = self._tried(ctx, begin)
        yield from first
        yield from items

    def _need(self, feature: Feature) -> None:
        self._open_only()
        if feature in self.features:
            return
        name = str(feature.name).lower()
        if self.settings.base.read_only and feature in self._driver.features:
            raise self._named(errors.ReadOnlyStore("the operator made the store read-only"), name, None)
        raise self._named(errors.NotSupported(f"this store does not offer {name!r}"), name, None)

    def _open_only(self) -> None:
        if self._closed:
            raise self._named(errors.StoreClosed("the store was closed"), "use", None)

    @contextlib.contextmanager
    def _during(self, operation: str, location: Location | str = _NOWHERE) -> Iterator[Any]:
        """Name store, operation and location in the errors that come from inside; yield the address of the location."""
        shown = None
        try:
            self._open_only()
            address: Address | None = None
            if location is not _NOWHERE:
                place = Location.of(location)
                shown = place.redacted
                if place.store not in (None, self.id):
                    raise errors.ForeignLocation(f"the location is of store {place.store}, not of {self.id}")
                address = self._driver.parse(place.uri)
            yield address
        except errors.StoreLibError as error:
            self._failed(self._named(error, operation, shown))
            raise

    def _failed(self, error: errors.StoreLibError) -> None:
        """Note an error that reaches the caller: after a time-out of the storage nobody knows whether it is usable."""
        if isinstance(error, errors.OperationTimeout) and error.store == self.id:
            self._gate.doubt()

    def _named(self, error: errors.StoreLibError, operation: str, location: str | None) -> errors.StoreLibError:
        if error.store is None:
            error.store, error.operation, error.location = self.id, operation, location
        return error

    def _location(self, address: Address, metadata: Mapping[str, Any]) -> Location:
        return Location(self._driver.uri(address), self.id, dict(metadata))
