"""What the swift store knows without a server: names, locations, accounts, manifests, the meaning of errors."""

import json
from typing import Any

import pytest
import requests
from keystoneauth1 import exceptions as keystone
from urllib3.exceptions import NewConnectionError, ProtocolError, ReadTimeoutError

from store_lib import errors
from store_lib.checking import needs
from store_lib.drivers import _keystone
from store_lib.drivers._keystone import Login
from store_lib.drivers.swift import failures
from store_lib.drivers.swift.client import Answer
from store_lib.drivers.swift.names import SwiftAddress, root_of
from store_lib.drivers.swift.place import Place
from store_lib.drivers.swift.tenancy import Abilities, _of_project
from store_lib.drivers.swift.upload import SwiftUpload
from store_lib.errors import Outcome
from store_lib.interface import MIB, Feature, Part

CHUNK = "swift_store_large_object_chunk_size"
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


def test_containers_of_long_ids(make):
    """With a container for each image its name is never longer than Swift takes, and still is that image's own."""
    store = make(swift_store_multi_tenant="true", swift_store_container="c" * 200)
    names, start = store._driver._names, "swift+https://storage/v1/AUTH_1"
    ids = ["i" * 55, "i" * 56, f"{'i' * 254}a", f"{'i' * 254}b"]
    containers = [names.container(each) for each in ids]
    assert [len(each) for each in containers] == [256, 233, 233, 233]
    assert len({*containers}) == 4
    for image_id, container in zip(ids, containers, strict=True):
        assert parsed(store, f"{start}/{container}/{image_id}").container == container
    with pytest.raises(errors.ForeignLocation):
        parsed(store, f"{start}/{containers[1]}/{ids[2]}")


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


def test_large_segments_travel_in_smaller_numbers(make):
    """The size of a segment is the operator's; what then gives way to the memory limit is how many travel at once."""
    usual, large = (needs(make(memory_limit=800 * MIB, **more)) for more in ({}, {CHUNK: 200}))
    assert (usual.part_size, usual.parallel) == (16 * MIB, 8)
    assert large.part_size == 200 * MIB
    assert 1 <= large.parallel <= 4
    assert large.transfer_memory <= large.memory_limit
    assert CHUNK in mistakes(make, ACCOUNT, memory_limit=800 * MIB, **{CHUNK: 900})


def test_what_services_are_told(make):
    """Container, sizes and the account by its name, and nothing secret."""
    told = make(swift_store_large_object_size=200).describe()
    assert told["container"] == "glance"
    assert (told["large_object_size"], told["large_object_chunk_size"]) == (200 * MIB, 16 * MIB)
    assert told["reference"] == "ref1"
    assert "secret-word" not in json.dumps(told)


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


# -- what servers tell -------------------------------------------------------------------------------------------------


class Liar:
    """An account that acknowledges everything, and with the ETag of other bytes."""

    url = "http://swift/v1/AUTH_1"

    def __init__(self):
        self.asked = []

    def request(self, ctx, method, container=None, name=None, **more):
        """Remember it, and acknowledge it."""
        self.asked.append((method, name))
        return Answer(201, "Created", {"etag": "0" * 32})

    def pages(self, *arguments, **more):
        """Return a listing of nothing."""
        return iter([(Answer(200, "OK", {}), [])])


def test_bytes_that_changed_on_their_way(make):
    """What Swift acknowledges is compared: a segment is worth another try; an image fails and does not stay."""
    store, liar = make(), Liar()
    account: Any = liar
    place, address = Place(account, "c", "c", create=True), SwiftAddress("ref1", "c", "image")
    ctx = store._runtime.context()
    upload = SwiftUpload(place, address, Abilities(), store.limits, store._driver.runtime, ctx, lambda *found: None)
    part = Part(0, 0, memoryview(b"data"), True, "1" * 32)
    with pytest.raises(errors.DigestMismatch) as caught:
        upload.write_part(part)
    assert caught.value.transient
    with pytest.raises(errors.DigestMismatch):
        upload.write_whole(part)
    assert [method for method, name in liar.asked if name == "image"] == ["PUT", "DELETE"]


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
