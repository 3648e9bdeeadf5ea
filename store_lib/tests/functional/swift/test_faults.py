"""Swift and Keystone that are down, hang, refuse, or change their minds in the middle of a transfer."""

import concurrent.futures
import io
import os
import signal
import time

import pytest

from store_lib import errors
from store_lib.interface import Status
from store_lib.tests.functional.swift.support import MIB, client, halves, image, names, opened, own_account
from store_lib.tests.support import content, until

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

        def opens():
            try:
                return it.add("image", io.BytesIO(b"data"), 4).size == 4
            except errors.StoreUnavailable:
                time.sleep(0.5)
                return False

        until(opens, 60)
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
    """A new one is fetched, and the transfer ends well."""
    with make(swift_store_large_object_size=1, parallel=2) as stores:
        it = stores["it"]
        tokens = it._driver._tenancy.cloud().service("ref1")
        data = image(6 * MIB)

        def between():
            before = tokens.token()
            revoke(server, before)
            server.forget()

        record = it.add("image", halves(data, between), len(data))
        assert content(it, record.location) == data


def test_wrong_password(make):
    """The store is down with its reason, which holds neither user nor password, and other stores are not harmed."""
    with make(swift_store_key="mistaken-secret", **IMPATIENT) as stores:
        with pytest.raises(errors.StoreLibError, match="refuses the credentials") as caught:
            stores["it"].add("image", io.BytesIO(b"data"), 4)
        assert "mistaken-secret" not in repr(caught.value) + str(caught.value)


def test_credentials_are_replaced_without_a_restart(server, container, make, tmp_path):
    """The file of accounts is read again when its credentials are refused; its own account serves two stores."""
    file = tmp_path / "accounts.conf"
    env = server.env
    address = f"auth_address = {env['KEYSTONE_URL']}/v3\n"
    file.write_text(f"[mine]\n{address}user = service:glance\nkey = outdated\n")
    options = {
        "swift_store_config_file": file,
        "default_swift_reference": "mine",
        "swift_store_auth_address": "",
        **IMPATIENT,
    }
    with make(**options) as stores:
        with pytest.raises(errors.StoreLibError, match="refuses the credentials"):
            stores["it"].add("image", io.BytesIO(b"data"), 4)
        identity, secret = env["USER_GLANCE_APPLICATION_ID"], env["USER_GLANCE_APPLICATION_SECRET"]
        lines = f"application_credential_id = {identity}\napplication_credential_secret = '{secret}'\n"
        file.write_text(f"[mine]\n{address}{lines}")
        record = stores["it"].add("image", io.BytesIO(b"data"), 4)
        assert record.location.uri == f"swift+config://mine/{container}/image"
        file.write_text("not a file of accounts")  # what is logged in stays so
        assert content(stores["it"], record.location) == b"data"


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
