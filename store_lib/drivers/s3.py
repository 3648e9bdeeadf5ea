"""The S3 store: images as objects of one bucket, on Amazon's S3 and on the many servers that speak its protocol.

A small image is one PUT, a larger one a multipart upload; both refuse a name that is taken.  What servers do
differently stands in `store_lib.drivers._s3_servers`; where completing an upload cannot be made conditional, a claim
takes its place (`store_lib.drivers._s3_claim`).

Location: ``s3+https://<host>/<bucket>/<prefix><image id>``, over plain http ``s3://``, without credentials; every form
that glance_store wrote is read, and the credentials in it are not used.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, NoReturn

from store_lib import errors
from store_lib.drivers import _s3_opts
from store_lib.drivers._s3_client import Connection, Encryption
from store_lib.drivers._s3_errors import code_of, is_missing, status_of, translate
from store_lib.drivers._s3_leftovers import Leftovers
from store_lib.drivers._s3_servers import AUTO, SERVERS, Server
from store_lib.drivers._s3_transfer import S3Download, S3Upload
from store_lib.drivers._s3_values import OWNER, UPLOAD, Place, S3Address, info_of
from store_lib.interface import (
    GIB,
    MIB,
    Address,
    Capacity,
    Context,
    Deletion,
    Download,
    Driver,
    Feature,
    Leftover,
    Limits,
    Listed,
    ObjectInfo,
    Owner,
    Probe,
    Runtime,
    Status,
    Upload,
)
from store_lib.location import check_image_id
from store_lib.location_forms import S3Form
from store_lib.settings import StoreSettings

__all__ = ["S3Address", "S3Driver"]

#: Limits of the protocol: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_MIN_PART, _MAX_PART, _MAX_PARTS = 5 * MIB, 5 * GIB, 10_000
#: Parts of this size, ten at once and three more in memory, stay well below what a transfer may take by default.
_PART = 8 * MIB
#: Ranges read at once; more are no gain.
_WAYS = 8
#: Longest validity of a signed URL in seconds, with version 4 of the signature.
_WEEK = 7 * 24 * 3600


class S3Driver(Driver[S3Address]):
    """Images as objects of one bucket."""

    OPTIONS = _s3_opts.OPTIONS
    STANDS_FOR: ClassVar[Mapping[str, str]] = {"s3_store_thread_pools": "parallel"}
    FEATURES = ~(Feature.SPARSE | Feature.MOVE | Feature.ACLS)
    SCHEMES = S3Form.SCHEMES

    def __init__(self, settings: StoreSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        self.place = Place.of(settings)
        self.encryption = Encryption(settings)
        self._connections = runtime.per_process(lambda: Connection(settings, self.place), Connection.close)

    @classmethod
    def check(cls, settings: StoreSettings) -> Iterable[errors.Mistake]:
        """Yield every mistake in the options."""
        return _s3_opts.check(settings)

    def translate(self, error: BaseException) -> errors.StoreLibError | None:
        """Return store_lib's error for one of the SDK's."""
        return translate(error)

    @property
    def features(self) -> Feature:
        """FEATURES, less what the named kind of server and the encryption do not allow."""
        found = self.FEATURES
        named = SERVERS.get(self.settings["s3_store_server"])
        if named is None or not named.usage:
            found &= ~Feature.CAPACITY
        if named is not None and not named.exclusive_put:
            found &= ~Feature.EXCLUSIVE
        if self.encryption.reading:
            found &= ~Feature.SIGNED_URLS  # who reads must send the key
        return found

    # -- limits -------------------------------------------------------------------------------------------------------

    @property
    def limits(self) -> Limits:
        """The limits of an upload to a server that is as named, or like most."""
        return self.limits_of(SERVERS.get(self.settings["s3_store_server"], SERVERS["other"]), None)

    def limits_of(self, server: Server, size: int | None) -> Limits:
        """Return the limits of an upload of `size` bytes."""
        settings = self.settings
        part = _PART
        if settings.origin("s3_store_large_object_chunk_size").by_operator:
            part = settings["s3_store_large_object_chunk_size"] * MIB
        whole = 2 * part
        if settings.origin("s3_store_large_object_size").by_operator:
            whole = max(0, settings["s3_store_large_object_size"] * MIB - 1)
        written = settings["s3_store_content_md5"]
        with_md5 = server.unguarded(self.place.secure) if written is None else written
        return Limits(
            part_size=part,
            min_part=_MIN_PART,
            max_part=_MAX_PART,
            max_parts=_MAX_PARTS,
            parallel=settings["s3_store_thread_pools"],
            equal_parts=server.equal_parts,
            whole_max=min(whole, _MAX_PART),
            part_digest="md5" if with_md5 else None,
            copy_min=_MIN_PART,
            copy_max=_MAX_PART,
        )

    # -- locations ----------------------------------------------------------------------------------------------------

    def parse(self, uri: str) -> S3Address:
        """Return the address of a location; host, bucket and prefix must be the store's."""
        return self.place.parse(uri)

    def uri(self, address: S3Address) -> str:
        return self.place.uri(address)

    def image_id(self, address: S3Address) -> str | None:
        return _image_id(address.key[len(self.place.prefix) :])

    def prefix(self) -> str | None:
        return f"{self.place.root}/{self.place.prefix}"

    # -- one image ----------------------------------------------------------------------------------------------------

    def head(self, address: S3Address, connection: Connection) -> Mapping[str, Any] | None:
        """Return what HEAD tells of an object, None when bucket or object is not there."""
        what = {"Bucket": self.place.bucket, "Key": address.key}
        try:
            found: Mapping[str, Any] = connection.client.head_object(**what, **self.encryption.reading)
        except connection.client.exceptions.ClientError as error:
            if is_missing(error):
                return None
            if status_of(error) in (400, 403):  # an answer to HEAD has no body; this one says why
                connection.client.get_object(**what, Range="bytes=0-0")["Body"].close()
            raise
        return found

    def _there(self, address: S3Address) -> Mapping[str, Any]:
        """Return what HEAD tells of an object; NotFound once the bucket was seen."""
        connection = self._connections.get()
        found = self.head(address, connection)
        if found is None:
            self._missing(connection)
        return found

    def _missing(self, connection: Connection) -> NoReturn:
        """Raise NotFound if the bucket is there, and what is wrong with it otherwise."""
        try:
            connection.bucket_headers(connection.client)
        except connection.client.exceptions.ClientError as error:
            raise self._bucket_error(error) from error
        raise errors.NotFound("there is no such object in the bucket")

    def _bucket_error(self, error: Any) -> errors.StoreLibError:
        """Return what an answer about the bucket itself means: that the store cannot be used."""
        if is_missing(error):
            text = f"bucket {self.place.bucket} does not exist; make it, or set s3_store_create_bucket_on_put"
            return errors.StoreUnavailable(text, transient=False)
        return translate(error) or errors.BackendError("the bucket cannot be looked at")

    def stat(self, address: S3Address, ctx: Context) -> ObjectInfo:
        """Return what HEAD tells."""
        return info_of(self._there(address), plain=self.encryption.plain_tags)

    def open(self, address: S3Address, offset: int, length: int | None, ctx: Context) -> Download:
        """Ask for the first range at once: that tells everything of the image, and no HEAD comes before it."""
        connection = self._connections.get()
        client = connection.client
        limits = Limits(part_size=self.limits.part_size, parallel=_WAYS, ranges=True)
        request = {"Bucket": self.place.bucket, "Key": address.key, **self.encryption.reading}
        size = self.settings.base.part_size or limits.part_size
        last = offset + max(1, min(size, size if length is None else length)) - 1
        try:
            answer = client.get_object(**request, Range=f"bytes={offset}-{last}")
        except client.exceptions.ClientError as error:
            if status_of(error) == 416:  # empty, or shorter than that
                info = info_of(self._there(address), plain=self.encryption.plain_tags)
                return S3Download(client, request, info, limits, None, 0)
            if code_of(error) != "NoSuchKey" and is_missing(error):
                self._missing(connection)
            raise
        whole = answer.get("ContentRange", "").rpartition("/")[2]
        if offset and not whole:
            answer["Body"].close()
            raise errors.BackendError("the server sends whole objects only, where a range was asked for")
        info = info_of(answer, size=int(whole) if whole else None, plain=self.encryption.plain_tags)
        return S3Download(client, request, info, limits, answer, offset)

    def upload(self, image_id: str, size: int | None, ctx: Context) -> Upload[S3Address]:
        """Find out what the server can do, and look whether the name is taken unless one PUT will tell."""
        connection = self._connections.get()
        server = self._server(connection)
        address = self.place.address(image_id)
        made = S3Upload(self, connection, server, address, size, ctx.owner)
        tells_itself = server.exclusive_put and size is not None and size <= made.limits.whole_max
        if not tells_itself and self.head(address, connection) is not None:
            raise errors.Duplicate("an image of that id is there already")
        return made

    def delete(self, address: S3Address, ctx: Context) -> Deletion:
        """Remove the object; a server does not tell whether there was one, so a HEAD asks before."""
        if not ctx.missing_ok:
            self._there(address)
        self._connections.get().client.delete_object(Bucket=self.place.bucket, Key=address.key)
        return Deletion.DELETED

    def signed_url(self, address: S3Address, seconds: float, ctx: Context) -> str:
        """Return a URL of the object, signed by this store's credentials, which it does not outlive."""
        if not 1 <= seconds <= _WEEK:
            raise errors.BadRequest(f"a signed URL is valid for 1 to {_WEEK} seconds, not {seconds:g}")
        what = {"Bucket": self.place.bucket, "Key": address.key}
        client = self._connections.get().client
        return str(client.generate_presigned_url("get_object", Params=what, ExpiresIn=int(seconds)))

    # -- what an upload asks ------------------------------------------------------------------------------------------

    def attributes(self, owner: Owner) -> dict[str, Any]:
        """Return what new objects are made with."""
        storage_class = self.settings["s3_store_storage_class"]
        return {
            "ContentType": "application/octet-stream",
            "Metadata": {UPLOAD: owner.upload, OWNER: owner.encode()},
            **({"StorageClass": storage_class} if storage_class else {}),
            **self.encryption.creating,
        }

    def in_bucket(self, call: Callable[[], Any], connection: Connection) -> Any:
        """Return ``call()``; where the bucket is missing and may be made, it is made, and called again."""
        try:
            return call()
        except connection.client.exceptions.ClientError as error:
            if code_of(error) != "NoSuchBucket" or not self.settings["s3_store_create_bucket_on_put"]:
                raise
        self._make_bucket(connection)
        return call()

    def copy_source(self, source: Driver[Any], address: Address, connection: Connection) -> dict[str, Any]:
        """Return the parameters of a copy inside the server, from the version that is there now.

        :raises CannotMigrate: the other store has another server, or lets this one's credentials not read.
        """
        if not isinstance(source, S3Driver) or not isinstance(address, S3Address):
            raise errors.CannotMigrate("the other store is no S3 store")
        if source.place.endpoint != self.place.endpoint:
            raise errors.CannotMigrate("the other store is on another server")
        where = {"Bucket": source.place.bucket, "Key": address.key}
        try:
            found = connection.client.head_object(**where, **source.encryption.reading)
        except connection.client.exceptions.ClientError as error:
            raise errors.CannotMigrate("this store's credentials may not read the other's image") from error
        pinned = {**where, **({"VersionId": found["VersionId"]} if found.get("VersionId") else {})}
        return {"CopySource": pinned, "CopySourceIfMatch": found["ETag"], **source.encryption.source()}

    # -- the store itself ---------------------------------------------------------------------------------------------

    def _server(self, connection: Connection) -> Server:
        """Return the kind of server, asked where nobody named it.

        :raises ReadOnlyStore: it cannot keep two writers apart, and nobody said that this is known.
        """
        if connection.server is None:
            self._headers(connection, connection.client)
            connection.learn({}, may_write=True)
        server = connection.server
        assert server is not None
        problem = connection.unsafe()
        if problem is not None:
            raise errors.ReadOnlyStore(problem)
        return server

    def _headers(self, connection: Connection, client: Any) -> Mapping[str, str]:
        """Return the headers of HEAD of the bucket, which is made where it may be and is needed."""
        try:
            return connection.bucket_headers(client)
        except client.exceptions.ClientError as error:
            if not is_missing(error) or not self.settings["s3_store_create_bucket_on_put"]:
                raise self._bucket_error(error) from error
            if connection.server is None:
                self._make_bucket(connection)
            return {}

    def _make_bucket(self, connection: Connection) -> None:
        client = connection.client
        server, region = connection.server, client.meta.region_name
        constrained = server is not None and server.constrained and region != "us-east-1"
        more = {"CreateBucketConfiguration": {"LocationConstraint": region}} if constrained else {}
        try:
            client.create_bucket(Bucket=self.place.bucket, **more)
        except client.exceptions.ClientError as error:
            if code_of(error) != "BucketAlreadyOwnedByYou":
                raise

    def probe(self, ctx: Context) -> Probe:
        """Look at the bucket by HEAD; write and delete a hidden object where the option wants it."""
        connection = self._connections.get()
        client = connection.quick
        try:
            there = self._headers(connection, client)
        except errors.Forbidden:
            client.list_objects_v2(Bucket=self.place.bucket, MaxKeys=1)  # its answer, unlike HEAD's, says why
            raise
        if connection.server is None:
            connection.learn({}, may_write=not self.settings.base.read_only)
        if self.settings["s3_store_probe_write"] and not self.settings.base.read_only:
            what = {"Bucket": self.place.bucket, "Key": f"{self.place.hidden}probe-{uuid.uuid4().hex}"}
            self.in_bucket(lambda: client.put_object(**what, Body=b""), connection)
            client.delete_object(**what)
        server = connection.server
        name = server.name if server else AUTO
        details = {"endpoint": self.place.endpoint, "bucket": self.place.bucket, "server": name}
        details["region"] = client.meta.region_name
        problem = connection.unsafe(client)
        if problem is not None:
            return Probe(Status.READ_ONLY, problem, details)
        answers = "answers" if there else "will be made by the first image"
        return Probe(Status.UP, f"bucket {self.place.bucket} {answers}", details)

    def initialise(self, ctx: Context) -> str:
        """Make the bucket, where there is none."""
        connection = self._connections.get()
        try:
            connection.bucket_headers(connection.client)
        except connection.client.exceptions.ClientError as error:
            if not is_missing(error):
                raise
            self._make_bucket(connection)
            return f"made bucket {self.place.bucket}"
        return f"bucket {self.place.bucket} is there"

    def list(self, ctx: Context) -> Iterator[Listed[S3Address]]:
        """Yield the objects below the prefix; what has a slash in the rest of its name is none of the store's."""
        pages = self._connections.get().client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.place.bucket, Prefix=self.place.prefix, Delimiter="/"):
            ctx.check()
            for each in page.get("Contents", ()):
                name = each["Key"][len(self.place.prefix) :]
                if name and not name.startswith("."):
                    modified = info_of({**each, "ContentLength": each["Size"]}).modified
                    yield Listed(S3Address(each["Key"]), _image_id(name), each["Size"], modified)

    def capacity(self, ctx: Context) -> Capacity:
        """Return what the bucket's headers tell; its quota, where it has one, is the total."""
        connection = self._connections.get()
        headers = self._headers(connection, connection.client)
        used = int(headers.get("x-rgw-bytes-used", 0))
        quota = int(headers.get("x-rgw-quota-bucket-size", -1))
        if quota < 0:
            return Capacity(None, None, used)
        return Capacity(quota, max(0, quota - used), used)

    def describe(self) -> Mapping[str, Any]:
        """Return what services show of an S3 store."""
        return {
            "endpoint": self.place.endpoint,
            "bucket": self.place.bucket,
            "s3_store_large_object_size": self.settings["s3_store_large_object_size"],
            "s3_store_large_object_chunk_size": self.settings["s3_store_large_object_chunk_size"],
            "s3_store_thread_pools": self.settings["s3_store_thread_pools"],
        }

    def leftovers(self, ctx: Context) -> Iterator[Leftover]:
        """Yield multipart uploads that were not completed, and hidden objects that were not removed."""
        return Leftovers(self._connections.get().client, self.place).find(ctx)

    def sweep(self, leftover: Leftover, ctx: Context) -> None:
        """Remove one of them, unless it was used again since it was found."""
        Leftovers(self._connections.get().client, self.place).remove(leftover)

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()


def _image_id(name: str) -> str | None:
    try:
        return check_image_id(name)
    except errors.BadImageId:
        return None
