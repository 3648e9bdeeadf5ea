"""What the swift store makes of manifests, listings and what a server says of itself, without a server."""

import datetime
import json
from typing import Any

import pytest

from store_lib import errors
from store_lib.drivers.swift import leftovers, segments
from store_lib.drivers.swift.client import Answer, Listing
from store_lib.drivers.swift.names import peer_segment
from store_lib.drivers.swift.tenancy import Abilities

#: Where it does not matter who.
NOBODY: Any = None


def test_abilities():
    """A server that says nothing is taken for one of our days; one that knows no static manifests says so."""
    assert Abilities.of(None) == Abilities(manifest=1000, certain=False)
    told = {"swift": {"max_file_size": 5000}, "slo": {"max_manifest_segments": 4, "min_segment_size": 7}}
    told["bulk_delete"] = {"max_deletes_per_request": 10_000}
    found = Abilities.of(told)
    assert (found.manifest, found.least, found.largest, found.bulk) == (4, 7, 5000, 25)
    assert Abilities.of({"swift": {}}).manifest == 0


class Manifests:
    """An account that holds manifests by their names."""

    def __init__(self, **found):
        self.found = found

    def request(self, ctx, method, container, name, *, query):
        """Return one of them."""
        body = json.dumps(self.found[name]).encode() if name in self.found else b""
        return Answer(200 if name in self.found else 404, "", {}, body)


def entry(name, size, **more):
    return {"name": f"/c/{name}", "bytes": size, "hash": f"etag-{name}", **more}


def test_manifests_that_cannot_be():
    """One that holds itself ends with an error, and so does one that is no list."""
    for manifest in ([entry("image", 5, sub_slo=True)], {"a": 1}):
        account: Any = Manifests(image=manifest)
        with pytest.raises(errors.BackendError):
            segments.static_segments(account, "c", "image", NOBODY)


def listed(name, size=5):
    return Listing(name, size, "", datetime.datetime.now(datetime.UTC))


def test_segments_of_glance_store_are_no_images():
    """They are told by a uuid before their number, or by an image without bytes of its own."""
    one = "3fa2ed8b-4f2f-4c5b-93ec-9c4f8e1d6a10"
    listing = [
        listed(one, 0),
        listed(f"{one}-00001"),
        listed("a", 0),
        listed("a-00001"),
        listed("b"),
        listed("b-00001"),
    ]
    assert [each.name for each in leftovers.images(listing)] == [one, "a", "b", "b-00001"]
    assert peer_segment(f"{one}-00001", certain=True) == one
    assert peer_segment("b-00001", certain=True) is None
