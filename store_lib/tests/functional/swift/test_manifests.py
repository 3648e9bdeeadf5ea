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
    assert (found.manifest, found.least, found.largest, found.bulk) == (4, 7, 5000, 100)
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


def test_manifests_with_ranges_and_manifests():
    """Each run of bytes is found in its object, ranges of manifests within manifests included."""
    account: Any = Manifests(
        image=[entry("a", 10), entry("inner", 30, sub_slo=True, range="5-24"), entry("b", 8, range="-3")],
        inner=[entry("x", 10), entry("y", 20, range="0-19")],
    )
    found = segments.static_segments(account, "c", "image", NOBODY)
    runs = [(each.name, each.start, each.offset, each.size) for each in found if not each.manifest]
    assert runs == [("a", 0, 0, 10), ("x", 5, 10, 5), ("y", 0, 15, 15), ("b", 5, 30, 3)]
    assert [each.name for each in found if each.manifest] == ["inner"]
    account.found["inner"].append(entry("unused", 7))
    every = [each.name for each in segments.all_segments(account, "c", "image", NOBODY)]
    assert every == ["a", "inner", "x", "y", "unused", "b"]


def test_manifests_with_bytes_of_their_own():
    """They are told as a segment without a name, and there is no object to remove."""
    account: Any = Manifests(image=[entry("a", 10), {"data": "aGVsbG8="}])
    runs = [(each.name, each.offset, each.size) for each in segments.static_segments(account, "c", "image", NOBODY)]
    assert runs == [("a", 0, 10), ("", 10, 5)]
    assert [each.name for each in segments.all_segments(account, "c", "image", NOBODY)] == ["a"]


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
