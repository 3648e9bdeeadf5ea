"""`Store`: what a service holds as "the driver"; it hands everything on to a `store_lib.Store`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from oslo_config import cfg

from store_lib import Feature, ImageReader, Location, errors, opts
from store_lib import Store as CoreStore
from store_lib.compat import location as locations
from store_lib.compat._attributes import attribute
from store_lib.compat._data import ImageData
from store_lib.compat._errors import translated
from store_lib.compat._generation import Generation
from store_lib.compat.capabilities import StoreCapability, capabilities_of

__all__ = ["SHARED_CONF_GROUP", "Store"]

SHARED_CONF_GROUP = opts.SHARED_GROUP
_MIB = 1024 * 1024

#: Location, size in bytes, md5 and metadata; with a digest of the caller's choice before the metadata.
Added = tuple[Any, ...]


class Store(StoreCapability):
    """One store, as image services address it.  Made by the functions of this package; safe for threads.

    ``location`` arguments take what ``location.get_location_from_uri_and_backend`` returns, or a URI.  Attributes that
    a type of store has beyond those here are in `store_lib.compat._attributes`.

    :param core: the store itself.
    :param generation: the stores that it was made with.
    :param conf: that it was made from.
    :param backend: its id; None in the single-store mode.
    """

    OPTIONS: ClassVar[Sequence[cfg.Opt] | None] = None
    MULTI_BACKEND_OPTIONS: ClassVar[Sequence[cfg.Opt] | None] = None
    READ_CHUNKSIZE = 4 * _MIB
    WRITE_CHUNKSIZE = READ_CHUNKSIZE

    def __init__(self, core: CoreStore, generation: Generation, conf: cfg.ConfigOpts, backend: str | None) -> None:
        super().__init__(capabilities_of(core.features))
        self.core = core
        self.conf = conf
        self.backend_group = backend
        self._generation = generation

    def __repr__(self) -> str:
        return f"<glance_store {self.core.id} ({self.core.type})>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "core":
            raise AttributeError(name)
        return attribute(self.core, name)

    @property
    def weight(self) -> int:
        """Rank among the stores, as the store's own group has it now; 0 in the single-store mode.

        Services read the option there themselves, and it may be set while they run.
        """
        return int(self.conf[self.backend_group].weight) if self.backend_group else 0

    @property
    def url_prefix(self) -> str | None:
        """What every location written here begins with; None in the single-store mode."""
        if not self.backend_group:
            return None
        return self.core.prefix()

    def get_schemes(self) -> tuple[str, ...]:
        """Return the URI schemes that it reads."""
        return self.core.schemes

    def configure(self, re_raise_bsc: bool = False) -> None:
        """Make the directories of a file store; nothing else is asked before its first use.

        A directory that cannot be made closes the store for adding, with a warning, until it can.
        """
        if "file" in self.core.schemes:
            with self.in_use("get") as core:
                core.probe()

    # -- images -------------------------------------------------------------------------------------------------------

    def add(self, image_id: Any, image_file: Any, image_size: int, *args: Any, **kwargs: Any) -> Added:
        """Store an image.

        Further arguments are ``hashing_algo, context, verifier``; without a digest's name, ``context, verifier``.

        :param image_file: an object with ``read(n)``, or an iterable of bytes.
        :param image_size: bytes; 0 or None when not known.
        :param verifier: an object with ``update(bytes)``; verifying is the caller's business.
        :returns: location, size in bytes, md5 and metadata; with a digest's name that digest before the metadata.
        """
        asked = _AddArguments(*args, **kwargs) if args and isinstance(args[0], str) else _old_arguments(*args, **kwargs)
        digests = ["md5", asked.hashing_algo] if asked.hashing_algo else ["md5"]
        verifier = _Updates(asked.verifier) if asked.verifier is not None else None
        with self.in_use("add") as core:
            record = core.add(
                str(image_id), image_file, image_size or None, digests=digests, context=asked.context, verifier=verifier
            )
        metadata = _copied(record.location.metadata)
        if self.backend_group:
            metadata["store"] = self.backend_group
        told = (record.location.uri, record.size, record.digests["md5"])
        if asked.hashing_algo:
            return (*told, record.digests[asked.hashing_algo.lower()], metadata)
        return (*told, metadata)

    def get(
        self, location: Any, offset: int = 0, chunk_size: int | None = None, context: Any = None
    ) -> tuple[ImageData, int]:
        """Open an image.

        :param offset: first byte.
        :param chunk_size: most bytes, None for all.
        :returns: the bytes, and how many the image has; `chunk_size` where that is given.
        """
        with translated("get", self.core):
            core, release = self._held()
        try:
            with translated("get", core):
                reader = _opened(core, _place(location), offset or 0, chunk_size, context)
        except BaseException:
            release()
            raise
        return ImageData(reader, core, release), chunk_size or reader.info.size

    def get_size(self, location: Any, context: Any = None) -> int:
        """Return the size of an image in bytes."""
        with self.in_use("get_size") as core:
            return core.stat(_place(location), context=context).size

    def delete(self, location: Any, context: Any = None) -> None:
        """Remove an image."""
        with self.in_use("delete") as core:
            core.delete(_place(location), context=context)

    def set_acls(
        self,
        location: Any,
        public: bool = False,
        read_tenants: Iterable[str] | None = None,
        write_tenants: Iterable[str] | None = None,
        context: Any = None,
    ) -> None:
        """Say which projects may use an image; a store without access lists does nothing, at no cost."""
        if Feature.ACLS not in self.core.features:
            return
        with self.in_use("set_acls") as core:
            core.set_acls(
                _place(location),
                public=public,
                read_tenants=read_tenants or (),
                write_tenants=write_tenants or (),
                context=context,
            )

    def check_location(self, uri: str) -> None:
        """See that `uri` is well formed; no I/O.

        :raises BadStoreUri: it is not.
        """
        with translated("parse", self.core):
            try:
                self.core.image_id(uri)
            except errors.ForeignLocation:
                pass  # well formed; using it will be refused

    @contextlib.contextmanager
    def in_use(self, operation: str) -> Iterator[CoreStore]:
        """Yield the store that does the work, kept open within; its errors become what services expect.

        :param operation: as `store_lib.compat._errors.translated_error` has it.
        """
        with translated(operation, self.core):
            core, release = self._held()
            try:
                yield core
            finally:
                release()

    def _held(self) -> tuple[CoreStore, Callable[[], None]]:
        """Return the store, kept open: the one that took its place when it was closed since it was looked up."""
        store: Store | None = self
        while store is not None:
            release = store._generation.hold()
            if release is not None:
                return store.core, release
            store = store._successor()
        raise errors.StoreClosed(f"store {self.core.id} was closed")

    def _successor(self) -> Store | None:
        """Return the store that is in use under this one's name, None when that is this one or there is none."""
        for scheme in self.core.schemes:
            if self.backend_group:
                row = locations.SCHEME_TO_CLS_BACKEND_MAP.get(scheme, {}).get(self.backend_group)
            else:
                row = locations.SCHEME_TO_CLS_MAP.get(scheme)
            if row is not None:
                found: Store = row["store"]
                return None if found is self else found
        return None


class _AddArguments:
    """The optional arguments of an add."""

    def __init__(self, hashing_algo: str | None = None, context: Any = None, verifier: Any = None) -> None:
        self.hashing_algo = hashing_algo
        self.context = context
        self.verifier = verifier


def _old_arguments(context: Any = None, verifier: Any = None, *, hashing_algo: str | None = None) -> _AddArguments:
    return _AddArguments(hashing_algo, context, verifier)


class _Updates:
    """A verifier that only takes bytes: whether the signature holds is asked by the service, and only once."""

    def __init__(self, verifier: Any) -> None:
        self.update: Callable[[bytes], Any] = verifier.update


def _opened(core: CoreStore, place: Location, offset: int, length: int | None, context: Any) -> ImageReader:
    if length is None:
        return core.open(place, offset, context=context)
    try:
        return core.open(place, offset, length, context=context)
    except errors.BadRange:  # it reaches beyond the end, and services mean "as far as there is something"
        return core.open(place, offset, context=context)


def _place(location: Any) -> Location:
    return Location(location if isinstance(location, str) else location.get_store_uri())


def _copied(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of metadata that its taker may change."""

    def copied(each: Any) -> Any:
        if isinstance(each, Mapping):
            return {name: copied(below) for name, below in each.items()}
        return [copied(below) for below in each] if isinstance(each, list | tuple) else each

    return {name: copied(each) for name, each in value.items()}
