"""Writing an image: in one request, or in segments that a manifest makes one object."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from store_lib import errors
from store_lib.drivers.swift.claim import claimed
from store_lib.drivers.swift.client import Account, Answer
from store_lib.drivers.swift.download import info_of, look
from store_lib.drivers.swift.names import SwiftAddress, owned_prefix, root_of
from store_lib.drivers.swift.place import Place
from store_lib.drivers.swift.segments import Segment, is_static, remove, static_segments
from store_lib.drivers.swift.tenancy import Abilities
from store_lib.errors import Outcome
from store_lib.interface import (
    Address,
    Checksum,
    Committed,
    Context,
    Driver,
    Leftover,
    Limits,
    ObjectInfo,
    Part,
    Runtime,
    Token,
    Upload,
)

__all__ = ["UPLOAD", "SwiftUpload"]

#: Metadata by which an upload knows its own object.
UPLOAD = "X-Object-Meta-Store-Lib-Upload"
_KIND = {"Content-Type": "application/octet-stream"}
#: How long a listing may lag behind what was written, in seconds, before a dynamic manifest is given up.
_LAG = 20.0

LOG = logging.getLogger(__name__)

Commit = Committed[SwiftAddress]


@dataclasses.dataclass(frozen=True)
class Stored:
    """A segment that Swift has acknowledged."""

    name: str
    size: int
    etag: str


class SwiftUpload(Upload[SwiftAddress]):
    """One image on its way.

    :param source: returns the account that an address of another store of the same cluster is in, None for none.
    """

    def __init__(
        self,
        place: Place,
        address: SwiftAddress,
        abilities: Abilities,
        limits: Limits,
        runtime: Runtime,
        ctx: Context,
        source: Callable[[Driver[Any], Address], tuple[Account, SwiftAddress] | None],
    ) -> None:
        self.limits = limits
        self.uuid = ctx.owner.upload
        self._place = place
        self._account = place.account
        self._address = address
        self._abilities = abilities
        self._runtime = runtime
        self._ctx = ctx
        self._source = source
        self._prefix = owned_prefix(address.object, ctx.owner.encode())
        self._written: set[str] = set()
        self._sources: dict[SwiftAddress, list[Segment]] = {}
        self._lock = threading.Lock()
        self._begun = self._committing = self._committed = self._ended = False

    def start(self) -> None:
        """Put a mark with the owner in its name, which makes the containers where that is wanted."""
        self._begun = True
        self._put(self._prefix + "begun", b"").check()

    def _put(self, name: str, body: bytes | memoryview, **more: Any) -> Answer:
        return self._place.put(self._ctx, self._place.segments, name, body, **more)

    def _name(self, suffix: str) -> str:
        name = self._prefix + suffix
        with self._lock:
            self._written.add(name)
        return name

    def write_part(self, part: Part) -> Token:
        """Put a segment; Swift compares its ETag with the bytes, and this the answer's."""
        name = self._name(f"{part.index:08d}")
        answer = self._put(name, part.data, headers={"ETag": part.digest or "", **_KIND}).check()
        if answer.etag != part.digest:
            raise errors.DigestMismatch(
                "Swift acknowledged a segment with another ETag than that of its bytes", transient=True
            )
        return (Stored(name, part.length, answer.etag),)

    def copy_part(self, source: Driver[Any], address: Address, index: int, offset: int, length: int) -> Token:
        """Have Swift copy a range of another image of the cluster into segments, one for each that it touches there."""
        found = self._source(source, address)
        if found is None or root_of(found[0].url) != root_of(self._account.url):
            raise errors.CannotMigrate("the two stores are no accounts of one Swift")
        account, place = found
        copied: list[Stored] = []
        for each in _within(self._segments_of(account, place), offset, length):
            copied.append(self._copy(account, each, f"{index:08d}" + (f"-{len(copied):04d}" if copied else "")))
        return tuple(copied)

    def _segments_of(self, account: Account, place: SwiftAddress) -> list[Segment]:
        """Return what the source consists of.

        Not by its manifest: copies of that bear marks of it, by which Swift then compares their ETags.
        """
        with self._lock:
            if place not in self._sources:
                answer = account.request(self._ctx, "HEAD", place.container, place.object)
                if not answer.ok:
                    raise errors.CannotMigrate("the source cannot be seen from the destination's account")
                if is_static(answer):
                    found = static_segments(account, place.container, place.object, self._ctx)
                    self._sources[place] = [each for each in found if not each.manifest]
                    if not all(each.name for each in self._sources[place]):
                        raise errors.CannotMigrate("some bytes of the image stand in its manifest")
                else:
                    info, found = look(account, answer, self._ctx)
                    self._sources[place] = found or [Segment(place.container, place.object, 0, 0, info.size, "")]
            return self._sources[place]

    def _copy(self, account: Account, segment: Segment, suffix: str) -> Stored:
        name = self._name(suffix)
        headers = {
            "X-Copy-From": _quoted(f"{segment.container}/{segment.name}"),
            "X-Copy-From-Account": _quoted(account.path.rpartition("/")[2]),
            "Range": f"bytes={segment.start}-{segment.start + segment.size - 1}",
            "X-Fresh-Metadata": "true",
            **_KIND,
        }
        answer = self._account.request(self._ctx, "PUT", self._place.segments, name, headers=headers, body=b"")
        if answer.status in (403, 404, 405, 413):
            raise errors.CannotMigrate(f"Swift does not copy it: {answer.error().message}")
        answer.check()
        if "x-copied-from" not in answer.headers:  # it knows no copying and has put an empty object
            raise errors.CannotMigrate("this Swift does not copy")
        return Stored(name, segment.size, answer.etag)

    # -- commit -------------------------------------------------------------------------------------------------------

    def write_whole(self, part: Part) -> Commit:
        """Put the image in one request, under a claim to its name."""
        with self._claimed():
            self._committing = True
            headers = {"ETag": part.digest or "", "If-None-Match": "*", UPLOAD: self.uuid, **_KIND}
            answer = self._refused(
                self._place.put(self._ctx, self._place.container, self._address.object, part.data, headers=headers)
            )
            if answer.etag != part.digest:
                self._account.request(self._ctx, "DELETE", self._place.container, self._address.object)
                raise errors.DigestMismatch("Swift acknowledged the image with another ETag than that of its bytes")
            self._committed = True
            info = dataclasses.replace(info_of(answer), size=part.length, checksum=Checksum("md5", answer.etag.lower()))
        return Committed(self._address, info)

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Commit:
        """Put the manifest, under a claim to its name."""
        stored: list[Stored] = [each for _, token in parts for each in token]
        self._remove_others({each.name for each in stored})
        with self._claimed():
            self._committing = True
            if not (self._abilities.manifest and stored and self._commit_static(stored)):
                self._commit_dynamic(size)
            self._committed = True
        return Committed(self._address, self._seen())

    def _claimed(self) -> Any:
        return claimed(self._place, self._address.object, self._ctx.owner, self._runtime, self._ctx)

    def _refused(self, answer: Answer) -> Answer:
        if answer.status == 412:
            raise errors.Duplicate(f"image {self._address.object} is there already")
        return answer.check()

    def _remove_others(self, used: set[str]) -> None:
        """Remove segments of this upload that are of no use any more: of a copy that was given up."""
        with self._lock:
            others = sorted(self._written - used)
            self._written &= used
        remove(self._account, [(self._place.segments, name) for name in others], self._abilities.bulk, self._ctx)

    def _commit_static(self, stored: Sequence[Stored]) -> bool:
        """Put a static manifest, of manifests where there are many segments; False when Swift knows no such thing."""
        level, most = [*stored], self._abilities.manifest
        while len(level) > most:
            groups = [level[at : at + most] for at in range(0, len(level), most)]
            level = self._ctx.map(self._inner, groups)
        headers = {"If-None-Match": "*", UPLOAD: self.uuid, **_KIND}
        answer = self._refused(self._put_manifest(self._place.container, self._address.object, level, headers))
        if answer.etag == _etag_of(level):
            return True
        # Without static manifests the list itself became the object, which nobody must take for the image.
        self._account.request(self._ctx, "DELETE", self._place.container, self._address.object).check()
        if self._abilities.certain:
            raise errors.DigestMismatch("Swift acknowledged the manifest with another ETag than that of its segments")
        return False

    def _inner(self, group: Sequence[Stored]) -> Stored:
        """Put a manifest of some segments, named by the first and the level that it is on."""
        name = f"{group[0].name}m"
        answer = self._put_manifest(self._place.segments, name, group, {}).check()
        return Stored(name, sum(each.size for each in group), answer.etag)

    def _put_manifest(self, container: str, name: str, level: Sequence[Stored], headers: dict[str, str]) -> Answer:
        entries = [
            {"path": f"/{self._place.segments}/{each.name}", "etag": each.etag, "size_bytes": each.size}
            for each in level
        ]
        body = json.dumps(entries).encode()
        query = {"multipart-manifest": "put"}
        return self._place.put(self._ctx, container, name, body, headers=headers, query=query)

    def _commit_dynamic(self, size: int) -> None:
        """Put a dynamic manifest once the listing, by which Swift reads, shows all segments."""
        with_mark = [(self._place.segments, self._prefix + "begun")]
        remove(self._account, with_mark, 0, self._ctx)
        until = time.monotonic() + _LAG
        while size != (seen := sum(each.size for each in self._listed())):
            if time.monotonic() > until:
                raise errors.StoreUnavailable(f"Swift lists {seen} bytes of segments where {size} were written")
            self._ctx.check()
            time.sleep(0.2)
        manifest = _quoted(f"{self._place.segments}/{self._prefix}")
        headers = {"X-Object-Manifest": manifest, "If-None-Match": "*", UPLOAD: self.uuid, **_KIND}
        self._refused(self._place.put(self._ctx, self._place.container, self._address.object, headers=headers))

    def _listed(self) -> list[Any]:
        return [*self._account.objects(self._ctx, self._place.segments, self._prefix)]

    def _head(self) -> Answer | None:
        """Return the headers of the object of the image's name, None when there is none."""
        answer = self._account.request(self._ctx, "HEAD", self._place.container, self._address.object)
        return None if answer.status == 404 else answer.check()

    def _seen(self) -> ObjectInfo:
        answer = self._head()
        if answer is None or answer.headers.get(UPLOAD.lower()) != self.uuid:
            raise errors.StoreUnavailable("the image was committed and is not to be seen", outcome=Outcome.UNKNOWN)
        return look(self._account, answer, self._ctx)[0]

    def outcome(self) -> Commit | None:
        """Look whether the object of that name bears this upload's uuid."""
        answer = self._head()
        if answer is None or answer.headers.get(UPLOAD.lower()) != self.uuid:
            return None
        self._committed = True
        return Committed(self._address, look(self._account, answer, self._ctx)[0])

    # -- clearing away ------------------------------------------------------------------------------------------------

    def abort(self) -> Sequence[Leftover]:
        """Remove the segments and the mark, of a committed image the mark alone; what may be in use stays."""
        if self._ended:
            return ()
        self._ended = True
        try:
            return self._clear()
        finally:
            self._account.tokens.close()

    def _clear(self) -> Sequence[Leftover]:
        try:
            if self._committing and not self._committed:
                self._committed = self.outcome() is not None
            if self._begun:
                names = [self._prefix + "begun"] if self._committed else [each.name for each in self._listed()]
                remove(self._account, [(self._place.segments, name) for name in names], self._abilities.bulk, self._ctx)
            if self._place.own and not self._committed:  # refused while there is something of another writer in it
                self._account.request(self._ctx, "DELETE", self._place.container)
        except Exception as error:  # of the client, too: here is no seam, and nothing must be raised
            if not self._begun:
                return ()
            LOG.info("clearing away after image %s failed: %s", self._address.object, type(error).__name__)
            return (Leftover("unfinished upload", (self._place.segments, self._prefix), self._ctx.owner),)
        return ()


def _within(segments: Sequence[Segment], offset: int, length: int) -> Iterator[Segment]:
    """Yield what of the segments lies in a range of the image."""
    for each in segments:
        begin, end = max(offset, each.offset), min(offset + length, each.offset + each.size)
        if begin < end:
            start = each.start + begin - each.offset
            yield dataclasses.replace(each, start=start, offset=begin, size=end - begin)


def _etag_of(level: Sequence[Stored]) -> str:
    """Return the ETag of a static manifest of those segments."""
    joined = "".join(each.etag for each in level).encode()
    return hashlib.md5(joined, usedforsecurity=False).hexdigest()


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="/")
