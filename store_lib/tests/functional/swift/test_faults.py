"""Swift and Keystone that are down, hang, refuse, or change their minds in the middle of a transfer."""

import concurrent.futures
import contextlib
import functools
import io
import os
import signal
import time
import uuid

import pytest
from keystoneauth1.exceptions import NotFound

from store_lib import errors
from store_lib.interface import Status
from store_lib.tests.functional.swift.support import MIB, client, halves, image, log_in, names, opened, own_account
from store_lib.tests.relay import Relay
from store_lib.tests.support import content, unread, until

#: A store that asks again at once whether it is usable, and tries nothing twice.
IMPATIENT = {"probe_interval": 0, "retry_attempts": 1, "probe_timeout": 60}


@pytest.fixture
def make(server, container, tmp_path):
    """Return a function that opens stores on that container."""

    def make(*groups, **options):
        return opened(tmp_path, own_account(server, container=container, **options), *groups)

    return make


def test_swift_is_down_and_comes_back(server, container, make):
    """The store closes with an answer at once, keeps what it has, and opens by itself."""
    with make(**IMPATIENT) as stores:
        it = stores["it"]
        record = it.add("image", io.BytesIO(b"data"), 4)
        server.stop("proxy")
        for ask in (lambda: it.add("new", io.BytesIO(b"data"), 4), lambda: it.delete(record.location)):
            with pytest.raises(errors.StoreUnavailable):
                ask()
        with pytest.raises(errors.StoreUnavailable):
            it.open(record.location)
        server.start("proxy")
        assert content(it, record.location) == b"data"
        assert it.add("new", io.BytesIO(b"more"), 4).size == 4


def test_keystone_is_down(server, make):
    """What is logged in works until Swift asks Keystone; a service that starts meanwhile has a store that is closed.

    Both say so, and work when Keystone is there.
    """
    with make(**IMPATIENT) as before, make(**{**IMPATIENT, "probe_interval": 1}) as stores:
        record = before["it"].add("before", io.BytesIO(b"data"), 4)
        server.stop("keystone")
        assert content(before["it"], record.location) == b"data"
        server.forget()
        with pytest.raises(errors.StoreUnavailable, match="identity service"):
            before["it"].open(record.location)
        stores.start()
        it = stores["it"]
        with pytest.raises(errors.StoreUnavailable, match="identity service"):
            it.add("image", io.BytesIO(b"data"), 4)
        server.start()
        until(lambda: opens(it, "image"), 60)
        assert content(before["it"], record.location) == b"data"


def test_a_proxy_that_hangs(server, make):
    """What hangs is given up in time, and all is well once it goes on."""
    with make(**IMPATIENT) as patient, make(**{**IMPATIENT, "operation_timeout": 3}) as hasty:
        record = patient["it"].add("image", io.BytesIO(b"data"), 4)
        pid = server.pid("proxy")
        os.kill(pid, signal.SIGSTOP)
        try:
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                asked = [pool.submit(ask, record.location) for ask in (hasty["it"].open, hasty["it"].stat)]
                for each in asked:
                    with pytest.raises(errors.OperationTimeout):
                        each.result()
        finally:
            os.kill(pid, signal.SIGCONT)
        assert content(patient["it"], record.location) == b"data"


def test_object_servers_are_down(server, container, make):
    """Swift answers 503: the image is not lost, and an add fails in whole."""
    with make(**IMPATIENT) as stores:
        it = stores["it"]
        record = it.add("image", io.BytesIO(b"data"), 4)
        server.stop("object")
        with pytest.raises(errors.StoreUnavailable):
            it.open(record.location)
        with pytest.raises(errors.StoreUnavailable):
            it.add("large", io.BytesIO(image(2 * MIB)))
        server.start()
        assert content(it, record.location) == b"data"
        it.sweep(older_than=0)
        assert names(client(server), container) == ["image"]


def revoke(server, token):
    """Make Keystone refuse a token from now on."""
    session = client(server).session
    url = f"{server.env['KEYSTONE_URL']}/v3/auth/tokens"
    session.delete(url, headers={"X-Subject-Token": token})


def test_a_token_is_revoked_in_the_middle(server, make):
    """Of an image that is added, or read: a new one is fetched, and the transfer ends well."""
    with make(swift_store_large_object_size=1, parallel=2, part_size=MIB) as stores:
        it = stores["it"]
        tokens = it._driver._tenancy.cloud().service("ref1")
        data, used = image(6 * MIB), []

        def between():
            used.append(tokens.token())
            revoke(server, used[-1])
            server.forget()

        record = it.add("image", halves(data, between), len(data))
        with it.open(record.location) as reader:
            first = reader.read(1000)
            between()
            assert first + reader.read() == data
        assert len({*used, tokens.token()}) == 3


@contextlib.contextmanager
def not_deployed(server):
    """Yield options for a type of service that the catalog does not have, and what brings it there."""
    keystone, admin = f"{server.env['KEYSTONE_URL']}/v3", client(server).session
    kind, made = f"store-{uuid.uuid4().hex[:8]}", []

    def deploy():
        body = {"service": {"type": kind, "name": kind}}
        made.append(admin.post(f"{keystone}/services", json=body).json()["service"]["id"])
        url = f"{server.env['PROXY_URL']}/v1/AUTH_%(tenant_id)s"
        endpoint = {"service_id": made[0], "interface": "public", "region_id": server.env["REGION"], "url": url}
        admin.post(f"{keystone}/endpoints", json={"endpoint": endpoint})

    try:
        yield {"swift_store_service_type": kind}, deploy
    finally:
        for service in made:
            admin.delete(f"{keystone}/services/{service}")


@contextlib.contextmanager
def behind_a_relay(server, port, **behaviour):
    """Yield options for a Keystone or a Swift that behaves so, and what ends that."""
    with Relay(int(server.env[port]), **behaviour) as relay:
        address = f"http://127.0.0.1:{relay.port}"
        endpoint = {"swift_store_endpoint": f"{address}/v1/AUTH_{server.env['USER_GLANCE_PROJECT_ID']}"}
        options = {"swift_store_auth_address": f"{address}/v3"} if port == "KEYSTONE_PORT" else endpoint
        yield options, lambda: relay.set(**dict.fromkeys(behaviour, False))


@contextlib.contextmanager
def wrong_password(server, path):
    """Yield options for a file of accounts that holds a wrong password, and what writes the right one."""

    def write(password):
        address = f"auth_address = {server.env['KEYSTONE_URL']}/v3"
        path.write_text(f"[ref1]\n{address}\nuser = service:glance\nkey = {password}\n")

    write("mistaken-secret")
    yield {"swift_store_config_file": path, "swift_store_auth_address": ""}, lambda: write("glance-pw")


def test_stores_that_cannot_be_used_at_start(server, container, make_stores, tmp_path, caplog):
    """Swift not deployed, Keystone or Swift down or silent, credentials refused: one warning each, and a closed store.

    It says why, at once and without reading the image; another store works meanwhile, and each opens by itself.
    """
    closed = {
        "absent": (not_deployed(server), "no public endpoint of type store-"),
        "keystone": (behind_a_relay(server, "KEYSTONE_PORT", refuse=True), "identity service cannot be reached"),
        "down": (behind_a_relay(server, "PROXY_PORT", refuse=True), "Swift"),
        "silent": (behind_a_relay(server, "PROXY_PORT", stall=True), "time"),
        "refused": (wrong_password(server, tmp_path / "accounts"), "refuses the credentials"),
    }
    with contextlib.ExitStack() as stack:
        found = {name: stack.enter_context(trouble) for name, (trouble, _) in closed.items()}
        enabled = ", ".join(["good:file", *(f"{name}:swift" for name in closed)])
        text = f"[DEFAULT]\nenabled_backends = {enabled}\n[glance_store]\ndefault_backend = good\n"
        text += f"[good]\nfilesystem_store_datadir = {tmp_path}/good\n"
        for name, (options, _) in found.items():
            patience = 5 if name == "silent" else 60
            usual = {"container": container, "probe_interval": 2, "probe_timeout": patience}
            text += f"[{name}]\n{own_account(server, **{**usual, **options})}\n"
        stores = make_stores(text)
        stores.start()
        for name, (_, reason) in closed.items():
            warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
            (told,) = [each for each in warnings if f"store {name} is down and closed" in each]
            assert reason in told
            assert quickest(functools.partial(refused, stores[name], reason, container)) < 1
        assert content(stores["good"], stores["good"].add("image", b"data").location) == b"data"
        assert "mistaken-secret" not in caplog.text
        for _, mend in found.values():
            mend()
        for name in closed:
            until(functools.partial(opens, stores[name], name), 120)
            assert content(stores[name], f"swift+config://ref1/{container}/{name}") == b"data"


def refused(store, reason, container):
    """See that a closed store refuses to add and to delete, with its reason, and that it reads nothing."""
    location = f"swift+config://ref1/{container}/image"
    for ask in (lambda: store.add("new", unread()), lambda: store.delete(location)):
        with pytest.raises(errors.StoreUnavailable, match=reason) as caught:
            ask()
        assert "mistaken-secret" not in repr(caught.value) + str(caught.value)


def quickest(ask):
    """Return the least seconds that it took of some times: now and then a store asks whether it may open."""
    taken = []
    for _ in range(4):
        began = time.monotonic()
        ask()
        taken.append(time.monotonic() - began)
    return min(taken)


def opens(store, image_id):
    """Add an image, and return whether the store took it."""
    try:
        return store.add(image_id, b"data").size == 4
    except errors.StoreUnavailable:
        time.sleep(0.5)
        return False


def application_credential(server, session):
    """Make another application credential of the service's user; return the lines of it in a file, and its URL."""
    url = f"{server.env['KEYSTONE_URL']}/v3/users/{server.env['USER_GLANCE_ID']}/application_credentials"
    wanted = {"name": f"test-{uuid.uuid4().hex[:8]}", "roles": [{"name": "admin"}]}
    made = session.post(url, json={"application_credential": wanted}).json()["application_credential"]
    lines = f"application_credential_id = {made['id']}\napplication_credential_secret = '{made['secret']}'\n"
    return lines, f"{url}/{made['id']}"


def test_credentials_are_replaced_without_a_restart(server, container, make, tmp_path):
    """In the middle of an image Keystone forgets the old ones, and their tokens with them: it goes on with the new.

    A file that is broken later changes nothing for who is logged in.
    """
    file, session = tmp_path / "accounts.conf", log_in(server)
    (old, old_url), (new, new_url) = (application_credential(server, session) for _ in range(2))
    start = f"[mine]\nauth_address = {server.env['KEYSTONE_URL']}/v3\n"
    file.write_text(start + old)
    options = {"swift_store_config_file": file, "default_swift_reference": "mine", "swift_store_auth_address": ""}
    data = image(4 * MIB)

    def rotate():
        file.write_text(start + new)
        session.delete(old_url)
        server.forget()

    with make(**options, parallel=2) as stores:
        record = stores["it"].add("image", halves(data, rotate), len(data))
        assert record.location.uri == f"swift+config://mine/{container}/image"
        assert content(stores["it"], record.location) == data
        file.write_text("not a file of accounts")
        assert content(stores["it"], record.location) == data
    with pytest.raises(NotFound):
        session.get(old_url)
    session.delete(new_url)


def test_the_store_tells_how_full_its_quota_is(server, container, make):
    """Nearly at the quota the store is degraded; without one it has no capacity to tell."""
    connection = client(server)
    with make(**IMPATIENT) as stores:
        assert stores["it"].capacity().total is None
        connection.post_container(container, {"X-Container-Meta-Quota-Bytes": "1000"})
        stores["it"].add("image", io.BytesIO(bytes(990)), 990)
        assert stores["it"].capacity().free == 10
        driver = stores["it"]._driver
        found = driver.probe(stores["it"]._runtime.context())
        assert found.status is Status.DEGRADED
