"""The swift store: images as objects of OpenStack Swift, in the service's own account or in those of its users.

A small image is one object; a large one lies in segments, which a manifest makes one object.  The bytes of both are
compared with what Swift acknowledged.  Locations are ``swift+config://REFERENCE/CONTAINER/ID``, or, where each project
has its own account, ``swift+https://HOST/v1/AUTH_PROJECT/CONTAINER/ID``; every older form is read.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from store_lib import errors
from store_lib.drivers.swift import failures, leftovers, options
from store_lib.drivers.swift.client import Account, Answer, server_info
from store_lib.drivers.swift.download import look, open_object
from store_lib.drivers.swift.names import Names, SwiftAddress, root_of
from store_lib.drivers.swift.place import Place, missing
from store_lib.drivers.swift.references import References, server_of
from store_lib.drivers.swift.segments import all_segments, dynamic_segments, is_dynamic, is_static, remove
from store_lib.drivers.swift.tenancy import Abilities, OwnAccount, Tenancy, TenantAccounts
from store_lib.drivers.swift.upload import SwiftUpload
from store_lib.interface import (
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
    Probe,
    Runtime,
    Status,
    Upload,
)
from store_lib.location import check_image_id
from store_lib.settings import StoreSettings

__all__ = ["SwiftDriver"]

_PARALLEL = 8
_OWN_ONLY = Feature.LIST | Feature.LEFTOVERS | Feature.CAPACITY


class SwiftDriver(Driver[SwiftAddress]):
    """Images in Swift."""

    OPTIONS = options.OPTIONS
    FEATURES = (
        Feature.WRITE
        | Feature.DELETE
        | Feature.RANGES
        | Feature.LIST
        | Feature.EXCLUSIVE
        | Feature.CAPACITY
        | Feature.LEFTOVERS
        | Feature.COPY
        | Feature.ACLS
        | Feature.SIGNED_URLS
    )
    SCHEMES = ("swift+config", "swift+https", "swift+http", "swift")

    def __init__(self, settings: StoreSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        self._references = References(settings)
        self._names = Names(settings, self._references)
        kind = TenantAccounts if self._names.tenants else OwnAccount
        self._tenancy: Tenancy = kind(settings, runtime, self._references)

    @classmethod
    def check(cls, settings: StoreSettings) -> Iterable[errors.Mistake]:
        """Yield every mistake in the options and in the file of accounts."""
        return options.check(settings)

    @property
    def features(self) -> Feature:
        """Listing needs one account; access lists need one container an image; URLs need a key to sign with."""
        features = self.FEATURES & ~(_OWN_ONLY if self._names.tenants else Feature.ACLS)
        return features if self.settings["swift_temp_url_key"] else features & ~Feature.SIGNED_URLS

    @property
    def limits(self) -> Limits:
        """The limits as the settings have them, for a server of our days."""
        return self._limits(Abilities())

    def _limits(self, abilities: Abilities) -> Limits:
        segment = options.segment_size(self.settings)
        most = abilities.manifest
        return Limits(
            part_size=min(max(segment, abilities.least), abilities.largest),
            min_part=abilities.least,
            max_part=abilities.largest,
            max_parts=max(most * most, most) if most else None,
            parallel=_PARALLEL,
            whole_max=min(options.threshold(self.settings), abilities.largest),
            ranges=True,
            part_digest="md5",
            copy_max=abilities.largest,
        )

    def translate(self, error: BaseException) -> errors.StoreLibError | None:
        """Return store_lib's error for one of the client, of its connections, or of Keystone's client."""
        return failures.translate(error)

    # -- locations ----------------------------------------------------------------------------------------------------

    def parse(self, uri: str) -> SwiftAddress:
        """Return the address of any form that services hold; its account and container must be of this store."""
        return self._names.parse(uri)

    def uri(self, address: SwiftAddress) -> str:
        """Return the location, without user and key."""
        return self._names.uri(address)

    def image_id(self, address: SwiftAddress) -> str | None:
        """Return the name of the object."""
        return address.object

    def prefix(self) -> str | None:
        """Return what locations begin with; None where that depends on the project."""
        return self._names.prefix()

    # -- single images ------------------------------------------------------------------------------------------------

    def _head(self, address: SwiftAddress, ctx: Context) -> tuple[Account, Answer]:
        account = self._tenancy.account(address, ctx)
        answer = account.request(ctx, "HEAD", address.container, address.object)
        if answer.status == 404:
            raise missing(account, address.container, self._names.scattered, ctx)
        return account, answer.check()

    def stat(self, address: SwiftAddress, ctx: Context) -> ObjectInfo:
        account, answer = self._head(address, ctx)
        return look(account, answer, ctx)[0]

    def open(self, address: SwiftAddress, offset: int, length: int | None, ctx: Context) -> Download:
        """Look at the object, and at its manifest if it is one."""
        account = self._tenancy.account(address, ctx)
        limits = self._limits(Abilities())
        return open_object(account, address.container, address.object, self._names.scattered, limits, ctx)

    def upload(self, image_id: str, size: int | None, ctx: Context) -> Upload[SwiftAddress]:
        """See that the id is free; ask once what the server can do."""
        whole = options.threshold(self.settings)
        name, account = self._tenancy.target(ctx, long=size is None or size > whole)
        try:
            container = self._names.container(image_id)
            answer = account.request(ctx, "HEAD", container, image_id)
            if answer.status != 404:
                answer.check()
                raise errors.Duplicate(f"image {image_id} is there already")
            abilities = self._tenancy.cloud().abilities(account.url, ctx)
        except BaseException:
            account.tokens.close()
            raise
        place = self._place(account, container)
        address = SwiftAddress(name, container, image_id)
        return SwiftUpload(place, address, abilities, self._limits(abilities), self.runtime, ctx, self._source(ctx))

    def _place(self, account: Account, container: str) -> Place:
        own = self._names.tenants
        create = own or self.settings["swift_store_create_container_on_put"]
        return Place(account, container, self._names.segments(container), create, own)

    @staticmethod
    def _source(ctx: Context) -> Any:
        def find(source: Driver[Any], address: Address) -> tuple[Account, SwiftAddress] | None:
            if not isinstance(source, SwiftDriver) or not isinstance(address, SwiftAddress):
                return None
            return source._tenancy.account(address, ctx), address

        return find

    def delete(self, address: SwiftAddress, ctx: Context) -> Deletion:
        """Remove the segments, then the image: what is broken off stays visible and is deleted by the next try."""
        account, answer = self._head(address, ctx)
        manifest = is_dynamic(answer)
        segments = []
        if is_static(answer):
            segments = [*all_segments(account, address.container, address.object, ctx)]
        elif manifest is not None:
            segments = dynamic_segments(account, manifest, ctx)
        if segments:
            # Inner manifests last, as the outer one: they tell where the segments are.
            bulk = self._tenancy.cloud().abilities(account.url, ctx).bulk
            for inner in (False, True):
                names = [(each.container, each.name) for each in segments if each.manifest is inner]
                remove(account, names, bulk, ctx)
        gone = account.request(ctx, "DELETE", address.container, address.object)
        if gone.status == 404:
            raise missing(account, address.container, self._names.scattered, ctx)
        gone.check()
        if self._names.tenants and address.container != self._names.base:
            account.request(ctx, "DELETE", address.container)  # refused when somebody put more into it
        return Deletion.DELETED

    def set_acls(
        self,
        address: SwiftAddress,
        public: bool,
        read_tenants: Sequence[str],
        write_tenants: Sequence[str],
        ctx: Context,
    ) -> None:
        """Set the access lists of the image's container."""
        account, _ = self._head(address, ctx)
        admins = self.settings["swift_store_admin_tenants"]  # they read as well: who may not cannot delete an image
        readers = ["*:*"] if public else [f"{tenant}:*" for tenant in dict.fromkeys([*read_tenants, *admins])]
        writers = [f"{tenant}:*" for tenant in dict.fromkeys([*write_tenants, *admins])]
        headers = {"X-Container-Read": ",".join(readers), "X-Container-Write": ",".join(writers)}
        account.request(ctx, "POST", address.container, headers=headers).check()

    def signed_url(self, address: SwiftAddress, seconds: float, ctx: Context) -> str:
        """Return a temporary URL, signed with the best digest that the server takes."""
        from swiftclient.utils import generate_temp_url

        account, _ = self._head(address, ctx)
        known = self._tenancy.cloud().abilities(account.url, ctx).signatures
        digest = next((name for name in ("sha256", "sha512", "sha1") if name in known), "sha256")
        path = f"{account.path}/{address.container}/{address.object}"
        key = self.settings["swift_temp_url_key"]
        signed = generate_temp_url(path, max(1, int(seconds)), key, "GET", digest=digest)
        signed_path, _, query = signed.partition("?")
        server = account.url.removesuffix(account.path)
        return f"{server}{urllib.parse.quote(signed_path)}?{query}"

    # -- the store ----------------------------------------------------------------------------------------------------

    def _containers(self, account: Account, ctx: Context) -> list[str]:
        """Return the containers of images that are there."""
        if not self._names.seed:
            return [self._names.base]
        return [self._names.base, *account.containers(ctx, f"{self._names.base}_")]

    def list(self, ctx: Context) -> Iterator[Listed[SwiftAddress]]:
        """Yield what lies directly in the containers and can be an image."""
        name, account = self._tenancy.target(ctx, long=False)
        for container in self._containers(account, ctx):
            try:
                yield from self._list_one(name, account, container, ctx)
            except errors.NotFound:
                self._must_not_be_missing(account, container, ctx)

    def _must_not_be_missing(self, account: Account, container: str, ctx: Context) -> None:
        if not self._names.seed and not self.settings["swift_store_create_container_on_put"]:
            raise errors.StoreUnavailable(f"container {container} is missing", transient=False)
        account.request(ctx, "HEAD").check()

    def _list_one(self, name: str, account: Account, container: str, ctx: Context) -> Iterator[Listed[SwiftAddress]]:
        for entry in leftovers.images(account.objects(ctx, container, delimiter="/")):
            try:
                address = SwiftAddress(name, container, check_image_id(entry.name))
            except errors.BadImageId:
                continue
            size = entry.size or None  # a dynamic manifest is listed with no bytes
            if size is None:
                answer = account.request(ctx, "HEAD", container, entry.name)
                size = look(account, answer, ctx)[0].size if answer.ok else None
            yield Listed(address, entry.name, size, entry.modified)

    def leftovers(self, ctx: Context) -> Iterator[Leftover]:
        """Yield segments without a manifest, and claims of the dead."""
        _, account = self._tenancy.target(ctx, long=False)
        for container in self._containers(account, ctx):
            try:
                yield from leftovers.find(account, self._names.segments(container), container, ctx)
            except errors.NotFound:
                self._must_not_be_missing(account, container, ctx)

    def sweep(self, leftover: Leftover, ctx: Context) -> None:
        """Look once more, then remove it."""
        _, account = self._tenancy.target(ctx, long=False)
        leftovers.sweep(account, leftover, self._tenancy.cloud().abilities(account.url, ctx).bulk, ctx)

    def probe(self, ctx: Context) -> Probe:
        """Log in, and look at the container."""
        if self._names.tenants:
            return self._probe_tenants(ctx)
        account = self._tenancy.probed(ctx)
        answer = account.request(ctx, "HEAD", self._names.base)
        if answer.status == 404 and self._place(account, self._names.base).create:
            account.request(ctx, "HEAD").check()
            return Probe(Status.UP, f"container {self._names.base} will be made when the first image is added")
        if answer.status == 404 and self._names.seed:
            return Probe(Status.UP)
        if answer.status == 404:
            return Probe(
                Status.DOWN,
                f"container {self._names.base} is missing: make it ('store-lib store init'), or set "
                "swift_store_create_container_on_put",
            )
        return _level(answer, _room(answer, "container")) if answer.ok else _down(answer)

    def _probe_tenants(self, ctx: Context) -> Probe:
        """Log in where the service has credentials of its own, else ask nothing that takes some."""
        if self._tenancy.has_own():
            answer = self._tenancy.probed(ctx).request(ctx, "HEAD")
            # Which account the service itself has does not matter here: Swift answers, and takes its token.
            return Probe(Status.UP) if answer.ok or answer.status in (403, 404) else _down(answer)
        if self.settings["swift_store_endpoint"]:
            server_info(self.settings["swift_store_endpoint"], self._tenancy.cloud().connections, ctx)
            return Probe(Status.UP)
        return Probe(Status.UP, "nothing was asked: it takes credentials of the service, or swift_store_endpoint")

    def capacity(self, ctx: Context) -> Capacity:
        """Return the quota that leaves the least room, of the account or of the container; used is the account's."""
        account = self._tenancy.probed(ctx)
        answer = account.request(ctx, "HEAD").check()
        rooms = [_room(answer, "account")]
        if not self._names.seed:
            rooms.append(_room(account.request(ctx, "HEAD", self._names.base), "container"))
        limited = [room for room in rooms if room.free is not None]
        return min(limited, key=lambda room: room.free or 0) if limited else rooms[0]

    def initialise(self, ctx: Context) -> str:
        """Make the containers."""
        if self._names.scattered:
            raise errors.NotSupported("the containers of this store are made with the images")
        account = self._tenancy.probed(ctx)
        names = [*dict.fromkeys([self._names.base, self._names.segments(self._names.base)])]
        made = [name for name in names if account.request(ctx, "PUT", name).check().status == 201]
        return f"made container {' and '.join(made)}" if made else f"container {' and '.join(names)} was there already"

    def backend_id(self) -> str | None:
        """Return the cluster: by its storage URL where that is written, else by Keystone, region and type."""
        settings = self.settings
        written = settings["swift_store_endpoint"]
        if written:
            return f"swift:{root_of(written) or written}"
        login = self._references.all().get(self._references.default)
        if login is None or not login.auth_url:
            return None
        region, kind = settings["swift_store_region"] or "", settings["swift_store_service_type"]
        return f"swift:{server_of(login.auth_url)}:{region}:{kind}"

    def describe(self) -> Mapping[str, Any]:
        """Return container and sizes, in the words that services show."""
        settings = self.settings
        return {
            "container": self._names.base,
            "large_object_size": options.threshold(settings),
            "large_object_chunk_size": options.segment_size(settings),
            "multi_tenant": self._names.tenants,
            "reference": self._references.default,
        }

    def close(self) -> None:
        """End the connections."""
        self._tenancy.close()


def _down(answer: Answer) -> Probe:
    raise answer.error()


def _room(answer: Answer, kind: str) -> Capacity:
    """Return the room that the headers of an account or a container tell of."""
    used = int(answer.headers.get(f"x-{kind}-bytes-used", 0))
    quota = answer.headers.get(f"x-{kind}-meta-quota-bytes")
    if not quota or not quota.isdecimal():
        return Capacity(None, None, used)
    return Capacity(int(quota), max(0, int(quota) - used), used)


def _level(answer: Answer, room: Capacity) -> Probe:
    if room.total and room.free is not None and room.free * 20 < room.total:
        return Probe(Status.DEGRADED, f"{room.free} of {room.total} bytes of the container's quota are free")
    return Probe(Status.UP)
