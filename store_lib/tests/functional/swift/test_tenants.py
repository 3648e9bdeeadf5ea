"""Each image in the account of the project that adds it."""

import datetime
import io
import uuid

import pytest
from swiftclient.client import ClientException

from store_lib import errors
from store_lib.interface import Status
from store_lib.tests.functional.swift.support import (
    MIB,
    Request,
    client,
    image,
    log_in,
    names,
    opened,
    own_account,
)
from store_lib.tests.support import until


@pytest.fixture
def base():
    """Return what the containers of this test begin with."""
    return f"tenant-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def it(server, base, tmp_path):
    """Return a store of images in the accounts of their owners."""
    with opened(tmp_path, own_account(server, container=base, swift_store_multi_tenant="true")) as stores:
        yield stores["it"]


@pytest.fixture(scope="module")
def demo(server):
    """Return the context of a request of the user demo."""
    return Request(server, "demo")


@pytest.fixture(scope="module")
def alt(server):
    """Return the context of a request of a user of another project."""
    return Request(server, "alt")


@pytest.fixture(scope="module", autouse=True)
def fleeting(server):
    """Return the context of a request of the user demo whose token lives for ten seconds, given before the first test.

    Most of that time goes by while other tests run.
    """
    server.start("short")
    return Request(server, "demo", url="SHORT_URL")


def trusts(server):
    """Return how many trusts the user demo has given."""
    session = log_in(server, "demo")
    url = f"{server.env['KEYSTONE_URL']}/v3/OS-TRUST/trusts?trustor_user_id={server.env['USER_DEMO_ID']}"
    return len(session.get(url).json()["trusts"])


def test_an_image_in_its_owners_account(server, base, it, demo):
    """It lies in a container of its own, which goes with it; a large one is written by a trust, which goes as well."""
    project = server.env["USER_DEMO_PROJECT_ID"]
    place = server.env["PROXY_URL"].removeprefix("http://")
    for size in (1000, 2 * MIB + 5):
        data = image(size)
        record = it.add("image", io.BytesIO(data), size, context=demo)
        assert record.location.uri == f"swift+http://{place}/v1/AUTH_{project}/{base}_image/image"
        assert content_of(it, record, demo) == data
        assert client(server, "demo").head_object(f"{base}_image", "image")["content-length"] == str(size)
        assert trusts(server) == 0
        with pytest.raises(errors.Duplicate):
            it.add("image", io.BytesIO(data), size, context=demo)
        it.delete(record.location, context=demo)
        with pytest.raises(ClientException, match="404"):
            client(server, "demo").head_container(f"{base}_image")
        with pytest.raises(errors.NotFound):
            it.delete(record.location, context=demo)


def content_of(it, record, request):
    with it.open(record.location, context=request) as reader:
        return reader.read()


def test_a_trust_outlives_the_users_token(server, base, it):
    """The token of the request is revoked in the middle of a large image, and the image arrives all the same."""
    request = Request(server, "demo")
    data = image(4 * MIB)

    def source():
        yield data[: 2 * MIB]
        url = f"{server.env['KEYSTONE_URL']}/v3/auth/tokens"
        log_in(server).delete(url, headers={"X-Subject-Token": request.auth_token})
        server.forget()
        yield data[2 * MIB :]

    record = it.add("image", source(), len(data), context=request)
    assert content_of(it, record, Request(server, "demo")) == data


def test_an_endpoint_without_an_account(server, base, tmp_path, demo):
    """Where Swift is may be told without an account: that of the caller's project is meant, or the service's own."""
    options = own_account(
        server, container=base, swift_store_multi_tenant="true", swift_store_endpoint=f"{server.env['PROXY_URL']}/v1"
    )
    with opened(tmp_path, options) as stores:
        it = stores["it"]
        assert it.probe().status is Status.UP
        for project, request in (("DEMO", demo), ("GLANCE", None)):
            record = it.add("image", b"data", context=request)
            assert f"/v1/AUTH_{server.env[f'USER_{project}_PROJECT_ID']}/{base}_image/" in record.location.uri
            assert content_of(it, record, request) == b"data"
            it.delete(record.location, context=request)


def test_a_service_with_an_application_credential(server, base, tmp_path, demo):
    """Keystone lets it make no use of trusts: the request's own token has to do for large images, too."""
    env = server.env
    options = {
        "swift_store_multi_tenant": "true",
        "swift_store_user": "",
        "swift_store_key": "",
        "swift_store_application_credential_id": env["USER_GLANCE_APPLICATION_ID"],
        "swift_store_application_credential_secret": env["USER_GLANCE_APPLICATION_SECRET"],
    }
    with opened(tmp_path, own_account(server, container=base, **options)) as stores:
        data = image(2 * MIB + 5)
        record = stores["it"].add("image", io.BytesIO(data), len(data), context=demo)
        assert content_of(stores["it"], record, demo) == data
        stores["it"].delete(record.location, context=demo)
    assert trusts(server) == 0


def test_where_no_trust_can_be_made(server, base, it, caplog):
    """The request's own token has to do for a large image, and the log says so."""
    request, data = Request(server, "demo"), image(2 * MIB + 5)
    request.roles = ["nobody has it"]
    record = it.add("image", io.BytesIO(data), len(data), context=request)
    assert "no trust of user" in caplog.text
    assert request.auth_token not in caplog.text
    assert content_of(it, record, request) == data
    it.delete(record.location, context=request)


def test_a_service_token_makes_an_expired_one_good(server, base, tmp_path, demo, fleeting):
    """Without trusts the service's own token goes along: Swift then takes one of the caller that has expired by now.

    A store that has no credentials works with good tokens only.
    """
    until(lambda: datetime.datetime.now(datetime.UTC) > fleeting.expires + datetime.timedelta(seconds=5), 60)
    options = {"swift_store_multi_tenant": "true", "swift_store_use_trusts": "false"}
    nobody = "[nobody]\n" + own_account(server, container=base, swift_store_user="", swift_store_key="", **options)
    with opened(tmp_path, own_account(server, container=base, **options), nobody) as stores:
        record = stores["nobody"].add("image", io.BytesIO(b"data"), 4, context=demo)
        stores["nobody"].delete(record.location, context=demo)
        data = image(2 * MIB + 5)
        with pytest.raises(errors.Forbidden):
            stores["nobody"].add("image", io.BytesIO(data), len(data), context=fleeting)
        record = stores["it"].add("image", io.BytesIO(data), len(data), context=fleeting)
        assert content_of(stores["it"], record, fleeting) == data
        stores["it"].delete(record.location, context=fleeting)
        with pytest.raises(ClientException, match="404"):
            client(server, "demo").head_container(f"{base}_image")
        assert trusts(server) == 0


def test_others_read_by_access_lists_only(server, base, it, demo, alt):
    """Another project is refused until it is on the list, or until the image is public."""
    data = image(2 * MIB)
    record = it.add("image", io.BytesIO(data), len(data), context=demo)
    with pytest.raises(errors.Forbidden):
        it.open(record.location, context=alt)
    it.set_acls(record.location, read_tenants=[alt.project_id], context=demo)
    assert content_of(it, record, alt) == data
    with pytest.raises(errors.Forbidden):
        it.delete(record.location, context=alt)
    it.set_acls(record.location, public=True, context=demo)
    assert content_of(it, record, alt) == data
    it.set_acls(record.location, context=demo)
    with pytest.raises(errors.Forbidden):
        it.open(record.location, context=alt)
    it.delete(record.location, context=demo)


def test_admin_tenants(server, base, tmp_path, demo, alt):
    """Once access lists are set, whatever they say, a project that the operator named reads, writes and deletes."""
    options = {"swift_store_multi_tenant": "true", "swift_store_admin_tenants": alt.project_id}
    with opened(tmp_path, own_account(server, container=base, **options)) as stores:
        it = stores["it"]
        data = image(2 * MIB)
        record = it.add("image", io.BytesIO(data), len(data), context=demo)
        for ask in (it.open, it.delete):
            with pytest.raises(errors.Forbidden):
                ask(record.location, context=alt)
        owner, admins = client(server, "demo"), f"{alt.project_id}:*"
        for lists, readers, writers in (
            ({"public": True}, "*:*", admins),
            ({"read_tenants": ["some"], "write_tenants": ["others"]}, f"some:*,{admins}", f"others:*,{admins}"),
            ({}, admins, admins),
        ):
            it.set_acls(record.location, context=demo, **lists)
            found = owner.head_container(f"{base}_image")
            assert (found["x-container-read"], found["x-container-write"]) == (readers, writers)
        assert content_of(it, record, alt) == data
        it.delete(record.location, context=alt)
        assert names(owner, f"{base}_image") == []
        with pytest.raises(errors.NotFound):
            it.stat(record.location, context=demo)
    owner.delete_container(f"{base}_image")  # which is its owner's matter


def test_a_token_goes_to_no_other_server(it, demo):
    """A location that names another host is refused before anything is sent there."""
    with pytest.raises(errors.ForeignLocation):
        it.open(f"swift+http://127.0.0.1:9/v1/AUTH_1/{it.settings['swift_store_container']}_a/a", context=demo)


def test_a_failed_upload_leaves_no_container(server, base, it, demo):
    """The container of an image that could not be added goes with it."""
    with pytest.raises(errors.SizeMismatch):
        it.add("short", io.BytesIO(b"data"), 2 * MIB, context=demo)
    with pytest.raises(ClientException, match="404"):
        client(server, "demo").head_container(f"{base}_short")
    assert names(client(server, "demo"), f"{base}_short") == []


def test_a_token_that_is_none(it):
    """A caller whose token is refused is forbidden, and the store is open for the next one."""
    request = type("Request", (), {"auth_token": "nonsense", "project_id": "nobody"})()
    for _ in range(2):
        with pytest.raises(errors.Forbidden):
            it.add("image", io.BytesIO(b"data"), 4, context=request)


def test_a_role_that_may_only_read(server, base, it):
    """It is told that the permission is refused, and the store stays open for others."""
    with pytest.raises(errors.Forbidden):
        it.add("image", io.BytesIO(b"data"), 4, context=Request(server, "reader"))
