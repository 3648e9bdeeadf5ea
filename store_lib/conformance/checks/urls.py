"""URLs that read an image without credentials."""

from __future__ import annotations

import ssl
import urllib.request

from store_lib.conformance.behaviour import behaviour
from store_lib.conformance.place import Place, payload
from store_lib.interface import Feature


@behaviour(140, Feature.SIGNED_URLS)
def signed_urls(place: Place) -> None:
    """A signed URL reads the image, all of it and nothing else, by any client and without credentials."""
    store, data = place.store(), payload(place.part + 14_000)
    url = store.url(place.put(data), 300)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE  # a test's server has a certificate of its own
    with urllib.request.urlopen(url, timeout=60, context=trusting) as answer:
        assert answer.read() == data
