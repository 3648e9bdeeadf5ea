"""The place under test: its stores, the images made in it, and what checks need around them."""

from __future__ import annotations

import contextlib
import functools
import itertools
import pathlib
import random
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from oslo_config import cfg

from store_lib import errors
from store_lib.conformance.behaviour import NotOffered
from store_lib.conformance.faults import QuickClock, Script, scripted
from store_lib.interface import KIB, Driver, Feature, Limits
from store_lib.location import Location
from store_lib.record import ImageRecord
from store_lib.registry import DriverRegistry
from store_lib.runtime import Clock
from store_lib.store import Store
from store_lib.stores import Stores

__all__ = ["Place", "content", "payload", "until"]

#: Smallest `part_size` that an operator may set.
_LEAST_PART = 64 * KIB
#: Seconds that a probe may take here: a store on a busy machine is not down.
_PATIENCE = 60
_NO_RETURN = bytes.maketrans(b"\r", b"-")
_seeds = itertools.count()

Options = tuple[tuple[str, Any], ...]


def payload(size: int) -> bytes:
    """Return `size` bytes without a pattern and without a carriage return, other ones at each call."""
    return random.Random(next(_seeds)).randbytes(size).translate(_NO_RETURN)


def until(ready: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait until ``ready()``; fail when `what` does not happen in time."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"it did not happen in {seconds:g} s: {what}"
        time.sleep(0.005)


class Place:
    """One configured store, made as often and with as many faults as the checks want.

    :param config: text of a configuration file that holds the store.
    :param store_id: which of its stores.
    :param other_id: another store of it, for copies inside the same backend.
    :param drivers: further drivers by name.
    :param clock: of all stores; those with faults wait next to no time between two tries in any case.
    """

    def __init__(
        self,
        config: str,
        store_id: str,
        *,
        other_id: str | None = None,
        drivers: Mapping[str, type[Driver[Any]]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.store_id = store_id
        self.other_id = other_id
        #: Puts an image there by other means and returns its URI, for stores that are read-only.
        self.seed: Callable[[bytes], str] | None = None
        #: Takes the place (directory, bucket, pool) away for the time of ``with``.
        self.vanish: Callable[[Place], contextlib.AbstractContextManager[Any]] | None = None
        #: Options that make the store unreachable.
        self.unreachable: Mapping[str, Any] = {}
        #: Options with which it has no room for an image of three parts.
        self.too_small: Mapping[str, Any] = {}
        #: URIs that are well formed but belong to another place of that kind.
        self.foreign: tuple[str, ...] = ()
        self._drivers = dict(drivers or {})
        self._clock = clock
        self._folder = tempfile.TemporaryDirectory(prefix="store_lib-conformance-")
        self.folder = pathlib.Path(self._folder.name)
        self._config = self.folder / "given.conf"
        self._config.write_text(config)
        self._kept: dict[Any, tuple[Stores, Script]] = {}
        self._fresh: list[Stores] = []
        self._made: list[tuple[Store, str]] = []
        self._ids: list[str] = []
        self._model: ImageRecord | None = None

    # -- stores -------------------------------------------------------------------------------------------------------

    def store(self, **options: Any) -> Store:
        """Return the store, with `options` in its group; the same one each time, with parts of `part` bytes."""
        return self._keep(self._usual(options))[0][self.store_id]

    def scripted(self, **options: Any) -> tuple[Store, Script]:
        """Return the store with a script for its driver, which is clear; see `store`."""
        stores, script = self._keep(self._usual(options), faults=True)
        script.clear()
        return stores[self.store_id], script

    def scripted_stores(self, **options: Any) -> tuple[Stores, Script]:
        """Return all stores, with a script for the driver of the one under test; see `scripted`."""
        stores, script = self._keep(self._usual(options), faults=True, all_of_them=True)
        script.clear()
        return stores, script

    def stores(self, **options: Any) -> Stores:
        """Return all stores that the checks use: this one, the other one, and ``conformance-memory``."""
        return self._keep(self._usual(options), all_of_them=True)[0]

    def fresh(self, **options: Any) -> Stores:
        """Return the store made anew, in its `Stores`, which is closed after the check."""
        self._fresh.append(self.make({"probe_timeout": _PATIENCE, **options}))
        return self._fresh[-1]

    @functools.cached_property
    def part(self) -> int:
        """Bytes of a part: as small as the store allows."""
        limits = self.limits
        least = max(_LEAST_PART, limits.min_part)
        return -(-least // limits.align) * limits.align

    @functools.cached_property
    def limits(self) -> Limits:
        """What the store tells of its uploads."""
        return self._keep({})[0][self.store_id].limits

    @property
    def several(self) -> int:
        """Parts of an image that certainly goes in parts."""
        return 3 if self.limits.whole_max < 3 * self.part else 2 + -(-self.limits.whole_max // self.part)

    def _usual(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"part_size": self.part, "probe_timeout": _PATIENCE, **options}

    def _keep(
        self, options: dict[str, Any], *, faults: bool = False, all_of_them: bool = False
    ) -> tuple[Stores, Script]:
        key = (faults, all_of_them, tuple(sorted(options.items())))
        if key not in self._kept:
            script = Script()
            self._kept[key] = (self.make(options, script if faults else None, all_of_them), script)
        return self._kept[key]

    def make(
        self, options: Mapping[str, Any] | None = None, script: Script | None = None, all_of_them: bool = False
    ) -> Stores:
        """Return new stores, which the caller closes.

        :param script: for the driver of the store.
        :param all_of_them: not the one under test alone.
        """
        conf = cfg.ConfigOpts()
        arguments = [
            "--config-file",
            str(self._config),
            "--config-file",
            str(self._overrides(options or {}, all_of_them)),
        ]
        conf(arguments, project="store_lib", default_config_files=[], default_config_dirs=[])
        drivers = dict(self._drivers)
        if script is not None:
            name = self._kinds[self.store_id]
            drivers[name] = scripted(DriverRegistry(self._drivers).load(name), script)
        clock = self._clock or (QuickClock() if script is not None else None)
        return Stores.from_config(conf, drivers=drivers, clock=clock)

    @functools.cached_property
    def _kinds(self) -> dict[str, str]:
        """Driver of each store that takes part."""
        conf = cfg.ConfigOpts()
        conf.register_opt(cfg.DictOpt("enabled_backends", default={}))
        conf(["--config-file", str(self._config)], default_config_files=[], default_config_dirs=[])
        known = dict(conf.enabled_backends)
        for wanted in filter(None, (self.store_id, self.other_id)):
            if wanted not in known:
                raise errors.UnknownStore(f"there is no store {wanted!r}; there are: {', '.join(known) or 'none'}")
        chosen = {name: known[name] for name in (self.store_id, self.other_id) if name}
        return {**chosen, "conformance-memory": "memory"}

    def _overrides(self, options: Mapping[str, Any], all_of_them: bool) -> pathlib.Path:
        chosen = self._kinds if all_of_them else {self.store_id: self._kinds[self.store_id]}
        enabled = ", ".join(f"{name}:{kind}" for name, kind in chosen.items())
        lines = ["[DEFAULT]", f"enabled_backends = {enabled}"]
        lines += ["[glance_store]", f"default_backend = {self.store_id}", f"[{self.store_id}]"]
        for name, values in options.items():
            lines += [f"{name} = {value}" for value in (values if isinstance(values, list) else [values])]
        # Elsewhere means that no backend copies or moves between the two, be the one under test of memory, too.
        lines += ["[conformance-memory]", "disabled_features = copy, move"]
        path = self.folder / f"{uuid.uuid4().hex}.conf"
        path.write_text("\n".join(lines) + "\n")
        return path

    # -- images -------------------------------------------------------------------------------------------------------

    def new_id(self) -> str:
        """Return an id that no image has."""
        self._ids.append(f"conformance-{uuid.uuid4().hex}")
        return self._ids[-1]

    @property
    def last_id(self) -> str:
        """The id that `new_id` returned last, for an image that was added or for one that could not be."""
        return self._ids[-1]

    def add(self, data: Any, store: Store | None = None, image_id: str | None = None, **how: Any) -> ImageRecord:
        """Add an image to the store, or to another one; its size is told where `data` is bytes."""
        store = store or self.store()
        if isinstance(data, bytes):
            how.setdefault("size", len(data))
        record = store.add(image_id or self.new_id(), data, **how)
        self.remember(store, record.location)
        return record

    def put(self, data: bytes, store: Store | None = None) -> str:
        """Put an image there by whatever means the place has and return its URI.

        :param store: another object of the store; only its own memory tells one from the other.
        """
        if Feature.WRITE in self.store().features:
            return self.add(data, store).location.uri
        if self.seed is None:
            raise NotOffered("the store is read-only and its tests name no way to put an image there")
        return self.seed(data)

    def remember(self, store: Store, location: Location | str) -> None:
        """Have an image removed after the check."""
        self._made.append((store, Location.of(location).uri))

    def location_of(self, image_id: str) -> str:
        """Return the URI that the image of that id would have."""
        if self._model is None:
            self._model = self.store().add(f"conformance-{uuid.uuid4().hex}", b"model", 5)
        if self._model.id not in self._model.location.uri:
            raise NotOffered("locations of this store do not hold the image's id")
        return self._model.location.uri.replace(self._model.id, image_id)

    def absent(self, image_id: str, store: Store | None = None) -> bool:
        """Whether no image of that id can be seen: neither opened nor listed."""
        store = store or self.store()
        with contextlib.suppress(NotOffered, errors.StoreLibError):
            store.open(self.location_of(image_id)).close()
            return False
        return Feature.LIST not in store.features or all(image_id != each.id for each in store.list())

    def no_secret_in(self, text: str, where: str) -> None:
        """See that no secret of the configuration stands in `text`."""
        for secret in self.secrets:
            assert secret not in text, f"a secret of the configuration stands in {where}"

    @functools.cached_property
    def secrets(self) -> tuple[str, ...]:
        """Values of the store's options that are secret, and what its tests name besides."""
        store = self.store()
        values = [store.settings[option.dest] for option in store._driver.OPTIONS if option.secret]
        return tuple(str(value) for value in values if value and len(str(value)) > 5)  # shorter ones stand anywhere

    def tidy(self) -> None:
        """Remove the images of the check and close what it alone used."""
        made, self._made, self._ids = self._made, [], []
        for store, uri in made:
            with contextlib.suppress(errors.StoreLibError):
                store.delete(uri, missing_ok=True)
        fresh, self._fresh = self._fresh, []
        for stores in fresh:
            stores.close()

    def close(self) -> None:
        """Remove what was made and close everything."""
        self.tidy()
        if self._model is not None:
            with contextlib.suppress(errors.StoreLibError):
                self.store().delete(self._model.location.uri, missing_ok=True)
        for stores, _ in self._kept.values():
            stores.close()
        self._folder.cleanup()

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def content(store: Store, location: Location | str) -> bytes:
    """Return the bytes of an image."""
    with store.open(location) as reader:
        return reader.read()
