"""Which locations of users a service may accept, and which old ones hold credentials."""

import functools
import http.server
import threading
from typing import Any

import pytest

from store_lib import Location, errors, legacy_locations, validate_location

TEXT = """
[DEFAULT]
enabled_backends = memo:memory, heavy:memory, disk:file
[glance_store]
default_backend = memo
[heavy]
weight = 5
[disk]
filesystem_store_datadir = {path}
"""


@pytest.fixture
def stores(make_stores, tmp_path):
    made = make_stores(TEXT.format(path=tmp_path / "images"))
    for store in made.values():
        store.add("there", b"12345")
    return made


def test_a_location_that_may_be_accepted(stores):
    found = validate_location(stores, "memory://memo/there")
    assert found.location == Location("memory://memo/there", "memo")
    assert found.size == 5
    assert validate_location(stores, "memory://heavy/there", store="heavy", size=5, max_size=5).size == 5
    assert validate_location(stores, Location("memory://heavy/there", "heavy")).location.store == "heavy"


def test_a_location_may_be_accepted_unseen(stores):
    found = validate_location(stores, "memory://memo/absent", exists=False)
    assert (found.location.store, found.size) == ("memo", None)


@pytest.mark.parametrize("scheme", ["file", "filesystem", "FILE", "swift+config"])
def test_schemes_that_lead_inside_are_refused(stores, tmp_path, scheme):
    with pytest.raises(errors.BadLocation, match="not accepted"):
        validate_location(stores, f"{scheme}://{tmp_path}/images/there")


def test_the_schemes_are_the_services_to_choose(stores, tmp_path):
    inside = f"file://{tmp_path}/images/there"
    assert validate_location(stores, inside, schemes=["FILE"]).location.store == "disk"
    with pytest.raises(errors.BadLocation, match="'memory' are not accepted"):
        validate_location(stores, "memory://memo/there", schemes=["file"])


def test_confinement(stores, tmp_path):
    (tmp_path / "outside").write_bytes(b"secret")
    for path in (tmp_path / "outside", f"{tmp_path}/images/../outside"):
        with pytest.raises((errors.UnknownStore, errors.BadLocation)):
            validate_location(stores, f"file://{path}", schemes=["file"])


def test_it_must_lie_in_a_store(stores):
    with pytest.raises(errors.UnknownStore):
        validate_location(stores, "memory://other/there")
    with pytest.raises(errors.UnknownStore):
        validate_location(stores, "memory://memo/there", store="nope")
    with pytest.raises(errors.ForeignLocation):
        validate_location(stores, "memory://memo/there", store="heavy")


def test_it_must_be_there_and_have_the_size(stores):
    with pytest.raises(errors.NotFound):
        validate_location(stores, "memory://memo/absent")
    with pytest.raises(errors.SizeMismatch, match="has 5 bytes, not 6"):
        validate_location(stores, "memory://memo/there", size=6)
    with pytest.raises(errors.SizeMismatch, match="more than 4"):
        validate_location(stores, "memory://memo/there", max_size=4)


@pytest.mark.parametrize(
    "uri", ["s3+https://AK:SECRET/x@host/b/k", "https://me:SECRET@host/a", "swift://p%3Au:SECRET@auth/v3/c/o"]
)
def test_credentials_are_refused_and_not_shown(stores, uri):
    with pytest.raises(errors.BadLocation, match="holds credentials") as raised:
        validate_location(stores, uri)
    assert "SECRET" not in str(raised.value)


def test_malformed(stores):
    malformed: list[Any] = ["nonsense", "s3://host", "https://", None, 7]
    for uri in malformed:
        with pytest.raises(errors.BadLocation):
            validate_location(stores, uri)


def test_a_url_is_looked_at(make_stores, tmp_path):
    (tmp_path / "image").write_bytes(b"1234567")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            made = make_stores("[DEFAULT]\nenabled_backends = web:http\n")
            assert validate_location(made, f"{url}/image", size=7).location.store == "web"
            with pytest.raises(errors.NotFound):
                validate_location(made, f"{url}/absent")
        finally:
            server.shutdown()
            thread.join()


def test_old_locations_with_credentials_are_listed_with_their_clean_form():
    given: list[Any] = [
        "file:///images/a",
        "s3+https://AK:SECRET@host/b/k",
        Location("swift+https://p%3Au:SECRET@auth/v3/c/o", "obj"),
        "swift+config://ref/c/o",
        "https://me:SECRET@host/x?y=1",
        "nonsense",
    ]
    found = list(legacy_locations(given))
    assert [each.clean for each in found] == [
        "s3+https://host/b/k",
        "swift+https://auth/v3/c/o",
        "https://host/x?y=1",
    ]
    assert found[1].location is given[2]
    assert found[0].location.uri == given[1]
    assert "SECRET" not in repr(found)
