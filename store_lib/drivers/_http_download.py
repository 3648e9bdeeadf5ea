"""One image that is read from a web server, pinned to the version that was there when it was opened."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from store_lib import errors
from store_lib.drivers._http_answer import Span, UselessRange, read_span
from store_lib.interface import MIB, Context, Download, Limits
from store_lib.location_forms import HttpForm

if TYPE_CHECKING:
    from store_lib.drivers._http_client import Client, Response

__all__ = ["Answer", "HttpDownload", "ask"]

#: Bytes that are read at once at most; what is there by then comes, so this is no delay.
_CHUNK = MIB


class Answer:
    """An answer with its body still to be read.

    :param span: the bytes that the body holds.
    :param place: that gave it, after all redirects.
    """

    def __init__(self, response: Response, span: Span, place: HttpForm) -> None:
        self.span = span
        self.place = place
        self._response = response

    def chunks(self, length: int) -> Iterator[bytes]:
        """Yield the first `length` bytes, as they come.

        :raises IntegrityError: the body is longer than its headers say.
        """
        whole = self.span.start + length == self.span.end
        left = length
        while left:
            if whole and left == 1:
                self._check_end()
            # The last byte apart: as long as it is there, the connection is still this answer's.
            chunk = self._response.read1(min(_CHUNK, left - 1 if whole and left > 1 else left))
            if not chunk:
                raise errors.StoreUnavailable("the connection to the server broke off")
            left -= len(chunk)
            if whole and not left and self._response.read1(1):  # in chunks: only their end tells
                raise _longer()
            yield chunk

    def _check_end(self) -> None:
        """See that nothing came behind the last byte, which must not be taken for an answer to the next request."""
        body = getattr(getattr(self._response, "_fp", None), "fp", None)
        if self._response.headers.get("Content-Length") and body is not None and len(body.peek(2)) > 1:
            raise _longer()

    def close(self) -> None:
        """Close the connection unless the body was read to its end; then it serves the next request."""
        self._response.close()

    def interrupt(self) -> None:
        """Have a read in another thread end at once."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # it ended by itself meanwhile
            self._response.shutdown()


def _longer() -> errors.StoreLibError:
    return errors.IntegrityError("the server sent more bytes than it announced")


def ask(
    client: Client, place: HttpForm, offset: int, length: int | None, ctx: Context, pin: str | None = None
) -> Answer:
    """Ask for a range of an image.

    :param length: bytes, None up to the end.
    :param pin: value of If-Range.
    :raises NotSupported: the server serves the image from its beginning only, and `offset` is not 0.
    """
    last = "" if length is None else max(offset, offset + length - 1)
    headers = {"Range": f"bytes={offset}-{last}", **({"If-Range": pin} if pin else {})}
    try:
        return _examined(client, place, headers, offset, ctx)
    except UselessRange:
        if offset or pin:
            raise
        return _examined(client, place, {}, 0, ctx)


def _examined(client: Client, place: HttpForm, headers: dict[str, str], offset: int, ctx: Context) -> Answer:
    response, found = client.get(place, headers, ctx)
    try:
        return Answer(response, read_span(response.status, response.headers, offset), found)
    except BaseException:
        response.close()
        raise


class HttpDownload(Download):
    """An open image.

    A range that is asked for later goes to the place that gave the first one, and once that answers no more, to the
    location again.  Without a version to hold on to, an image is read in one go or not at all: two ranges might be of
    two images.

    :param first: the answer to what was asked when it was opened.
    """

    def __init__(self, client: Client, place: HttpForm, first: Answer, ctx: Context) -> None:
        self._client = client
        self._place = place
        self._served = first.place
        self._ctx = ctx
        self._version = first.span.version
        self._start = first.span.start
        self._unread: Answer | None = first
        self._active = {first}
        self._closed = False
        self._lock = threading.Lock()
        self.info = first.span.info
        self.limits = Limits(ranges=first.span.ranged and self._version.pin is not None)

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes from the answer that opening brought, else from a new one."""
        answer = self._first(offset, length) or self._again(offset, length)
        try:
            for chunk in answer.chunks(length):
                if self._closed:  # what an interrupted connection gives is of no worth
                    raise errors.Cancelled("the image was closed")
                yield chunk
        finally:
            self._end(answer)

    def _first(self, offset: int, length: int) -> Answer | None:
        """Return the answer that opening brought, if nobody read of it and it holds the range."""
        with self._lock:
            answer, self._unread = self._unread, None
        if answer is None or (answer.span.start == offset and offset + length <= answer.span.end):
            return answer
        self._end(answer)
        return None

    def _end(self, answer: Answer) -> None:
        with self._lock:
            self._active.discard(answer)
        answer.close()

    def _again(self, offset: int, length: int) -> Answer:
        if offset != self._start and not self.limits.ranges:
            problem = "the server gives nothing that tells two versions of the image apart: read it from its beginning"
            raise errors.StoreUnavailable(problem, transient=False)
        answer = self._asked(offset, length)
        try:
            span = answer.span
            vouched = span.ranged and self._version.pin is not None
            if not self._version.holds(span.version, vouched) or span.info.size != self.info.size:
                raise _changed()
            with self._lock:
                if self._closed:
                    raise errors.Cancelled("the image was closed")
                self._active.add(answer)
            return answer
        except BaseException:
            answer.close()
            raise

    def _asked(self, offset: int, length: int) -> Answer:
        served, self._served = self._served, self._place
        try:
            answer = self._from(served, offset, length)
        except (errors.Forbidden, errors.NotFound):
            if served == self._place:
                raise
            answer = self._from(self._place, offset, length)  # what redirects led to has moved on
        self._served = answer.place
        return answer

    def _from(self, place: HttpForm, offset: int, length: int) -> Answer:
        try:
            return ask(self._client, place, offset, length, self._ctx, self._version.pin)
        except (errors.NotSupported, UselessRange) as error:  # with If-Range: that version is no more
            raise _changed() from error

    def close(self) -> None:
        """Close the connections; reads in other threads end."""
        with self._lock:
            self._closed = True
            active, self._active = self._active, set()
            unread, self._unread = self._unread, None
        for answer in active:
            answer.interrupt()
        if unread is not None:
            unread.close()


def _changed() -> errors.StoreLibError:
    return errors.IntegrityError("the image changed while it was read")
