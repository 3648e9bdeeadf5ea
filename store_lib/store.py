"""One store as its users see it: every convenience, written once on top of any driver."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from store_lib import errors
from store_lib.info import StoreInfo
from store_lib.interface import Capacity, Deletion, Feature, Leftover, Listed, ObjectInfo
from store_lib.leftovers import SweepResult, sweep
from store_lib.location import Location, check_image_id
from store_lib.record import ImageRecord
from store_lib.store_base import StoreBase
from store_lib.transfer.digest import Verifier, check_algorithms, split_digest
from store_lib.transfer.download import ImageReader, open_image
from store_lib.transfer.hashing import hash_image
from store_lib.transfer.progress import ProgressFunction
from store_lib.transfer.proof import prove
from store_lib.transfer.save import writing
from store_lib.transfer.upload import Added, Request, add

__all__ = ["ListedImage", "Store"]

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ListedImage:
    """One image in a listing; `size` in bytes and `id` where the store tells them cheaply."""

    id: str | None
    location: Location
    size: int | None


class Store(StoreBase):
    """One configured place for images.  Safe for threads; made by `store_lib.Stores`.

    Every `location` argument takes a `Location` or its URI.  Every error of a store is a `StoreLibError` that names the
    store, the operation and the redacted location.
    """

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
            self._gate.worked(added.retries)
            return ImageRecord(
                id=image_id,
                location=self._location(added.committed.address, added.committed.metadata),
                size=added.size,
                digests=added.digests,
                verified_by=prove(self._driver, self._runtime, added, context),
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
            reader = open_image(self._driver, self._runtime, address, offset, length, context, self._gate.retried)
        reader.named(self.id, Location.of(location).redacted, self._failed)
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
            each: Listed[Any]
            for each in self._listing(self._driver.list):
                yield ListedImage(each.image_id, self._location(each.address, {}), each.size)

    def url(self, location: Location | str, seconds: float, *, context: Any = None) -> str:
        """Return a URL that reads an image for `seconds` seconds without credentials (feature SIGNED_URLS).

        It is a secret as long as it is valid: whoever has it reads the image.
        """
        if not seconds > 0:
            raise errors.BadRequest(f"a URL holds for a number of seconds above 0, not {seconds!r}")
        with self._during("url", location) as address:
            self._need(Feature.SIGNED_URLS)
            return self._verb(lambda ctx: self._driver.signed_url(address, seconds, ctx), context)

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

    def initialise(self) -> str:
        """Prepare the place for this store and return a sentence of what was done; harmless when repeated.

        :raises NotSupported: this kind of store needs no preparation.
        """
        with self._during("initialise"):
            self._need(Feature.WRITE)
            return self._verb(self._driver.initialise)

    def info(self, capacity: bool = False) -> StoreInfo:
        """Return everything there is to say about the store, secrets masked.

        :param capacity: ask the storage for its room, too; what cannot be told stays None.
        """
        room = None
        if capacity and Feature.CAPACITY in self.features:
            with contextlib.suppress(errors.StoreLibError):  # its health tells more
                room = self.capacity()
        return StoreInfo(
            id=self.id,
            type=self.type,
            description=self.description,
            default=self.is_default,
            weight=self.weight,
            read_only=self.read_only,
            schemes=self.schemes,
            prefix=self.prefix(),
            features=self.features,
            limits=self.limits,
            properties=self.describe(),
            backend=self.backend(),
            settings=self.options(),
            health=self.health,
            capacity=room,
        )

    def leftovers(self) -> Iterator[Leftover]:
        """Yield what transfers left on the storage, those under way included (feature LEFTOVERS)."""
        self._need(Feature.LEFTOVERS)
        with self._during("leftovers"):
            yield from self._listing(self._driver.leftovers)

    def sweep(self, *, older_than: float | None = None, dry_run: bool = False) -> SweepResult:
        """Remove what dead transfers left.

        :param older_than: seconds without activity instead of the option `leftover_age`, for what was neither left by a
            dead process of this very machine nor given up by a living one.
        :param dry_run: only tell.
        """
        self._need(Feature.WRITE)
        age = self.settings.base.leftover_age if older_than is None else older_than

        def remove(leftover: Leftover) -> None:
            with self._during("sweep"):
                self._verb(lambda ctx: self._driver.sweep(leftover, ctx))

        return sweep(self.leftovers(), None if dry_run else remove, self._runtime.clock.wall(), age)

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
