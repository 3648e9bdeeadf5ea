"""Copying an image from store to store as users see it: what is allowed, proof of the copy, the end of the source."""

from __future__ import annotations

import logging
import threading
from typing import Any

from store_lib import errors
from store_lib.interface import Checksum, Committed, Feature, ObjectInfo
from store_lib.location import Location, check_image_id
from store_lib.record import ImageRecord
from store_lib.store import Store
from store_lib.transfer.ahead import ahead_memory
from store_lib.transfer.copy import Origin, copy
from store_lib.transfer.progress import ProgressFunction
from store_lib.transfer.retry import Retry
from store_lib.transfer.upload import Added, Request

__all__ = ["VERIFY", "Copying"]

LOG = logging.getLogger(__name__)

#: What may prove a copy.
VERIFY = ("none", "backend", "read")


class Copying:
    """One copy of one image; see `store_lib.Stores.copy` for the arguments."""

    def __init__(
        self,
        source: Store,
        target: Store,
        location: Location | str,
        *,
        image_id: str | None,
        delete_source: bool,
        verify: str,
        context: Any,
        progress: ProgressFunction | None,
        cancel: threading.Event | None,
    ) -> None:
        if verify not in VERIFY:
            raise errors.BadRequest(f"verify is one of {', '.join(VERIFY)}, not {verify!r}")
        self._source = source
        self._target = target
        self._place = Location.of(location)
        self._image_id = image_id
        self._delete = delete_source
        # The operator's wish to read everything back holds for copies, too.
        always = verify == "backend" and target.settings.base.verify_after_write
        self._verify = "read" if always else verify
        self._context = context
        self._progress = progress
        self._cancel = cancel
        self._clock = target._runtime.clock

    def run(self) -> ImageRecord:
        """Do it and return the record of the copy."""
        source, target = self._source, self._target
        began = self._clock.monotonic()
        with source._during("copy", self._place) as address:
            image_id = self._chosen_id()
            self._allowed(image_id)
            info = source.stat(self._place, context=self._context)
            if self._cancel is not None and self._cancel.is_set():
                raise errors.Cancelled("the transfer was cancelled")
        record = self._moved(address, image_id, info, began) if self._delete else None
        if record is None:
            record = self._copied(address, image_id, info, began)
        LOG.info("copied image %s from store %s to %s (%s)", image_id, source.id, target.id, record.verified_by)
        return record

    def _chosen_id(self) -> str:
        """Return the id of the copy."""
        found = self._image_id or self._source.image_id(self._place)
        if found is None:
            raise errors.BadRequest("the location does not tell the id of the image; say image_id")
        return check_image_id(found)

    def _allowed(self, image_id: str) -> None:
        """Raise what stands against the copy before anything is done."""
        source, target = self._source, self._target
        target._need(Feature.WRITE)
        if self._delete:
            source._need(Feature.DELETE)
        if source is target and source.image_id(self._place) == image_id:
            raise errors.Duplicate(f"image {image_id} is in store {target.id} already: it would be copied to itself")
        with target._during("copy"):
            target._gate.pass_()
        if self._delete:
            source._gate.pass_()

    # -- the move -----------------------------------------------------------------------------------------------------

    def _moved(self, address: Any, image_id: str, info: ObjectInfo, began: float) -> ImageRecord | None:
        """Have the backend move the image; None where it cannot, or where the image is to be read back first."""
        source, target = self._source, self._target
        if self._verify == "read" or not all(Feature.MOVE in store.features for store in (source, target)):
            return None
        runtime = source._runtime
        ctx = runtime.context(self._context)

        def once() -> Committed[Any]:
            try:
                with source._seam:
                    return runtime.guarded(
                        lambda: source._driver.move(address, target._driver, image_id, ctx),
                        runtime.base.operation_timeout,
                    )
            except errors.StoreLibError as error:
                if error.outcome is errors.Outcome.UNKNOWN:
                    raise errors.CommitUnknown(
                        f"the image may have been moved or not ({error.message}); look at both stores before you "
                        "try again"
                    ) from error
                raise

        with source._during("move", self._place):
            try:
                committed = Retry(runtime.base, runtime.clock, ctx.stop).call(once)
            except errors.CannotMigrate as error:
                LOG.info("image %s is copied and not moved: %s", image_id, error.message)
                return None
        with target._during("move"):
            proof = self._compared(committed, info, {})  # whatever it says, the image is where it was moved to
        if self._progress is not None:
            self._progress(info.size, info.size)
        return self._record(image_id, committed, info.size, {}, proof, began)

    # -- the copy -----------------------------------------------------------------------------------------------------

    def _copied(self, address: Any, image_id: str, info: ObjectInfo, began: float) -> ImageRecord:
        source, target = self._source, self._target
        names = target.settings.base.digests or (("sha256",) if self._verify == "read" else ())
        known = info.checksum if info.checksum is not None and self._verify != "none" else None
        expected = {known.algorithm: known.value} if known is not None and known.algorithm in names else {}
        request = Request(
            image_id,
            None,
            info.size,
            tuple(names),
            expected,
            self._context,
            progress=self._progress,
            cancel=self._cancel,
        )
        origin = Origin(
            source._driver,
            address,
            lambda: source.open(self._place, context=self._context),
            ahead_memory(source._driver, source._runtime, info.size),
            Feature.COPY in target.features,
        )

        def finish(added: Added) -> ImageRecord:
            target._gate.worked(added.retries)
            proof, digests = self._prove(added, info)
            return self._record(image_id, added.committed, added.size, digests, proof, began)

        record: ImageRecord | None = None
        deleting = False
        try:
            with target._during("copy"):
                record = copy(target._driver, target._runtime, request, origin, finish)
            deleting = self._delete
            if deleting:
                self._delete_source(record)
            return record
        except BaseException:
            if record is not None and not deleting:  # interrupted on the way back: nobody will know of the copy
                target._discard(record)
            raise

    def _delete_source(self, record: ImageRecord) -> None:
        """Delete the source.  Whatever happens from here on, the copy stays: it may be the only one."""
        try:
            self._source.delete(self._place, context=self._context, missing_ok=True)
        except (KeyboardInterrupt, SystemExit):
            where = record.location.redacted
            LOG.warning("interrupted while the source of %s was deleted; its copy is %s", record.id, where)
            raise
        except errors.StoreLibError as error:
            remains = errors.SourceRemains(
                f"the image was copied to {record.location.redacted}, and its source could not be deleted: "
                f"{error.message}",
                record,
            )
            raise self._source._named(remains, "delete", self._place.redacted) from error

    # -- proof --------------------------------------------------------------------------------------------------------

    def _prove(self, added: Added, info: ObjectInfo) -> tuple[str, dict[str, str]]:
        """Return what proves the copy, and the digests that are known of it.

        :raises IntegrityError: it is not the same image.
        """
        digests = dict(added.digests)
        if self._verify == "none":
            return "none", digests
        if not digests:  # copied by the backend, range by range, of what may have been replaced meanwhile
            now = self._source.stat(self._place, context=self._context)
            if (now.size, now.version) != (info.size, info.version):
                raise errors.IntegrityError("the source changed while it was copied")
        proof = self._compared(added.committed, info, digests)
        if self._verify != "read":
            return proof, digests
        names = [*digests] or list(self._target.settings.base.digests) or ["sha256"]
        digests = digests or self._source.hash(self._place, names, context=self._context, cancel=self._cancel)
        place = self._target._location(added.committed.address, {})
        found = self._target.hash(place, names, context=self._context, cancel=self._cancel)
        for name in names:
            if found[name] != digests[name]:
                raise errors.DigestMismatch(f"the copy was read back with {name} {found[name]}, not {digests[name]}")
        return "read", digests

    @staticmethod
    def _compared(committed: Committed[Any], info: ObjectInfo, digests: dict[str, str]) -> str:
        """Return what proves that `committed` is the image that was read: ``size``, or ``backend`` by its checksum."""
        made = committed.info
        if made.size != info.size:
            raise errors.SizeMismatch(f"the copy has {made.size} bytes and not {info.size}")
        if made.checksum is None:
            return "size"
        wanted = digests.get(made.checksum.algorithm) or _value(info.checksum, made.checksum.algorithm)
        if wanted is None:
            return "size"
        if made.checksum.value.lower() != wanted:
            raise errors.DigestMismatch(f"the copy has another {made.checksum.algorithm} than its source")
        return "backend"

    def _record(
        self, image_id: str, committed: Committed[Any], size: int, digests: dict[str, str], proof: str, began: float
    ) -> ImageRecord:
        return ImageRecord(
            id=image_id,
            location=self._target._location(committed.address, committed.metadata),
            size=size,
            digests=digests,
            verified_by=proof if self._verify != "none" else "none",
            backend_checksum=committed.info.checksum,
            written_at=self._clock.wall(),
            seconds=self._clock.monotonic() - began,
        )


def _value(checksum: Checksum | None, algorithm: str) -> str | None:
    return checksum.value.lower() if checksum is not None and checksum.algorithm == algorithm else None
