"""Who asks, and how Cinder and Keystone are reached: logins, tokens of callers, TLS."""

import urllib.parse

import pytest
import trustme

from store_lib import errors
from store_lib.interface import Feature, Status
from store_lib.tests.functional.cinder.conftest import DATA, GIB, NO_LOGIN, volume_of
from store_lib.tests.relay import Relay
from store_lib.tests.support import content


def test_logins(make_cinder, cloud, view):
    """Each store has its own: by an application credential, of another project, of an administrator."""
    env = cloud.env
    by_credential = make_cinder(
        "rbd1",
        cinder_store_user_name=None,
        cinder_store_password=None,
        cinder_store_project_name=None,
        cinder_store_application_credential_id=env["USER_IMAGES_APPLICATION_ID"],
        cinder_store_application_credential_secret=env["USER_IMAGES_APPLICATION_SECRET"],
    )
    poor, admin = make_cinder("rbd1", user="poor"), make_cinder("rbd1", user="cinder")
    records = [store.add("image", DATA, len(DATA)) for store in (by_credential, poor)]
    projects = {getattr(each, "os-vol-tenant-attr:tenant_id") for each in view.volumes()}
    assert projects == {env["USER_IMAGES_PROJECT_ID"], env["USER_POOR_PROJECT_ID"]}
    for store, record in zip((by_credential, poor), records, strict=True):
        assert content(store, record.location) == DATA
        assert record.location in [each.location for each in store.list()]
    with pytest.raises(errors.NotFound):
        poor.stat(f"cinder://{volume_of(records[0].location)}")
    assert {each.probe().status for each in (by_credential, poor, admin)} == {Status.UP}
    assert admin.health.details["volume_services_up"] >= 1
    # An administrator may see it before a volume was attached.
    assert [each.info().health.details["protocol"] for each in (by_credential, poor, admin)] == ["rbd"] * 3
    assert admin.info().properties == {
        "volume_type": "rbd1",
        "use_multipath": False,
        "project": env["USER_CINDER_PROJECT"],
    }
    room = poor.capacity()
    assert (room.total, room.used) == (3 * GIB, GIB)
    assert admin.capacity().free


def test_the_token_of_whoever_asks(make_cinder, cloud, view):
    """Without credentials of its own the store works with the caller's, in the caller's project."""
    caller = cloud.caller()
    store = make_cinder("rbd1", **NO_LOGIN)
    assert Feature.LIST not in store.features
    record = store.add("image", DATA, len(DATA), context=caller)
    assert view.volumes()[0].metadata["image_owner"] == cloud.env["USER_IMAGES_PROJECT_ID"]
    with store.open(record.location, context=caller) as reader:
        assert reader.read() == DATA
    with pytest.raises(errors.Forbidden):
        store.open(record.location)
    store.delete(record.location, context=caller)
    view.gone()


@pytest.mark.faults
def test_wrong_credentials(make_cinder):
    """The reason is told, without user or password."""
    store = make_cinder("rbd1", cinder_store_password="mistaken-secret")
    with pytest.raises(errors.StoreLibError, match="refuses the credentials") as caught:
        store.add("image", DATA, len(DATA))
    assert "mistaken-secret" not in repr(caught.value) + str(caught.value)
    assert store.probe().status is Status.DOWN


@pytest.mark.faults
def test_keystone_is_down(make_cinder, kept):
    """That is told, and no image is taken for missing."""
    location = kept("rbd1")
    store = make_cinder("rbd1", cinder_store_auth_address="http://127.0.0.1:1/v3")
    for ask in (store.stat, store.open, store.delete):
        with pytest.raises(errors.StoreUnavailable, match="identity service"):
            ask(location)
    assert "identity service" in store.probe().reason


@pytest.fixture
def secure(cloud, tmp_path):
    """Return options by which Cinder and Keystone are reached by TLS, the authority's file, and Cinder's relay."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(ca)
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    keystone, cinder = urllib.parse.urlsplit(cloud.env["AUTH_URL"]).port, int(cloud.env["CINDER_PORT"])
    with Relay(keystone, cert=cert, key=key) as identity, Relay(cinder, cert=cert, key=key, http=True) as volumes:
        options = {
            "cinder_store_auth_address": f"https://127.0.0.1:{identity.port}/v3",
            "cinder_endpoint_template": f"https://127.0.0.1:{volumes.port}/v3",
        }
        yield options, ca, volumes


@pytest.mark.faults
def test_tls(make_cinder, cloud, kept, view, secure, tmp_path):
    """A private authority is known by its file alone; a connection that breaks is no certificate that nobody trusts."""
    options, ca, volumes = secure
    location = kept("rbd1")
    store = make_cinder("rbd1", **options, cinder_ca_certificates_file=ca)
    record = store.add("image", DATA, len(DATA))
    assert content(store, record.location) == DATA
    volumes.rule("GET /v3/volumes/", "reset")
    with pytest.raises(errors.StoreUnavailable, match="broke off") as caught:
        store.stat(record.location)
    assert caught.value.transient
    assert content(make_cinder("rbd1", **options, cinder_api_insecure=True), location) == DATA
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    plain = {"cinder_store_auth_address": cloud.env["AUTH_URL"]}
    # Without a file it is the authorities that the system knows.
    for named, file, who in (({}, other, "identity service"), ({}, None, "identity service"), (plain, other, "Cinder")):
        store = make_cinder("rbd1", **options | named, cinder_ca_certificates_file=file)
        with pytest.raises(errors.StoreUnavailable, match=f"{who}.* certificate is not trusted") as caught:
            store.stat(location)
        assert not caught.value.transient
        assert "cinder_ca_certificates_file" in str(caught.value)
        with pytest.raises(errors.StoreUnavailable, match="not trusted"):
            store.add("another", DATA, len(DATA))
    assert len(view.volumes()) == 1
