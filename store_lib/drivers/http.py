"""The http store: images on web servers, read-only.

A location is any http or https URL; what it leads to is held to the rules of the configuration at every step, on the
address that is really connected to.  A user and password in an old location are sent with its requests and shown
nowhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

from store_lib import errors
from store_lib.drivers import _http_opts
from store_lib.drivers._http_download import Answer, HttpDownload, ask
from store_lib.drivers._http_guard import Guard
from store_lib.interface import (
    Address,
    Context,
    Deletion,
    Download,
    Driver,
    Feature,
    Limits,
    ObjectInfo,
    Probe,
    Runtime,
    Status,
    Upload,
)
from store_lib.location import redact, scheme_of
from store_lib.location_forms import HttpForm
from store_lib.settings import StoreSettings

if TYPE_CHECKING:
    from store_lib.drivers._http_client import Client

__all__ = ["HttpAddress", "HttpDriver"]


@dataclasses.dataclass(frozen=True)
class HttpAddress(Address):
    """An image by its URL."""

    place: HttpForm


class HttpDriver(Driver[HttpAddress]):
    """Images on web servers."""

    OPTIONS = _http_opts.OPTIONS
    FEATURES = Feature.RANGES
    SCHEMES = ("https", "http")

    def __init__(self, settings: StoreSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        self._rules = _http_opts.Rules.of(settings)
        self._guard = Guard(self._rules.denied, self._rules.allowed)
        self._client = runtime.per_process(self._make_client, lambda client: client.close())

    def _make_client(self) -> Client:
        from store_lib.drivers import _http_client  # late: it imports urllib3

        return _http_client.Client(self._rules, self._guard)

    @classmethod
    def check(cls, settings: StoreSettings) -> Iterable[errors.Mistake]:
        """Yield every mistake in the options."""
        return _http_opts.check(settings)

    @property
    def limits(self) -> Limits:
        """The limits of most images."""
        return Limits(ranges=True)

    def parse(self, uri: str) -> HttpAddress:
        """Return the address of an http or https URL; one that names an address which is refused is foreign."""
        if scheme_of(uri) not in self.SCHEMES:
            raise errors.ForeignLocation(f"{redact(uri)} is no location of an http store")
        place = HttpForm.parse(uri)
        self._guard.check_written(place.host)
        return HttpAddress(place)

    def uri(self, address: HttpAddress) -> str:
        """Return the URL without user and password."""
        return address.place.clean()

    def prefix(self) -> str | None:
        """Return what every location begins with, https ones too."""
        return "http"

    def stat(self, address: HttpAddress, ctx: Context) -> ObjectInfo:
        """Return size and time that the server tells with the first byte; many refuse HEAD."""
        answer = self._ask(address, 0, 1, ctx)
        answer.close()
        return answer.span.info

    def open(self, address: HttpAddress, offset: int, length: int | None, ctx: Context) -> Download:
        """Ask for the range."""
        return HttpDownload(self._client.get(), address.place, self._ask(address, offset, length, ctx), ctx)

    def _ask(self, address: HttpAddress, offset: int, length: int | None, ctx: Context) -> Answer:
        answer = ask(self._client.get(), address.place, offset, length, ctx)
        size, most = answer.span.info.size, self._rules.max_size
        if most and size > most:
            answer.close()
            raise errors.BadRequest(f"the image has {size} bytes, and http_store_max_size allows {most}")
        return answer

    def upload(self, image_id: str, size: int | None, ctx: Context) -> Upload[HttpAddress]:
        """Refuse."""
        raise errors.ReadOnlyStore("an http store only reads images")

    def delete(self, address: HttpAddress, ctx: Context) -> Deletion:
        """Refuse."""
        raise errors.ReadOnlyStore("an http store only reads images")

    def probe(self, ctx: Context) -> Probe:
        """Ask for http_store_probe_url; without one, there is nobody to ask."""
        url = self.settings["http_store_probe_url"]
        if not url:
            return Probe(Status.UP)
        ask(self._client.get(), HttpForm.parse(url), 0, 1, ctx).close()
        return Probe(Status.UP)

    def translate(self, error: BaseException) -> errors.StoreLibError | None:
        """Return store_lib's error for one of urllib3's."""
        from store_lib.drivers import _http_client

        return _http_client.error_of(error)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
