"""What the swift store knows without a server: names, locations, accounts, manifests, the meaning of errors."""

import datetime
import json
from typing import Any

import pytest
import requests
from keystoneauth1 import exceptions as keystone
from urllib3.exceptions import NewConnectionError, ProtocolError, ReadTimeoutError

from store_lib import errors
from store_lib.drivers import _keystone
from store_lib.drivers._keystone import Login
from store_lib.drivers.swift import failures, leftovers, segments
from store_lib.drivers.swift.client import Answer, Listing
from store_lib.drivers.swift.names import SwiftAddress, peer_segment, root_of
from store_lib.drivers.swift.tenancy import Abilities, _of_project
from store_lib.errors import Outcome
from store_lib.interface import MIB, Feature

#: Where it does not matter who.
NOBODY: Any = None

ACCOUNT = """
swift_store_auth_address = http://keystone:5000/v3
swift_store_user = service:glance
swift_store_key = secret-word
"""


@pytest.fixture
def make(make_stores):
    """Return a function that makes a store of some options; nothing is asked."""

    def make(text=ACCOUNT, **options):
        lines = ["[DEFAULT]", "enabled_backends = it:swift", "[it]", text, *(f"{k} = {v}" for k, v in options.items())]
        return make_stores("\n".join(lines))["it"]

    return make


def parsed(store, uri):
    return store._driver.parse(uri)


# -- locations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "swift+config://ref1/glance/image",
        "swift+config://None/glance/image",  # as written where the reference was left to its default
        "swift+http://service%3Aglance:old-key@keystone:5000/v3/glance/image",
        "swift://service:glance:old-key@KEYSTONE:5000/v3/glance/image",
        "swift+https://keystone:5000/glance/image",
    ],
)
def test_every_form_is_read_and_one_is_written(make, uri):
    """Whatever services hold finds the image; what is written holds neither user nor key."""
    store = make()
    assert store._driver.uri(parsed(store, uri)) == "swift+config://ref1/glance/image"


@pytest.mark.parametrize(
    "uri",
    [
        "swift+config://ref2/glance/image",
        "swift+config://ref1/other/image",
        "swift+config://ref1/glance_other/image",
        "swift+http://demo%3Aglance:old-key@keystone:5000/v3/glance/image",
        "swift+http://service%3Aglance:old-key@elsewhere:5000/v3/glance/image",
        "swift+https://storage/v1/AUTH_1/glance/image",
    ],
)
def test_places_of_others_are_refused(make, uri):
    """Another account, container or server is none of this store's business, and no key is shown."""
    with pytest.raises(errors.ForeignLocation) as caught:
        parsed(make(), uri)
    assert "old-key" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["swift+config://ref1/glance", "swift+config://ref1/glance/.hidden", "swift+config:///a/b"]
)
def test_malformed_locations(make, uri):
    """They are refused as such."""
    with pytest.raises(errors.BadLocation):
        parsed(make(), uri)


def test_containers(make):
    """A seed makes containers by the beginning of the id; those of another seed and old ones are read."""
    store = make(swift_store_multiple_containers_seed=2, swift_store_read_containers="older, oldest")
    driver = store._driver
    assert driver._names.container("abcdef") == "glance_ab"
    for container in ("glance", "glance_a", "glance_ab", "glance_abcdef", "older", "oldest"):
        assert parsed(store, f"swift+config://ref1/{container}/abcdef").container == container
    with pytest.raises(errors.ForeignLocation):
        parsed(store, "swift+config://ref1/glance_b/abcdef")
    assert store._driver.prefix() == "swift+config://ref1/glance_"


def test_locations_of_tenants(make):
    """The storage URL is part of them, and is read back."""
    store = make(swift_store_multi_tenant="true")
    uri = "swift+https://storage/v1/AUTH_1/glance_image/image"
    address = parsed(store, uri)
    assert address == SwiftAddress("https://storage/v1/AUTH_1", "glance_image", "image")
    assert store._driver.uri(address) == uri
    for other in ("swift+https://user:key@storage/v1/AUTH_1/glance_image/image", "swift+config://ref1/glance/image"):
        with pytest.raises(errors.ForeignLocation):
            parsed(store, other)


def test_what_tenancy_offers(make):
    """Lists need one account, access lists need one container an image, URLs need a key."""
    one, many = make().features, make(swift_store_multi_tenant="true").features
    assert Feature.LIST in one
    assert Feature.ACLS not in one
    assert Feature.LIST not in many
    assert Feature.ACLS in many
    assert Feature.SIGNED_URLS not in one
    assert Feature.SIGNED_URLS in make(swift_temp_url_key="key").features


def test_sizes(make):
    """Unless written, thresholds are the store's own; what is written counts, in MiB."""
    assert (make().limits.whole_max, make().limits.part_size) == (64 * MIB, 16 * MIB)
    told = make(swift_store_large_object_size=200, swift_store_large_object_chunk_size=50)
    assert (told.limits.whole_max, told.limits.part_size) == (200 * MIB, 50 * MIB)


def test_roots():
    """What accounts of one cluster share."""
    assert root_of("https://Host:8080/v1/AUTH_1") == root_of("https://host:8080/v1/AUTH_2/") == "https://host:8080/v1"
    assert root_of("https://host") is None
    assert _of_project("https://host/v1/AUTH_1", "2") == "https://host/v1/AUTH_2"
    assert _of_project("https://host/v1", "2") == "https://host/v1/AUTH_2"


# -- accounts ---------------------------------------------------------------------------------------------------------


def mistakes(make, text="", **options):
    with pytest.raises(errors.ConfigurationError) as caught:
        make(text, **options)
    return str(caught.value)


def test_mistakes(make, tmp_path):
    """Each names its option and its mend, and no secret."""
    assert "swift_store_auth_address" in mistakes(make)
    assert "not complete" in mistakes(make, swift_store_auth_address="http://k:5000/v3", swift_store_user="a:b")
    found = mistakes(
        make,
        ACCOUNT,
        swift_store_auth_version=2,
        swift_store_cacert="/nowhere",
        swift_store_container="a/b",
        swift_store_endpoint="ftp://x",
        swift_store_large_object_chunk_size=4000,
    )
    for option in ("auth_version", "cacert", "container", "endpoint", "chunk_size"):
        assert option in found
    assert "secret-word" not in found
    broken = tmp_path / "accounts"
    broken.write_text("[ref1]\nkey = secret-word\nkey = again\n")
    assert "DuplicateOptionError in line 3" in mistakes(make, swift_store_config_file=broken)
    assert "No such file" in mistakes(make, swift_store_config_file=tmp_path / "none")
    broken.write_text("[other]\nauth_address = http://k\n")
    assert "no section [ref1]" in mistakes(make, swift_store_config_file=broken)


def test_two_files_with_one_reference(make, tmp_path):
    """Each store takes the reference of its own file."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(
            f"[ref1]\nauth_address = http://{name}:5000/v3\nuser = '{name}:user'\nkey = \"secret\"\n"
        )
    first, second = (make("", swift_store_config_file=tmp_path / name) for name in ("one", "two"))
    login = first._driver._references.get("ref1")
    assert (login.auth_url, login.project, login.user, login.password) == (
        "http://one:5000/v3",
        "one",
        "user",
        "secret",
    )
    assert second._driver._references.get("ref1").project == "two"
    assert "secret" not in repr(login)


def test_a_file_that_changes(make, tmp_path, caplog):
    """It is read again; broken, it leaves what it held before in use, and a warning."""
    file = tmp_path / "accounts"
    lines = "[ref1]\nauth_address = http://k:5000/v3\nuser = a:b\nkey = {}\n"
    file.write_text(lines.format("first"))
    references = make("", swift_store_config_file=file)._driver._references
    assert references.get("ref1").password == "first"
    file.write_text(lines.format("the second"))
    assert references.get("ref1").password == "the second"
    for breaks in (lambda: file.write_text("nonsense"), file.unlink):
        breaks()
        assert references.get("ref1").password == "the second"
    (record,) = caplog.records
    assert "MissingSectionHeaderError in line 1" in record.message
    file.write_text(lines.format("third").replace("ref1", "ref2"))
    with pytest.raises(errors.StoreUnavailable, match="ref1"):
        references.get("ref1")


# -- what servers tell ------------------------------------------------------------------------------------------------


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


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "transient", "outcome"),
    [
        (403, errors.Forbidden, False, Outcome.NOT_DONE),
        (408, errors.StoreUnavailable, True, Outcome.NOT_DONE),
        (413, errors.StoreFull, False, Outcome.NOT_DONE),
        (422, errors.DigestMismatch, True, Outcome.NOT_DONE),
        (429, errors.StoreUnavailable, True, Outcome.NOT_DONE),
        (499, errors.StoreUnavailable, True, Outcome.NOT_DONE),
        (503, errors.StoreUnavailable, True, Outcome.UNKNOWN),
        (507, errors.StoreFull, False, Outcome.NOT_DONE),
        (400, errors.BackendError, False, Outcome.NOT_DONE),
    ],
)
def test_answers(status, kind, transient, outcome):
    """Each status has its meaning."""
    found = failures.answered(status, "Reason", "tx1")
    assert (type(found), found.transient, found.outcome) == (kind, transient, outcome)
    assert "tx1" in str(found)


@pytest.mark.parametrize(
    ("error", "kind", "outcome"),
    [
        (requests.ReadTimeout(), errors.OperationTimeout, Outcome.UNKNOWN),
        (requests.ConnectTimeout(), errors.OperationTimeout, Outcome.NOT_DONE),
        (requests.ConnectionError(NewConnectionError(NOBODY, "refused")), errors.StoreUnavailable, Outcome.NOT_DONE),
        (requests.ConnectionError("aborted"), errors.StoreUnavailable, Outcome.UNKNOWN),
        (ProtocolError("IncompleteRead"), errors.StoreUnavailable, Outcome.UNKNOWN),
        (ReadTimeoutError(NOBODY, NOBODY, "slow"), errors.OperationTimeout, Outcome.UNKNOWN),
        (keystone.ConnectFailure(), errors.StoreUnavailable, Outcome.NOT_DONE),
        (keystone.Unauthorized(), errors.Forbidden, Outcome.NOT_DONE),
        (keystone.EndpointNotFound(), errors.StoreUnavailable, Outcome.NOT_DONE),
        (keystone.ServiceUnavailable(), errors.StoreUnavailable, Outcome.NOT_DONE),
    ],
)
def test_errors_of_the_clients(make, error, kind, outcome):
    """Each becomes one of store_lib's."""
    found = make()._driver.translate(error)
    assert (type(found), found.outcome) == (kind, outcome)


@pytest.mark.parametrize("kind", [requests.exceptions.SSLError, keystone.SSLError])
def test_errors_of_tls(make, kind):
    """A certificate that is not trusted stays so; a connection that broke after the handshake may be tried again."""
    translate = make()._driver.translate
    assert not translate(kind("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")).transient
    assert not translate(kind("[SSL: WRONG_VERSION_NUMBER]")).transient
    assert translate(kind("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol")).transient


def test_bugs_stay_bugs(make):
    """What no client raised passes as it is."""
    assert make()._driver.translate(TypeError("bug")) is None
    assert _keystone.translate(KeyError("bug")) is None


def test_a_login_hides_its_secrets():
    """Neither password nor secret is shown."""
    assert "word" not in repr(Login("url", "user", "word", "id", "word"))
