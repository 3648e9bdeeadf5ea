"""Exclusive completion among store_lib's writers, for servers that honour ``If-None-Match`` on PUT alone.

Who wants to complete an upload first makes a claim: a hidden object beside the images, made exclusively.  With the
claim in hand it looks whether the name is taken, completes, and removes the claim.  Who has put a small image looks
for a claim afterwards: where there is one, it waits for what becomes of it.  So of any two writers one sees the other:
either the completing one finds the image, or the one that put it finds the claim.

A claim names its owner and its multipart upload.  It is void once that upload has ended, or its owner certainly has;
it is then taken over by a conditional PUT, which one of several succeeds with.
"""

from __future__ import annotations

import datetime
import email.utils
import time
from typing import Any

from store_lib import errors
from store_lib.drivers._s3_errors import is_missing, status_of
from store_lib.drivers._s3_servers import Server
from store_lib.drivers._s3_values import Place, S3Address
from store_lib.interface import Owner, Runtime

__all__ = ["Claim"]

#: Seconds after which a claim means nothing whose owner nobody can ask: completing takes far less.
STALE = 600
#: Seconds that one call waits for another writer, and between two looks.
_PATIENCE, _NAP = 20.0, 0.1


class Claim:
    """One upload's claim on the name of its image; used by one thread at a time."""

    def __init__(
        self, client: Any, server: Server, place: Place, address: S3Address, owner: Owner, runtime: Runtime
    ) -> None:
        self._client = client
        self._server = server
        self._object = {"Bucket": place.bucket, "Key": place.claim(address)}
        self._image = {"Bucket": place.bucket, "Key": address.key}
        self._owner = owner
        self._runtime = runtime
        self.made = False  #: whether there may be an object of ours

    def take(self, upload: str) -> bool:
        """Return True once the claim is ours, False when an image is there already.

        :param upload: id of our multipart upload.
        :raises Busy: another writer holds it and goes on.
        """
        body = f"{self._owner.encode()}\n{upload}"
        end = time.monotonic() + _PATIENCE
        while not self._put(body, IfNoneMatch="*"):
            found = self._found()
            if found is not None:
                text, tag, age = found
                if text == body:
                    break
                if self._taken():
                    return False
                if self._void(text, age) and self._put(body, IfMatch=self._condition(tag)):
                    break
            if time.monotonic() > end:
                raise errors.Busy("another writer is about to complete an image of that id")
            time.sleep(_NAP)
        return True

    def _condition(self, tag: str) -> str:
        return tag if self._server.quoted_match else tag.strip('"')

    def _taken(self) -> bool:
        try:
            self._client.head_object(**self._image)
        except self._client.exceptions.ClientError as error:
            if is_missing(error):
                return False
            raise
        return True

    def wait_for_others(self) -> bool:
        """Return whether somebody held the claim, once nobody does any more, or not in earnest.

        :raises Busy: somebody holds it and goes on.
        """
        held, end = False, time.monotonic() + _PATIENCE
        while (found := self._found()) is not None and not self._void(found[0], found[2]):
            held = True
            if time.monotonic() > end:
                raise errors.Busy("another writer is about to complete an image of that id")
            time.sleep(_NAP)
        return held

    def release(self) -> None:
        """Remove the claim if it is ours; harmless when repeated."""
        if self.made:
            found = self._found()
            if found is not None and found[0].startswith(self._owner.encode() + "\n"):
                self._client.delete_object(**self._object)
            self.made = False

    def _put(self, body: str, **condition: str) -> bool:
        self.made = True
        try:
            self._client.put_object(**self._object, Body=body.encode(), **condition)
            return True
        except self._client.exceptions.ClientError as error:
            # 500 is what Ceph's gateway answers to who lost a race; whether it was that, another look tells.
            if status_of(error) in (409, 412, 500) or ("IfMatch" in condition and is_missing(error)):
                return False
            raise

    def _found(self) -> tuple[str, str, float] | None:
        """Return body, ETag and age in seconds of the claim that is there, None when there is none."""
        try:
            answer = self._client.get_object(**self._object)
        except self._client.exceptions.ClientError as error:
            if is_missing(error):
                return None
            raise
        with answer["Body"] as body:
            text = body.read().decode(errors="replace")
        now = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        seen = email.utils.parsedate_to_datetime(now) if now else datetime.datetime.now(datetime.UTC)
        return text, answer["ETag"], (seen - answer["LastModified"]).total_seconds()

    def _void(self, text: str, age: float) -> bool:
        """Whether nobody can complete on the strength of that claim any more."""
        name, _, upload = text.partition("\n")
        owner = Owner.decode(name)
        if owner is None or age > STALE or self._runtime.gone(owner):
            return True
        try:
            self._client.list_parts(**self._image, UploadId=upload, MaxParts=1)
        except self._client.exceptions.ClientError as error:
            if is_missing(error):
                return True
            raise
        return False
