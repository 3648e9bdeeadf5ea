"""One store as its users see it: every convenience, written once on top of any driver."""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import functools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, TypeVar

from store_lib import errors, opts
from store_lib.health import Gate, Health
from store_lib.interface import (
    Address,
    Capacity,
    Context,
    Deletion,
    Driver,
    Feature,
    Leftover,
    Limits,
    Listed,
    ObjectInfo,
    Probe,
)
from store_lib.leftovers import may_go
from store_lib.location import Location, check_image_id
from store_lib.record import ImageRecord
from store_lib.runtime import StoreRuntime
from store_lib.settings import StoreSettings
from store_lib.transfer.digest import Verifier, check_algorithms, new_hash
from store_lib.transfer.download import ImageReader, open_image
from store_lib.transfer.hashing import hash_image
from store_lib.transfer.progress import ProgressFunction
from store_lib.transfer.retry import Retry
from store_lib.transfer.save import writing
from store_lib.transfer.seam import Seam
from store_lib.transfer.upload import Added, Request, add

__all__ = ["ListedImage", "Store", "SweepResult"]

LOG = logging.getLogger(__name__)

T = TypeVar("T")

#: What a store that the operator made read-only does not offer.
_CHANGES = Feature.WRITE | Feature.DELETE | Feature.ACLS | Feature.COPY | Feature.MOVE

#: Stands for no location where one may be given: None is something that a caller may pass by mistake.
_NOWHERE = Location("")


@dataclasses.dataclass(frozen=True)
class ListedImage:
    """One image in a listing; `size` in bytes and `id` where the store tells them cheaply."""

    id: str | None
    location: Location
    size: int | None


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """What a sweep did: what it removed (or would remove), what it kept, and what it could not remove and why."""

    removed: Sequence[Leftover]
    kept: Sequence[Leftover]
    failed: Sequence[tuple[Leftover, errors.StoreLibError]]


class Store:
    """One configured place for images.  Safe for threads; made by `store_lib.Stores`.

    Every `location` argument takes a `Location` or its URI.  Every error of a store is a `StoreLibError` that names the
    store, the operation and the redacted location.
    """

    def __init__(self, settings: StoreSettings, driver: Driver[Any], runtime: StoreRuntime) -> None:
        self.settings = settings
        self._driver = driver
        self._runtime = runtime
        self._seam = Seam(driver)
        base = settings.base
        self._gate = Gate(settings.id, self._ask, base.probe_interval, runtime.clock)
        self._closed = False
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

    def probe(self) -> Health:
        """Ask the storage whether it is usable, at most `probe_timeout` seconds."""
        self._open_only()
        return self._gate.ask()

    def prefix(self) -> str | None:
        """Return what every location written here begins with, None when there is nothing of the kind."""
        return self._driver.prefix()

    def describe(self) -> dict[str, Any]:
        """Return the driver's properties, from the settings alone; JSON-able, no secret."""
        return dict(self._driver.describe())

    def options(self) -> dict[str, dict[str, Any]]:
        """Return every setting with its origin, secrets masked."""
        return self.settings.shown([*opts.BASE_OPTIONS, *self._driver.OPTIONS])

    def image_id(self, location: Location | str) -> str | None:
        """Return the id of the image at a location where the location tells it; no I/O."""
        with self._during("parse", location) as address:
            return self._driver.image_id(address)

    def owns(self, location: Location | str) -> bool:
        """Return whether the location lies in this store; no I/O."""
        with contextlib.suppress(errors.BadLocation):
            self._driver.parse(Location.of(location).uri)
            return True
        return False

    # -- writing ------------------------------------------------------------------------------------------------------

    def add(
        self,
        image_id: str,
        source: Any,
        size: int | None = None,
        *,
        digests: Iterable[str] | None = None,
        expected: Mapping[str, str] | None = None,
        context: Any = None,
        verifier: Verifier | None = None,
        progress: ProgressFunction | None = None,
        cancel: threading.Event | None = None,
    ) -> ImageRecord:
        """Store an image and return what is worth keeping of it.

        The image becomes visible all at once or not at all; after any failure nothing of it is there, and the same add
        can be repeated.

        :param image_id: 1 to 255 of ``[A-Za-z0-9._-]``, not beginning with a dot.
        :param source: binary file object, iterator or iterable of bytes, or bytes; read by the calling thread only.
        :param size: bytes; checked exactly.  None: not known.  0: an empty image.
        :param digests: hashlib's names of what to compute; the store's option `digests` when None.
        :param expected: ``{name: hex}`` that the image must have; computed too.
        :param context: the service's own request context, handed to the driver.
        :param verifier: an object with ``update(bytes)`` that sees the image in order; where it has a ``verify()``,
            that is called before the image becomes visible.
        :param progress: called with bytes done and bytes in all (None: not known), at most ten times a second.
        :param cancel: set it to end the transfer with `Cancelled`.
        :raises Duplicate: the id is taken; the image there was not touched.
        :raises SizeMismatch: the source is longer or shorter than `size`.
        :raises StoreLibError: every other failure of the store.
        :raises Exception: what the source, the verifier or the progress function raised, unchanged.
        """
        check_image_id(image_id)
        if size is not None and (not isinstance(size, int) or size < 0):
            raise errors.BadRequest(f"a size is a number of bytes, or None when it is not known, not {size!r}")
        expected = {name.lower(): value for name, value in (expected or {}).items()}
        names = check_algorithms([*(self.settings.base.digests if digests is None else digests), *expected])
        if self.settings.base.verify_after_write and not names:
            names = ("sha256",)  # reading back proves nothing without one
        request = Request(image_id, source, size, names, expected, context, verifier, progress, cancel)
        clock = self._runtime.clock
        began = clock.monotonic()

        def finish(added: Added) -> ImageRecord:
            return ImageRecord(
                id=image_id,
                location=self._location(added.committed.address, added.committed.metadata),
                size=added.size,
                digests=added.digests,
                verified_by=self._prove(added, context),
                backend_checksum=added.committed.info.checksum,
                written_at=clock.wall(),
                seconds=clock.monotonic() - began,
            )

        record: ImageRecord | None = None
        try:
            with self._during("add"):
                self._need(Feature.WRITE)
                self._gate.pass_()
                record = add(self._driver, self._runtime, request, finish)
            LOG.info("added image %s to store %s: %d bytes in %.3f s", image_id, self.id, record.size, record.seconds)
            return record
        except BaseException:
            if record is not None:  # interrupted on the way back to a caller who will never know of the image
                self._discard(record)
            raise

    def _discard(self, record: ImageRecord) -> None:
        with contextlib.suppress(Exception):
            self._driver.delete(self._driver.parse(record.location.uri), self._runtime.context())

    def _prove(self, added: Added, context: Any) -> str:
        """Return what proves that the storage holds the bytes.

        :raises IntegrityError: it holds something else.
        """
        info = added.committed.info
        if info.size != added.size:
            raise errors.SizeMismatch(f"the storage holds {info.size} bytes of {added.size}")
        if self.settings.base.verify_after_write:
            name = next(iter(added.digests))
            with open_image(self._driver, self._runtime, added.committed.address, 0, None, context) as reader:
                found = hash_image(reader, [name], self._runtime)[name]
            if found != added.digests[name]:
                raise errors.DigestMismatch(f"the image was read back with {name} {found}, not {added.digests[name]}")
            return "read"
        if info.checksum is not None and info.checksum.algorithm in added.digests:
            if info.checksum.value.lower() != added.digests[info.checksum.algorithm]:
                raise errors.DigestMismatch(f"the storage has another {info.checksum.algorithm} than what was sent")
            return "backend"
        return "size"

    def delete(self, location: Location | str, *, context: Any = None, missing_ok: bool = False) -> Deletion | None:
        """Remove an image.

        :param missing_ok: do not raise when it is not there: return None, or DELETED where only a look before would
            have told, which is then spared.
        :returns: DELETED, or DEFERRED when the backend removes it later.
        :raises NotFound: the place was seen and the image is not there.
        :raises InUse: the backend still needs it.
        """
        with self._during("delete", location) as address:
            self._need(Feature.DELETE)
            self._gate.pass_()
            try:
                deleted = self._verb(
                    lambda ctx: self._driver.delete(address, ctx), context, gone=Deletion.DELETED, missing_ok=missing_ok
                )
            except errors.NotFound:
                if missing_ok:
                    return None
                raise
        LOG.info("deleted %s from store %s (%s)", Location.of(location).redacted, self.id, deleted.value)
        return deleted

    def set_acls(
        self,
        location: Location | str,
        *,
        public: bool = False,
        read_tenants: Iterable[str] = (),
        write_tenants: Iterable[str] = (),
        context: Any = None,
    ) -> None:
        """Say which other projects may use an image (feature ACLS); what was said before no longer holds.

        :param public: everybody may read it.
        :param read_tenants: ids of projects that may read it.
        :param write_tenants: ids of projects that may change it.
        """
        readers, writers = tuple(read_tenants), tuple(write_tenants)
        with self._during("set_acls", location) as address:
            self._need(Feature.ACLS)
            self._gate.pass_()
            self._verb(lambda ctx: self._driver.set_acls(address, public, readers, writers, ctx), context)

    # -- reading ------------------------------------------------------------------------------------------------------

    def open(
        self, location: Location | str, offset: int = 0, length: int | None = None, *, context: Any = None
    ) -> ImageReader:
        """Open an image, or a range of it, for reading.

        :param offset: first byte; needs the feature RANGES when it is not 0.
        :param length: bytes, None up to the end.
        :returns: a binary file that is also an iterator; close it, or use it in ``with``.
        :raises NotFound: at once, as every error that opening can have.
        :raises BadRange: the range does not lie inside the image.
        """
        for name, value in (("offset", offset), ("length", length)):
            if value is not None and (not isinstance(value, int) or value < 0):
                raise errors.BadRange(f"{name} is a number of bytes from 0 on, not {value!r}")
        with self._during("open", location) as address:
            if offset:
                self._need(Feature.RANGES)
            reader = open_image(self._driver, self._runtime, address, offset, length, context)
        reader.named(self.id, Location.of(location).redacted)
        return reader

    def stat(self, location: Location | str, *, context: Any = None) -> ObjectInfo:
        """Return what the backend tells of an image: size in bytes, time, checksum.

        :raises NotFound: the place was seen and the image is not there.
        """
        with self._during("stat", location) as address:
            return self._verb(lambda ctx: self._driver.stat(address, ctx), context)

    def list(self) -> Iterator[ListedImage]:
        """Yield the images of the store, in any order (feature LIST)."""
        self._need(Feature.LIST)
        with self._during("list"):
            found: Iterator[Listed[Any]] = self._seam.iterate(self._driver.list(self._runtime.context()))
            for each in found:
                yield ListedImage(each.image_id, self._location(each.address, {}), each.size)

    def hash(
        self,
        location: Location | str,
        algorithms: Iterable[str],
        *,
        context: Any = None,
        progress: ProgressFunction | None = None,
        cancel: threading.Event | None = None,
    ) -> dict[str, str]:
        """Read an image and return ``{name: hex}`` of its digests.

        :param algorithms: hashlib's names.
        """
        names = check_algorithms(algorithms)
        with self.open(location, context=context) as reader:
            return hash_image(reader, names, self._runtime, progress, cancel)

    def save(
        self,
        location: Location | str,
        target: BinaryIO,
        offset: int = 0,
        length: int | None = None,
        *,
        expected: str | None = None,
        context: Any = None,
        progress: ProgressFunction | None = None,
        cancel: threading.Event | None = None,
    ) -> int:
        """Read an image, or a range of it, into a binary file and return how many bytes that was.

        Where `target` is a regular file, holes of the image become holes of it.

        :param expected: ``algorithm:hex`` that the bytes read must have.
        :raises DigestMismatch: they have another one; they are in `target` by then.
        """
        name, value = split_digest(expected) if expected else ("", "")
        with self.open(location, offset, length, context=context) as reader:
            names = [name] if expected else []
            with writing(target) as write:
                found = hash_image(reader, names, self._runtime, progress, cancel, write)
            if expected and found[name] != value:
                with self._during("save", location):
                    raise errors.DigestMismatch(f"the {name} of what was read is {found[name]}, not {value}")
            return reader.length

    def verify(
        self,
        location: Location | str,
        digest: str,
        *,
        context: Any = None,
        progress: ProgressFunction | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        """Read an image and compare its digest.

        :param digest: ``algorithm:hex``.
        :raises DigestMismatch: it is another one.
        """
        name, value = split_digest(digest)
        found = self.hash(location, [name], context=context, progress=progress, cancel=cancel)[name]
        if found != value:
            with self._during("verify", location):
                raise errors.DigestMismatch(f"its {name} is {found}, not {value}")

    # -- the store itself ---------------------------------------------------------------------------------------------

    def capacity(self) -> Capacity:
        """Return the room of the store in bytes (feature CAPACITY)."""
        with self._during("capacity"):
            self._need(Feature.CAPACITY)
            return self._verb(self._driver.capacity)

    def leftovers(self) -> Iterator[Leftover]:
        """Yield what transfers left on the storage, those under way included (feature LEFTOVERS)."""
        self._need(Feature.LEFTOVERS)
        with self._during("leftovers"):
            yield from self._seam.iterate(self._driver.leftovers(self._runtime.context()))

    def sweep(self, *, older_than: float | None = None, dry_run: bool = False) -> SweepResult:
        """Remove what dead transfers left.

        :param older_than: seconds without activity instead of the option `leftover_age`, for what was not left by a
            dead process of this very machine.
        :param dry_run: only tell.
        """
        self._need(Feature.WRITE)
        age = self.settings.base.leftover_age if older_than is None else older_than
        now = self._runtime.clock.wall()
        removed: builtins.list[Leftover] = []
        kept: builtins.list[Leftover] = []
        failed: builtins.list[tuple[Leftover, errors.StoreLibError]] = []
        for leftover in [*self.leftovers()]:
            if not may_go(leftover, now, age):
                kept.append(leftover)
                continue
            try:
                if not dry_run:
                    with self._during("sweep"):
                        self._verb(functools.partial(self._driver.sweep, leftover))
                removed.append(leftover)
            except (errors.InUse, errors.NotFound):
                kept.append(leftover)
            except errors.StoreLibError as error:
                failed.append((leftover, error))
        return SweepResult(removed, kept, failed)

    def close(self, timeout: float = 10.0) -> Sequence[str]:
        """Take no more work and release everything, in at most `timeout` seconds; return what is stuck, a line each."""
        if self._closed:
            return []
        self._closed = True
        stuck = self._runtime.close(timeout)
        if not stuck:
            with self._seam:
                self._driver.close()
        return stuck

    # -- within -------------------------------------------------------------------------------------------------------

    def _ask(self) -> Probe:
        base = self.settings.base
        ctx = self._runtime.context(timeout=base.probe_timeout, deadline=base.probe_timeout)
        with self._seam:
            return self._runtime.guarded(lambda: self._driver.probe(ctx), base.probe_timeout, self._runtime.probe_pool)

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
                    return self._runtime.guarded(lambda: verb(ctx), timeout)
            except errors.StoreLibError as error:
                if lost and gone is not None and isinstance(error, errors.NotFound):
                    return gone
                lost = lost or error.outcome is errors.Outcome.UNKNOWN
                raise

        return Retry(self.settings.base, self._runtime.clock, ctx.stop).call(once)

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
            self._named(error, operation, shown)
            raise

    def _named(self, error: errors.StoreLibError, operation: str, location: str | None) -> errors.StoreLibError:
        if error.store is None:
            error.store, error.operation, error.location = self.id, operation, location
        return error

    def _location(self, address: Address, metadata: Mapping[str, Any]) -> Location:
        return Location(self._driver.uri(address), self.id, dict(metadata))


def split_digest(digest: str) -> tuple[str, str]:
    """Return name and lower-case value of ``algorithm:hex``.

    :raises UnknownDigest: it is no such text, or its value has not the algorithm's length.
    """
    name, _, value = digest.partition(":")
    (name,) = check_algorithms([name])
    if len(value) != 2 * new_hash(name).digest_size or not all(char in "0123456789abcdefABCDEF" for char in value):
        raise errors.UnknownDigest(f"{value!r} is no {name} in hexadecimal")
    return name, value.lower()
