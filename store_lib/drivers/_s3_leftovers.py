"""What interrupted transfers left in a bucket: multipart uploads, records of their owners, claims."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from store_lib import errors
from store_lib.drivers._s3_errors import is_missing
from store_lib.drivers._s3_values import Place, S3Leftover, mark
from store_lib.interface import Context, Leftover, Owner

__all__ = ["Leftovers"]

UPLOAD_KIND, RECORD_KIND, CLAIM_KIND = "multipart upload", "owner record", "claim"


class Leftovers:
    """Finds and removes them.

    :param client: of the SDK.
    """

    def __init__(self, client: Any, place: Place) -> None:
        self._client = client
        self._place = place

    def find(self, ctx: Context) -> Iterator[Leftover]:
        """Yield every one, those of transfers under way included."""
        # Records first: one without an upload then is of an upload that has ended.
        records = {each["Key"]: each for each in self._objects(self._place.records)}
        by_mark = {key[len(self._place.records) :].partition("-")[0]: key for key in records}
        pages = self._client.get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=self._place.bucket, Prefix=self._place.prefix):
            for each in page.get("Uploads", ()):
                ctx.check()
                if self._is_ours(each["Key"]):
                    record = by_mark.pop(mark(each["UploadId"]), None)
                    if (found := self._upload(each, record)) is not None:
                        yield found
        for key in by_mark.values():
            yield self._object(RECORD_KIND, records[key], self._owner(key))
        for each in self._objects(self._place.claims):
            ctx.check()
            yield self._object(CLAIM_KIND, each, self._claimant(each["Key"]))

    def _is_ours(self, key: str) -> bool:
        return "/" not in key[len(self._place.prefix) :]

    def _owner(self, record: str | None) -> Owner | None:
        return Owner.decode(record[len(self._place.records) :].partition("-")[2]) if record else None

    def _upload(self, each: Any, record: str | None) -> Leftover | None:
        """Return the leftover of one upload, None when it has just ended."""
        address = S3Leftover(each["Key"], each["UploadId"], record)
        seen = self._activity(address)
        if seen is None:
            return None
        active, size = seen
        return Leftover(UPLOAD_KIND, address, self._owner(record), active or _utc(each["Initiated"]), size)

    def _activity(self, address: S3Leftover) -> tuple[datetime.datetime | None, int] | None:
        """Return when the last part was written, and the bytes in all; None when there is no such upload."""
        latest, size = None, 0
        pages = self._client.get_paginator("list_parts")
        try:
            for page in pages.paginate(Bucket=self._place.bucket, Key=address.key, UploadId=address.upload):
                for part in page.get("Parts", ()):
                    latest = max(filter(None, (latest, _utc(part["LastModified"]))))
                    size += part["Size"]
        except self._client.exceptions.ClientError as error:
            if not is_missing(error):
                raise
            return None
        return latest, size

    def _objects(self, prefix: str) -> Iterator[Any]:
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._place.bucket, Prefix=prefix):
            yield from page.get("Contents", ())

    def _object(self, kind: str, each: Any, owner: Owner | None) -> Leftover:
        address = S3Leftover(each["Key"], tag=each["ETag"])
        return Leftover(kind, address, owner, _utc(each["LastModified"]), each["Size"])

    def _claimant(self, key: str) -> Owner | None:
        try:
            with self._client.get_object(Bucket=self._place.bucket, Key=key)["Body"] as body:
                return Owner.decode(body.read().decode(errors="replace").partition("\n")[0])
        except self._client.exceptions.ClientError as error:
            if not is_missing(error):
                raise
            return None

    def remove(self, leftover: Leftover) -> None:
        """Remove one, unless it was used since it was found.

        :raises InUse: it was.
        :raises NotFound: it has ended by itself.
        """
        address = leftover.address
        if not isinstance(address, S3Leftover):
            raise errors.BadRequest("this is no leftover of an S3 store")
        if address.upload is None:
            self._remove_object(address)
            return
        seen = self._activity(address)
        if seen is None:
            self._drop(address.record)
            raise errors.NotFound("the upload has ended")
        if seen[0] is not None and leftover.last_activity is not None and seen[0] > leftover.last_activity:
            raise errors.InUse("somebody is writing to it")
        try:
            self._client.abort_multipart_upload(Bucket=self._place.bucket, Key=address.key, UploadId=address.upload)
        except self._client.exceptions.ClientError as error:
            if is_missing(error):
                raise errors.NotFound("the upload has ended") from error
            raise
        self._drop(address.record)

    def _remove_object(self, address: S3Leftover) -> None:
        if not address.key.startswith(self._place.hidden):
            raise errors.BadRequest("this is no leftover of this store")
        try:
            found = self._client.head_object(Bucket=self._place.bucket, Key=address.key)
        except self._client.exceptions.ClientError as error:
            if is_missing(error):
                raise errors.NotFound("it has gone") from error
            raise
        if found["ETag"] != address.tag:
            raise errors.InUse("another upload has it now")
        self._drop(address.key)

    def _drop(self, key: str | None) -> None:
        if key is not None:
            self._client.delete_object(Bucket=self._place.bucket, Key=key)


def _utc(moment: datetime.datetime) -> datetime.datetime:
    return moment.astimezone(datetime.UTC)
