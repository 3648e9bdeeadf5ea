"""All stores of a configuration: made together, found by id, by location, by weight."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from oslo_config import cfg

from store_lib import errors, opts
from store_lib.copying import Copying
from store_lib.errors import Mistake
from store_lib.health import Gate, Health, Prober
from store_lib.interface import Driver
from store_lib.location import Location, redact, scheme_of
from store_lib.record import ImageRecord
from store_lib.registry import DriverRegistry
from store_lib.runtime import Clock, SharedRuntime, StoreRuntime
from store_lib.settings import register, resolve
from store_lib.store import Store
from store_lib.transfer.progress import ProgressFunction

__all__ = ["StoreEntry", "Stores"]

LOG = logging.getLogger(__name__)

_STORE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_RESERVED = ("DEFAULT", opts.GLOBAL_GROUP, opts.SHARED_GROUP)


@dataclasses.dataclass(frozen=True)
class StoreEntry:
    """One store that is to be made of a configuration.

    :param id: of the store.
    :param driver: name of its driver.
    :param group: that holds its options; the one called like the store when None.
    :param shared: whether ``[backend_defaults]`` counts for the driver's options.
    :param defaults: other defaults of its options.
    """

    id: str
    driver: str
    group: str | None = None
    shared: bool = True
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Stores(Mapping[str, Store]):
    """The stores of one configuration, a mapping from id to `Store`.

    Several objects of this class in one process share no state.  Nothing is connected and no thread is started before
    the first use.  Safe for threads.  Use it in ``with``, or call `close`.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        default: str | None,
        broken: Mapping[str, errors.ConfigurationError],
        shared: SharedRuntime,
    ) -> None:
        self._stores = {store.id: store for store in stores}
        self._default = default
        self._shared = shared
        for store in stores:
            store._is_default = store.id == default
        gates = [store._gate for store in stores]
        self._prober = Prober(gates, lambda due: shared.map(Gate.ask, due), shared.clock)
        #: Stores that could not be made, with the reason; only `from_config` with ``strict=False`` leaves any.
        self.broken = dict(broken)

    @classmethod
    def from_config(
        cls,
        conf: cfg.ConfigOpts,
        strict: bool = True,
        *,
        drivers: Mapping[str, type[Driver[Any]]] | None = None,
        clock: Clock | None = None,
        threads: int | None = None,
    ) -> Stores:
        """Make the stores that `conf` describes.

        Options are registered on `conf`; no value or default of it is changed, and values are read once, now.

        :param strict: raise when anything is wrong; else leave out the stores that are wrong, in `broken`.
        :param drivers: further drivers by name.
        :param clock: for tests.
        :param threads: for digests, of all stores together.
        :raises ConfigurationError: holds every mistake of every store.
        """
        return _Maker(conf, DriverRegistry(drivers), SharedRuntime(clock, threads)).make(cls, strict)

    @classmethod
    def from_entries(
        cls,
        conf: cfg.ConfigOpts,
        entries: Iterable[StoreEntry],
        default: str | None = None,
        *,
        drivers: Mapping[str, type[Driver[Any]]] | None = None,
    ) -> Stores:
        """Make just these stores with the options of `conf`, for a service that names its stores in another way.

        Mistakes are logged, and the stores that have any are left out, in `broken`.

        :param default: id of the default store.
        :param drivers: further drivers by name.
        """
        return _Maker(conf, DriverRegistry(drivers), SharedRuntime()).make_entries(cls, entries, default)

    @classmethod
    def from_file(cls, *paths: str | os.PathLike[str], strict: bool = True) -> Stores:
        """Make the stores that configuration files describe; of several, the last one that sets an option wins.

        :raises ConfigurationError: a file cannot be read, or anything in it is wrong.
        """
        conf = cfg.ConfigOpts()
        arguments = [word for path in paths for word in ("--config-file", os.fspath(path))]
        try:
            conf(arguments, project="store_lib", default_config_files=[], default_config_dirs=[])
        except cfg.Error as error:
            mend = "name a file that exists and holds [groups] of NAME = VALUE"
            raise errors.ConfigurationError([Mistake(None, None, str(error).replace("\n", " "), mend)]) from error
        return cls.from_config(conf, strict)

    # -- finding a store ----------------------------------------------------------------------------------------------

    def __getitem__(self, store_id: str) -> Store:
        try:
            return self._stores[store_id]
        except KeyError:
            if store_id in self.broken:
                raise self.broken[store_id] from None
            known = ", ".join(self._stores) or "none"
            raise errors.UnknownStore(f"there is no store {store_id!r}; there are: {known}") from None

    def get(self, store_id: str, default: Any = None) -> Any:
        """Return the store of that id, `default` when there is none."""
        return self._stores.get(store_id, default)

    def __contains__(self, store_id: object) -> bool:
        return store_id in self._stores

    def __iter__(self) -> Iterator[str]:
        return iter(self._stores)

    def __len__(self) -> int:
        return len(self._stores)

    @property
    def default(self) -> Store:
        """The store that takes an image when none is named.

        :raises UnknownStore: there are several and the configuration names none.
        """
        if self._default is None:
            raise errors.UnknownStore("no default store is set; set default_backend in [glance_store], or name a store")
        return self[self._default]

    def by_weight(self) -> list[Store]:
        """Return the stores, the heaviest first, equals in the order of the configuration."""
        return sorted(self._stores.values(), key=lambda store: -store.weight)

    def locate(self, location: Location | str) -> Store:
        """Return the store that a location belongs to: the one it names, else the heaviest that owns its URI.

        :raises UnknownStore: none does.
        :raises BadLocation: it is malformed.
        """
        place = Location.of(location)
        if place.store is not None:
            return self[place.store]
        scheme = scheme_of(place.uri)
        malformed: errors.BadLocation | None = None
        for store in self.by_weight():
            if scheme not in store.schemes:
                continue
            try:
                store._driver.parse(place.uri)
                return store
            except errors.ForeignLocation:
                continue
            except errors.BadLocation as error:
                malformed = error
        if malformed is not None:
            raise malformed
        raise errors.UnknownStore(f"no store has the location {redact(place.uri)}")

    # -- from store to store ------------------------------------------------------------------------------------------

    def copy(
        self,
        location: Location | str,
        to: str,
        *,
        image_id: str | None = None,
        delete_source: bool = False,
        verify: str = "backend",
        context: Any = None,
        progress: ProgressFunction | None = None,
        cancel: threading.Event | None = None,
    ) -> ImageRecord:
        """Copy an image into another store, or into the same one under another id, and return the copy's record.

        The backend copies by itself where both stores share one; else the bytes are read and written, holes left
        holes. The copy becomes visible all at once or not at all; after any failure the source is as it was.

        :param to: id of the store that gets the copy.
        :param image_id: id of the copy; that of the image when None.
        :param delete_source: delete the source once the copy is there and verified.
        :param verify: what is to prove the copy: ``none``; ``backend``: its size, and the storage's checksum where
            that can be compared; ``read``: it is read back. The record's `verified_by` says what did.
        :param context: the service's own request context, handed to both drivers.
        :param progress: called with bytes done and bytes in all, at most ten times a second.
        :param cancel: set it to end the copy with `Cancelled`.
        :raises Duplicate: the id is taken in the other store; the image there was not touched.
        :raises IntegrityError: the copy is not the same image; it was removed.
        :raises SourceRemains: the copy is there and good, and the source could not be deleted.
        :raises BadRequest: the location does not tell the id of the image, and `image_id` was not said.
        """
        return Copying(
            self.locate(location),
            self[to],
            location,
            image_id=image_id,
            delete_source=delete_source,
            verify=verify,
            context=context,
            progress=progress,
            cancel=cancel,
        ).run()

    def migrate(
        self,
        location: Location | str,
        to: str,
        *,
        delete_source: bool = False,
        verify: str = "backend",
        context: Any = None,
        progress: ProgressFunction | None = None,
        cancel: threading.Event | None = None,
    ) -> ImageRecord:
        """Bring an image into another store under its own id; else as `copy`.

        With `delete_source` it is moved: where both stores share a backend that can do so, without a second copy at
        any time.
        """
        return self.copy(
            location,
            to,
            delete_source=delete_source,
            verify=verify,
            context=context,
            progress=progress,
            cancel=cancel,
        )

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self, background: bool = False) -> dict[str, Health]:
        """Ask every store that has `probe_on_start` whether it is usable, all at once; return what each said.

        A store that is down stays closed for add and delete until it answers; nothing is raised.

        :param background: go on asking all stores in a thread of its own, each once its `probe_interval` has passed,
            until `close`; a process that is forked from this one has no such thread until it calls this, too.
        """
        if background:
            self._prober.start()
        return self._asked([store for store in self._stores.values() if store.settings.base.probe_on_start])

    def probe(self, *store_ids: str) -> dict[str, Health]:
        """Ask stores, all of them when none is named, whether they are usable, all at once; return what each said.

        :raises UnknownStore: there is no store of such an id.
        """
        return self._asked([self[each] for each in store_ids or self._stores])

    def _asked(self, stores: Sequence[Store]) -> dict[str, Health]:
        found = self._shared.map(Store.probe, stores) if stores else []
        return {store.id: health for store, health in zip(stores, found, strict=True)}

    def close(self, timeout: float = 10.0) -> list[str]:
        """Release everything in at most about `timeout` seconds; return what is stuck, a line each."""
        deadline = self._shared.deadline(timeout)
        stuck = self._prober.stop(deadline.left() or 0)
        stuck += [line for store in self._stores.values() for line in store.close(deadline.left() or 0)]
        return stuck + self._shared.close(deadline.left() or 0)

    def __enter__(self) -> Stores:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class _Maker:
    """Reads one configuration and collects every mistake in it."""

    def __init__(self, conf: cfg.ConfigOpts, registry: DriverRegistry, shared: SharedRuntime) -> None:
        self._conf = conf
        self._registry = registry
        self._shared = shared
        self._mistakes: list[Mistake] = []
        self._broken: dict[str, errors.ConfigurationError] = {}

    def make(self, cls: type[Stores], strict: bool) -> Stores:
        """Return the stores, or raise every mistake."""
        register(self._conf, "DEFAULT", opts.DEFAULT_OPTIONS)
        register(self._conf, opts.GLOBAL_GROUP, opts.GLOBAL_OPTIONS)
        enabled = self._enabled()
        entries = [StoreEntry(store_id, driver) for store_id, driver in enabled.items()]
        return self._finish(cls, self._all(entries), self._default(enabled), strict)

    def make_entries(self, cls: type[Stores], entries: Iterable[StoreEntry], default: str | None) -> Stores:
        """Return the stores that can be made."""
        return self._finish(cls, self._all(entries), default, strict=False)

    def _all(self, entries: Iterable[StoreEntry]) -> list[Store]:
        return [store for entry in entries if (store := self._store(entry))]

    def _finish(self, cls: type[Stores], stores: Sequence[Store], default: str | None, strict: bool) -> Stores:
        found = [*self._mistakes, *(each for error in self._broken.values() for each in error.mistakes)]
        if found and strict:
            raise errors.ConfigurationError(found)
        for mistake in found:
            LOG.warning("%s", mistake)
        return cls(stores, default, self._broken, self._shared)

    def _enabled(self) -> dict[str, str]:
        option = "[DEFAULT] enabled_backends"
        try:
            enabled = dict(self._conf.enabled_backends or {})
        except (ValueError, cfg.Error) as error:
            self._mistakes.append(Mistake(None, option, str(error), "write ID:TYPE, ID:TYPE"))
            return {}
        if not enabled:
            self._mistakes.append(Mistake(None, option, "no store is enabled", "write for instance fast:file"))
        return enabled

    def _default(self, enabled: Mapping[str, str]) -> str | None:
        option = f"[{opts.GLOBAL_GROUP}] default_backend"
        default: str | None = self._conf[opts.GLOBAL_GROUP].default_backend
        if not default:
            if len(enabled) > 1:
                mend = f"set it to one of {', '.join(enabled)}"
                self._mistakes.append(Mistake(None, option, "there are several stores and none is the default", mend))
            return next(iter(enabled)) if len(enabled) == 1 else None
        if default not in enabled and enabled:
            mend = f"set it to one of {', '.join(enabled)}"
            self._mistakes.append(Mistake(None, option, f"there is no store {default!r}", mend))
        return default

    def _store(self, entry: StoreEntry) -> Store | None:
        try:
            return self._made(entry)
        except errors.ConfigurationError as error:
            self._broken[entry.id] = error
            return None

    def _made(self, entry: StoreEntry) -> Store:
        if entry.id in _RESERVED or not _STORE_ID.fullmatch(entry.id):
            problem = f"{entry.id!r} cannot be the id of a store"
            mend = f"use letters, digits, _ . - and none of {', '.join(_RESERVED)}"
            raise errors.ConfigurationError([Mistake(entry.id, "enabled_backends", problem, mend)])
        driver = self._registry.load(entry.driver, entry.id)
        settings, mistakes = resolve(
            self._conf,
            entry.id,
            entry.driver,
            driver,
            group=entry.group,
            shared=entry.shared,
            defaults=entry.defaults,
        )
        if settings is None:
            raise errors.ConfigurationError(mistakes)
        runtime = StoreRuntime(entry.id, settings.base, self._shared)
        return Store(settings, driver(settings, runtime), runtime)
