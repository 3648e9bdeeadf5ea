"""Reading an image: an object by ranges, or its segments by their names."""

from __future__ import annotations

import bisect
import dataclasses
import threading
from collections.abc import Iterator, Sequence

from store_lib import errors
from store_lib.drivers.swift.client import Account, Answer, Body
from store_lib.drivers.swift.place import missing
from store_lib.drivers.swift.segments import Segment, dynamic_segments, is_dynamic, is_static, static_segments
from store_lib.interface import Checksum, Context, Download, Limits, ObjectInfo

__all__ = ["SwiftDownload", "info_of", "look", "open_object"]


def info_of(answer: Answer) -> ObjectInfo:
    """Return what the headers of an object tell."""
    large = is_static(answer) or is_dynamic(answer) is not None
    checksum = Checksum("md5", answer.etag.lower()) if answer.etag and not large else None
    return ObjectInfo(int(answer.headers.get("content-length", 0)), answer.modified, checksum, answer.etag or None)


def look(account: Account, answer: Answer, ctx: Context) -> tuple[ObjectInfo, list[Segment]]:
    """Return what the headers of an object tell, and its segments where Swift does not put them together.

    Of a dynamic manifest it adds up one page of a listing, 10,000 segments, and puts nothing behind it together by
    ranges: of one with more it tells no size.
    """
    info, manifest = info_of(answer), is_dynamic(answer)
    if manifest is None or info.size:
        return info, []
    found = [each for each in dynamic_segments(account, manifest, ctx) if each.size]
    return dataclasses.replace(info, size=sum(each.size for each in found)), found


def open_object(
    account: Account, container: str, name: str, scattered: bool, limits: Limits, ctx: Context
) -> SwiftDownload:
    """Open an image; see `store_lib.interface.Driver.open`."""
    answer = account.request(ctx, "HEAD", container, name)
    if answer.status == 404:
        raise missing(account, container, scattered, ctx)
    answer.check()
    segments: Sequence[Segment]
    info, segments = look(account, answer, ctx)
    if is_static(answer):
        segments = [each for each in static_segments(account, container, name, ctx) if not each.manifest]
        if sum(each.size for each in segments) != info.size:
            raise errors.BackendError("the manifest of the image does not add up to its size", transient=True)
        if not all(each.name for each in segments):
            segments = ()  # some bytes stand in the manifest itself, so the server has to put them together
    whole = Segment(container, name, 0, 0, info.size, answer.etag)
    joined = is_dynamic(answer) is not None and not segments
    return SwiftDownload(account, (container, name), scattered, info, segments or [whole], joined, limits, ctx)


class SwiftDownload(Download):
    """An image opened for reading, pinned by the ETags of its object or segments.

    :param place: container and name of the image.
    :param scattered: see `missing`.
    :param segments: read by their own names: the server would fetch one after another of those behind a manifest.
    :param joined: the one "segment" is a dynamic manifest; its ETag is that of its segments together.
    """

    def __init__(
        self,
        account: Account,
        place: tuple[str, str],
        scattered: bool,
        info: ObjectInfo,
        segments: Sequence[Segment],
        joined: bool,
        limits: Limits,
        ctx: Context,
    ) -> None:
        self.info = info
        self.limits = limits
        self._account = account
        self._place = place
        self._scattered = scattered
        self._ctx = ctx
        self._segments = segments
        self._offsets = [segment.offset for segment in segments]
        self._joined = joined
        self._lock = threading.Lock()
        self._bodies: set[Body] = set()
        self._closed = False

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of the range, from as many segments as it touches."""
        index = max(0, bisect.bisect_right(self._offsets, offset) - 1)
        end = offset + length
        while offset < end:
            segment = self._segments[index]
            stop = min(end, segment.offset + segment.size)
            for chunk in self._fetch(segment, offset - segment.offset, stop - offset):
                offset += len(chunk)
                yield chunk
            if offset < stop:
                raise errors.StoreUnavailable(f"the image broke off after {offset} bytes")
            index += 1

    def _fetch(self, segment: Segment, skip: int, length: int) -> Iterator[bytes]:
        first = segment.start + skip
        headers = {"Range": f"bytes={first}-{first + length - 1}"}
        if segment.etag and not self._joined:
            headers["If-Match"] = segment.etag
        body = self._account.open(self._ctx, "GET", segment.container, segment.name, headers=headers)
        with self._lock:
            self._bodies.add(body)
        try:
            if self._closed:
                raise errors.StoreClosed("the image was closed")
            self._accept(body, segment, first, length)
            for chunk in body.chunks():
                yield chunk[:length]
                length -= len(chunk)
        except Exception:
            if self._closed:  # what a client says of a connection that was cut under its feet means nothing
                raise errors.StoreClosed("the image was closed") from None
            raise
        finally:
            with self._lock:
                self._bodies.discard(body)
            body.close()

    def _accept(self, body: Body, segment: Segment, first: int, length: int) -> None:
        """Make sure that an answer holds the wanted bytes of the image that was opened."""
        answer = body.answer
        whole = (first, length) == (0, segment.size)
        if answer.status == 206 or (answer.status == 200 and whole):
            if self._joined and segment.etag and answer.etag and answer.etag != segment.etag:
                raise errors.BackendError("the image was replaced while it was read")
            return
        if answer.status == 412:
            raise errors.BackendError("the image was replaced while it was read")
        if answer.status in (404, 409):
            if not self._account.request(self._ctx, "HEAD", *self._place).ok:
                raise missing(self._account, self._place[0], self._scattered, self._ctx)
            raise errors.BackendError(f"the storage has lost a part of the image: {segment.name}")
        answer.check()
        raise errors.BackendError("Swift answered a request for a range with something else")

    def close(self) -> None:
        """Cut what is being read."""
        self._closed = True
        with self._lock:
            bodies = [*self._bodies]
        for body in bodies:
            body.close()
