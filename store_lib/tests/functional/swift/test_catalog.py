"""Where Swift is, by what Keystone's catalog tells: regions, kinds of endpoints, types of services."""

import pytest

from store_lib import errors
from store_lib.tests.functional.swift.support import Request, client, opened, own_account, wipe
from store_lib.tests.relay import Relay
from store_lib.tests.support import content


@pytest.fixture(scope="module")
def second(server):
    """Yield what stands for Swift in a second region of the catalog: a relay, which tells what it was asked."""
    keystone, admin = f"{server.env['KEYSTONE_URL']}/v3", client(server).session
    (service,) = admin.get(f"{keystone}/services?type=object-store").json()["services"]
    with Relay(int(server.env["PROXY_PORT"]), http=True) as relay:
        url = f"http://127.0.0.1:{relay.port}/v1/AUTH_%(tenant_id)s"
        admin.post(f"{keystone}/regions", json={"region": {"id": "RegionTwo"}})
        endpoint = {"service_id": service["id"], "interface": "public", "region_id": "RegionTwo", "url": url}
        made = admin.post(f"{keystone}/endpoints", json={"endpoint": endpoint}).json()["endpoint"]
        yield relay
        admin.delete(f"{keystone}/endpoints/{made['id']}")
        admin.delete(f"{keystone}/regions/RegionTwo")


def test_the_region_that_is_named(server, container, second, tmp_path):
    """Of two regions in the catalog the store works in the one that its options name, and asks nothing in the other."""
    one, two = (own_account(server, container=container, swift_store_region=f"Region{each}") for each in ("One", "Two"))
    with opened(tmp_path, one, f"[second]\n{two}") as stores:
        record = stores["it"].add("first", b"data")
        stores["it"].delete(record.location)
        assert second.seen() == []
        record = stores["second"].add("image", b"data")
        assert content(stores["second"], record.location) == b"data"
    asked = {each.partition(" ")[0] for each in second.seen() if each.endswith(f"/{container}/image")}
    assert asked == {"HEAD", "PUT", "GET"}


def test_the_region_of_a_callers_catalog(server, second, tmp_path):
    """With an account for each project, the catalog in the request's context is searched for that region."""
    caller, base = Request(server, "demo"), "regions"
    for region, port in (("RegionOne", server.env["PROXY_PORT"]), ("RegionTwo", second.port)):
        options = own_account(server, container=base, swift_store_multi_tenant="true", swift_store_region=region)
        with opened(tmp_path, options) as stores:
            record = stores["it"].add("image", b"data", context=caller)
            assert record.location.uri == (
                f"swift+http://127.0.0.1:{port}/v1/AUTH_{caller.project_id}/{base}_image/image"
            )
            stores["it"].delete(record.location, context=caller)
    wipe(client(server, "demo"), f"{base}_image")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"swift_store_region": "Nowhere"}, "public endpoint of type object-store in region Nowhere"),
        (
            {"swift_store_region": "Nowhere", "swift_store_multi_tenant": "true"},
            "public endpoint of type object-store in region Nowhere",
        ),
        (
            {"swift_store_region": "RegionTwo", "swift_store_endpoint_type": "internalURL"},
            "internal endpoint of type object-store in region RegionTwo",
        ),
        ({"swift_store_service_type": "storage"}, "public endpoint of type storage"),
    ],
)
def test_what_the_catalog_does_not_have(server, container, second, tmp_path, options, wanted):
    """The store is closed, and its reason says what was looked for."""
    text = own_account(server, container=container, retry_attempts=1, **options)
    with opened(tmp_path, text) as stores:
        with pytest.raises(errors.StoreUnavailable, match=wanted):
            stores["it"].add("image", b"data")
        assert wanted in stores["it"].probe().reason
