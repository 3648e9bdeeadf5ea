"""One image of the S3 store being read or written."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from store_lib import errors
from store_lib.drivers._s3_claim import Claim
from store_lib.drivers._s3_client import Connection, Encryption
from store_lib.drivers._s3_errors import is_missing, status_of, translate, unknown
from store_lib.drivers._s3_servers import Server
from store_lib.drivers._s3_values import UPLOAD, Place, S3Address, S3Leftover, info_of, md5_of
from store_lib.errors import Outcome
from store_lib.interface import (
    MIB,
    Address,
    Committed,
    Download,
    Driver,
    Leftover,
    Limits,
    ObjectInfo,
    Owner,
    Part,
    Runtime,
    Token,
    Upload,
)

__all__ = ["S3Download", "S3Upload"]

LOG = logging.getLogger(__name__)

_READ = 1 * MIB
#: Seconds before each further try of clearing away; the engine does not repeat it.
_AGAIN = (0.0, 0.2, 1.0)


class _Driver(Protocol):
    """What an upload asks of its driver."""

    place: Place
    encryption: Encryption
    runtime: Runtime

    def limits_of(self, server: Server, size: int | None) -> Limits: ...

    def attributes(self, owner: Owner) -> dict[str, Any]: ...

    def in_bucket(self, call: Callable[[], Any], connection: Connection) -> Any: ...

    def head(self, address: S3Address, connection: Connection) -> Mapping[str, Any] | None: ...

    def copy_source(self, source: Driver[Any], address: Address, connection: Connection) -> dict[str, Any]: ...


class S3Upload(Upload[S3Address]):
    """An image on its way: small in one PUT, else as a multipart upload, which nobody sees before its completion."""

    def __init__(
        self,
        driver: _Driver,
        connection: Connection,
        server: Server,
        address: S3Address,
        size: int | None,
        owner: Owner,
    ) -> None:
        self.limits = driver.limits_of(server, size)
        self.uuid = owner.upload
        self._driver = driver
        self._connection = connection
        self._client = connection.client
        self._server = server
        self._address = address
        self._owner = owner
        self._object = {"Bucket": driver.place.bucket, "Key": address.key}
        self._id: str | None = None
        self._record: str | None = None
        self._completing = self._completed = False  #: the multipart upload, which an empty image never is
        self._claim = Claim(self._client, server, driver.place, address, owner, driver.runtime)
        self._lock = threading.Lock()
        self._source: tuple[Any, dict[str, Any]] | None = None

    # -- making it ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the multipart upload, and the record of who made it: listings of uploads show no metadata."""
        if self._id is None:
            made = self._driver.in_bucket(
                lambda: self._client.create_multipart_upload(**self._object, **self._driver.attributes(self._owner)),
                self._connection,
            )
            self._id = made["UploadId"]
        key = self._driver.place.record(self._id or "", self._owner)
        try:
            self._client.put_object(Bucket=self._driver.place.bucket, Key=key, Body=b"")
        except Exception as error:
            self._record = key
            found = translate(error)
            if found is None:
                raise
            found.outcome = Outcome.NOT_DONE  # once more does no harm
            raise found from error
        self._record = key

    def write_part(self, part: Part) -> Token:
        """Send one part; its ETag is compared with its MD5 where both are known."""
        answer = self._client.upload_part(
            **self._object,
            UploadId=self._id,
            PartNumber=part.index + 1,
            Body=part.reader(),
            **self._digest(part),
            **self._driver.encryption.parts,
        )
        self._compare(part.digest, answer.get("ETag"))
        return answer["ETag"]

    def copy_part(self, source: Driver[Any], address: Address, index: int, offset: int, length: int) -> Token:
        """Have the server copy one range of an object of another bucket, pinned to the version that was there first."""
        with self._lock:
            if self._source is None or self._source[0] != (source, address):
                found = self._driver.copy_source(source, address, self._connection)
                self._source = ((source, address), found)
            where = self._source[1]
        try:
            answer = self._client.upload_part_copy(
                **self._object,
                UploadId=self._id,
                PartNumber=index + 1,
                CopySourceRange=f"bytes={offset}-{offset + length - 1}",
                **where,
                **self._driver.encryption.parts,
            )
        except self._client.exceptions.ClientError as error:
            if status_of(error) in (400, 403, 404, 405, 412, 501) and "NoSuchUpload" not in str(error):
                raise errors.CannotMigrate("the server does not copy that image by itself") from error
            raise
        return answer["CopyPartResult"]["ETag"]

    def write_whole(self, part: Part) -> Committed[S3Address]:
        """Send a small image in one PUT, which fails where the name is taken."""
        request = {
            **self._object,
            **self._driver.attributes(self._owner),
            **self._digest(part),
            **self._server.put_condition,
        }
        with self._exclusively():
            answer = self._driver.in_bucket(
                lambda: self._client.put_object(**request, Body=part.reader()), self._connection
            )
        self._encrypted(answer)
        self._compare(part.digest, answer.get("ETag"))
        info = info_of(answer, size=part.length, plain=self._driver.encryption.plain_tags)
        if self._server.claims:
            with unknown():
                if self._claim.wait_for_others() and self.outcome() is None:
                    raise errors.Duplicate("an image of that id was completed at the same time")
        return Committed(self._address, info)

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[S3Address]:
        """Complete the upload where the name is free, and look at what the server made of it."""
        if not parts:  # a multipart upload has at least one
            return self.write_whole(Part(0, 0, memoryview(b""), True))
        held = self._server.claims and self._claim.take(self._id or "")
        if not self._server.exclusive_complete:
            there = self._driver.head(self._address, self._connection)
            if there is not None:
                self._cleared(self._claim.release)  # others wait for it
                return self._own(there) or self._refuse()
        if self._server.claims and not held:
            raise errors.Busy("an image of that id was there a moment ago")
        listed = [{"PartNumber": part.index + 1, "ETag": token} for part, token in parts]
        self._completing = True
        with self._exclusively():
            self._client.complete_multipart_upload(
                **self._object,
                UploadId=self._id,
                MultipartUpload={"Parts": listed},
                **self._server.complete_condition,
            )
        with unknown():
            return self._look([token for _, token in parts])

    def _look(self, tags: Sequence[str]) -> Committed[S3Address]:
        """Return what was completed, as the server tells it."""
        found = self.outcome()
        if found is None:
            raise errors.BackendError("the image was completed, and somebody else replaced or deleted it at once")
        digests = [md5_of(tag) for tag in tags]
        given = str(found.info.version[0]).strip('"')
        if self._driver.encryption.plain_tags and all(digests) and given.endswith(f"-{len(tags)}"):
            together = hashlib.md5(bytes.fromhex("".join(map(str, digests))), usedforsecurity=False).hexdigest()
            if given != f"{together}-{len(tags)}":
                raise errors.DigestMismatch("the server put the parts together into something else than what was sent")
        return found

    def outcome(self) -> Committed[S3Address] | None:
        """Look whether the object of that name was made by this upload."""
        found = self._driver.head(self._address, self._connection)
        return None if found is None else self._own(found)

    def _own(self, found: Mapping[str, Any]) -> Committed[S3Address] | None:
        """Return what was committed if the object that HEAD found was made by this upload."""
        if found.get("Metadata", {}).get(UPLOAD) != self.uuid:
            return None
        self._completed = self._completing
        self._encrypted(found)
        return Committed(self._address, info_of(found, plain=self._driver.encryption.plain_tags))

    def _encrypted(self, answer: Mapping[str, Any]) -> None:
        """Remove our object and raise where the server did not encrypt it as it was asked to."""
        if not self._driver.encryption.confirmed(answer):
            self._client.delete_object(**self._object)
            problem = "the server does not encrypt images as s3_store_encryption says; nothing was kept"
            raise errors.BackendError(problem)

    def _refuse(self) -> NoReturn:
        raise errors.Duplicate("an image of that id is there already")

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Around a request whose condition the server refuses where the name is taken."""
        try:
            yield
        except self._client.exceptions.ClientError as error:
            # Ceph's gateway answers 500 to who lost a race.
            if status_of(error) == 412 or (status_of(error) == 500 and self._server.claims and self._theirs()):
                self._refuse()
            raise

    def _theirs(self) -> bool:
        """Whether there is an image, and another upload made it."""
        found = self._driver.head(self._address, self._connection)
        return found is not None and self._own(found) is None

    def _digest(self, part: Part) -> dict[str, str]:
        return {"ContentMD5": base64.b64encode(bytes.fromhex(part.digest)).decode()} if part.digest else {}

    def _compare(self, digest: str | None, tag: str | None) -> None:
        given = md5_of(tag) if self._driver.encryption.plain_tags else None
        if digest and given and digest != given:
            raise errors.DigestMismatch("the server holds other bytes than what was sent", transient=True)

    # -- clearing away ------------------------------------------------------------------------------------------------

    def abort(self) -> Sequence[Leftover]:
        """Remove the multipart upload, where it was not completed, the record of its owner, and the claim."""
        if self._id is not None and not self._completed and not self._cleared(self._abort_upload):
            address = S3Leftover(self._address.key, self._id, self._record)
            return [Leftover("multipart upload", address, self._owner)]
        for clear in (self._claim.release, self._drop_record):
            if not self._cleared(clear):
                LOG.info("a hidden object of upload %s could not be removed; a sweep removes it", self.uuid)
                break  # a server that does not answer is asked no more
        self._id = None
        return ()

    def _abort_upload(self) -> None:
        try:
            self._client.abort_multipart_upload(**self._object, UploadId=self._id)
        except self._client.exceptions.ClientError as error:
            if not is_missing(error):
                raise

    def _drop_record(self) -> None:
        if self._record is not None:
            self._client.delete_object(Bucket=self._driver.place.bucket, Key=self._record)
            self._record = None

    def _cleared(self, clear: Callable[[], None]) -> bool:
        """Return whether `clear` succeeded, tried again after passing errors but not after a time-out."""
        for pause in _AGAIN:
            time.sleep(pause)
            try:
                clear()
                return True
            except Exception as error:
                found = translate(error)
                LOG.info("clearing away of upload %s: %s", self.uuid, found or repr(error))
                if found is None or not found.transient or isinstance(found, errors.OperationTimeout):
                    return False
        return False


class S3Download(Download):
    """An image opened for reading, pinned to its version.

    What the first request brought is kept for the first `read` at its place; all others make requests of their own.

    :param answer: of that first request, with a body; None for an empty image.
    :param offset: where its body begins.
    """

    def __init__(
        self,
        client: Any,
        request: Mapping[str, Any],
        info: ObjectInfo,
        limits: Limits,
        answer: Mapping[str, Any] | None,
        offset: int,
    ) -> None:
        self.info = info
        self.limits = limits
        tag, version = info.version
        self._client = client
        self._request = {**request, "IfMatch": tag, **({"VersionId": version} if version else {})}
        self._lock = threading.Lock()
        self._first = None if answer is None else (offset, answer["ContentLength"], answer["Body"])
        self._closed = False

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of the range."""
        first = self._take(offset)
        if first is not None:
            size = min(first[0], length)
            yield from self._chunks(first[1], size, complete=size == first[0])
            offset, length = offset + size, length - size
        if length:
            yield from self._chunks(self._ask(offset, length), length, complete=True)

    def _take(self, offset: int) -> tuple[int, Any] | None:
        """Return length and body of the first answer if it begins there; it is given away once."""
        with self._lock:
            if self._first is None or self._first[0] != offset:
                return None
            _, length, body = self._first
            self._first = None
            return length, body

    def _ask(self, offset: int, length: int) -> Any:
        try:
            answer = self._client.get_object(**self._request, Range=f"bytes={offset}-{offset + length - 1}")
        except self._client.exceptions.ClientError as error:
            if status_of(error) == 412:
                raise errors.BackendError("the image was replaced by another one while it was read") from error
            raise
        if answer["ContentLength"] != length or (offset and "ContentRange" not in answer):
            answer["Body"].close()
            raise errors.BackendError("the server sends another range than what it was asked for")
        return answer["Body"]

    def _chunks(self, body: Any, length: int, *, complete: bool) -> Iterator[bytes]:
        """Yield `length` bytes of a body.

        :param complete: whether that is all of it; its connection can then be used again.
        """
        left = length
        try:
            while left:
                if self._closed:
                    raise errors.StoreClosed("the image was closed")
                chunk = body.read(min(_READ, left))
                if not chunk:
                    raise errors.StoreUnavailable("the answer ended before its end", outcome=Outcome.UNKNOWN)
                left -= len(chunk)
                yield chunk
        finally:
            if left or not complete:
                body.close()

    def close(self) -> None:
        """Give up what was not read."""
        self._closed = True
        with self._lock:
            first, self._first = self._first, None
        if first is not None:
            with contextlib.suppress(OSError):
                first[2].close()
