"""Swift that is slow, stalls, goes away in the middle, has no room or has no patience."""

import concurrent.futures
import contextlib
import io
import logging
import re
import threading
import time

import pytest
import requests
import trustme

from store_lib import errors
from store_lib.tests.functional.swift.support import (
    MIB,
    client,
    halves,
    image,
    log_in,
    names,
    opened,
    own_account,
    wipe,
)
from store_lib.tests.relay import Relay
from store_lib.tests.support import content, until

pytestmark = pytest.mark.usefixtures("one_login")


@pytest.fixture
def make(server, container, tmp_path):
    """Return a function that opens a store on that container; segments have 1 MiB."""

    @contextlib.contextmanager
    def make(*, port=None, scheme="http", **options):
        if port is not None:
            project = server.env["USER_GLANCE_PROJECT_ID"]
            options["swift_store_endpoint"] = f"{scheme}://127.0.0.1:{port}/v1/AUTH_{project}"
        usual = {"probe_interval": 0, "parallel": 2}
        with opened(tmp_path, own_account(server, container=container, **{**usual, **options})) as stores:
            yield stores["it"]

    return make


@contextlib.contextmanager
def later(action, seconds):
    """Do something after some seconds, at the end of ``with`` at the latest begun."""
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()


# -- slow -------------------------------------------------------------------------------------------------------------


def test_a_proxy_that_is_slow(server, make):
    """What counts is each request, so a transfer may take longer than one of them may."""
    with Relay(int(server.env["PROXY_PORT"])) as relay, make(port=relay.port, parallel=1, operation_timeout=2) as it:
        it.add("warm", b"1")
        relay.set(rate=MIB)
        data = image(3 * MIB)
        record = it.add("image", io.BytesIO(data))
        relay.set(rate=3 * MIB)
        assert content(it, record.location) == data


def test_a_proxy_that_stalls_for_a_while(server, make):
    """Longer than a request may take, in the middle of an add: it goes on when the proxy does."""
    data = image(4 * MIB)
    with Relay(int(server.env["PROXY_PORT"])) as relay, contextlib.ExitStack() as stack:
        patient = {"retry_attempts": 60, "retry_deadline": 150}
        it = stack.enter_context(make(port=relay.port, operation_timeout=2, **patient))

        def stall():
            relay.set(stall=True)
            stack.enter_context(later(lambda: relay.set(stall=False), 3))

        record = it.add("image", halves(data, stall), len(data))
        assert content(it, record.location) == data


def test_a_proxy_that_stalls_for_good(server, container, make):
    """Adding and reading end with an error in bounded time; what could not be removed is found and swept."""
    data = image(4 * MIB)
    with Relay(int(server.env["PROXY_PORT"])) as relay, make() as other:
        record = other.add("there", io.BytesIO(data))
        with make(port=relay.port, operation_timeout=3, retry_attempts=1, retry_deadline=1, part_size=MIB) as it:
            reader = it.open(record.location)
            reader.read(1000)
            began = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                reading = []

                def stall():
                    relay.set(stall=True)
                    reading.append(pool.submit(reader.read))

                with pytest.raises(errors.StoreUnavailable):
                    it.add("image", halves(data, stall), len(data))
                with pytest.raises(errors.StoreUnavailable):
                    reading[0].result()
            reader.close()
            assert time.monotonic() - began < 200
            relay.set(stall=False)
        assert [each.id for each in other.list()] == ["there"]
        other.delete(record.location)

        def swept():
            other.sweep(older_than=0)
            return names(client(server), container) == []

        until(swept, 60)  # what was on its way while it stalled may arrive behind the first sweep


def test_a_proxy_that_is_killed_in_the_middle(server, make):
    """Of an add and of reading: both go on once it is there again."""
    data = image(4 * MIB)
    with make(retry_attempts=60, retry_deadline=150, operation_timeout=60, part_size=MIB) as it:
        record = it.add("there", io.BytesIO(data))
        with contextlib.ExitStack() as stack:
            reader = stack.enter_context(it.open(record.location))
            first = reader.read(1000)

            def kill():
                server.stop("proxy")
                stack.enter_context(later(lambda: server.start("proxy"), 1))

            added = it.add("image", halves(data, kill), len(data))
            assert first + reader.read() == data
        assert content(it, added.location) == data


def test_a_server_without_patience(server, make, caplog):
    """It answers 408, or 499, when a segment comes too slowly; that is sent again and arrives."""
    server.start("hasty")
    data = image(2 * MIB)
    with Relay(int(server.env["HASTY_PORT"])) as relay:
        with make(port=relay.port, parallel=1, retry_attempts=60, retry_deadline=150) as it:
            it.add("warm", b"1")

            def faster():
                until(lambda: "answered 4" in caplog.text, 150)
                relay.set(rate=None)

            helper = threading.Thread(target=faster)
            with caplog.at_level(logging.INFO, "store_lib"):
                relay.set(rate=4096)
                helper.start()
                record = it.add("image", io.BytesIO(data), len(data))
                helper.join()
            assert re.search("trying again: .* answered 4(08|99)", caplog.text)
            assert content(it, record.location) == data


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_tls(server, make, tmp_path):
    """A certificate that nobody trusts, of Swift or Keystone, is told as such; connections that break are not."""
    authority, data = trustme.CA(), image(3 * MIB)
    issued = authority.issue_cert("127.0.0.1")
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(ca)
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    with contextlib.ExitStack() as stack:
        ports = (int(server.env[f"{name}_PORT"]) for name in ("PROXY", "KEYSTONE"))
        relay, keystone = (stack.enter_context(Relay(port, cert=cert, key=key)) for port in ports)
        secure = {"swift_store_auth_address": f"https://127.0.0.1:{keystone.port}/v3"}
        swift = {"port": relay.port, "scheme": "https"}
        with make(**swift, **secure, swift_store_cacert=ca, retry_attempts=20) as it:
            it.add("warm", b"1")
            relay.set(cut_up=1_300_000)
            record = it.add("image", io.BytesIO(data))
            relay.set(cut_up=None, cut_down=700_000)
            assert content(it, record.location) == data
        relay.set(cut_down=None)
        for not_trusted in (swift, secure):
            with make(**not_trusted) as it:
                with pytest.raises(errors.StoreUnavailable, match="swift_store_cacert") as caught:
                    it.stat(record.location)
                assert not caught.value.transient
        with make(**swift, **secure, swift_store_auth_insecure="true") as it:
            assert it.stat(record.location).size == len(data)


# -- full -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def full_disks(server):
    """Have the object server answer 507 to every PUT, as it does when its disks are full."""
    server.stop("object")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORE_LIB_SWIFT_RESERVE", "100%")
        server.start("object")
    try:
        yield
    finally:
        server.stop("object")
        server.start("object")


def test_the_disks_become_full(server, container, make):
    """In the middle of an image: adding fails and nothing stays; reading and deleting go on."""
    data = image(6 * MIB)
    with make(retry_attempts=1) as it:
        record = it.add("there", b"data")
        with contextlib.ExitStack() as stack:
            with pytest.raises(errors.StoreUnavailable):
                it.add("image", halves(data, lambda: stack.enter_context(full_disks(server))), len(data))
            with pytest.raises(errors.StoreUnavailable):
                it.add("small", b"data")
            assert names(client(server), container) == ["there"]
            assert content(it, record.location) == b"data"
            it.delete(record.location)
        assert it.add("image", io.BytesIO(data)).size == len(data)
    log = (server.folder / "log/object.log").read_text(errors="replace")
    assert '" 507 ' in log


def test_the_quota_of_the_account(server, container, make):
    """Used up it is a full store, and nothing of the image stays; what is left of it is the store's capacity."""
    logged_in = log_in(server, "imgadmin")
    url = f"{server.env['PROXY_URL']}/v1/AUTH_{server.env['USER_GLANCE_PROJECT_ID']}"

    def quota(value):
        headers = {"X-Auth-Token": logged_in.get_token(), "X-Account-Meta-Quota-Bytes": value}
        requests.post(url, headers=headers, timeout=60).raise_for_status()

    quota("1000")
    try:
        with make() as it:
            for size in (5000, 3 * MIB):
                with pytest.raises(errors.StoreFull):
                    it.add("image", io.BytesIO(image(size)))
            assert names(client(server), container) == []
            assert it.capacity().total == 1000
            quota("")
            assert it.add("image", io.BytesIO(image(5000))).size == 5000
    finally:
        quota("")


# -- elsewhere --------------------------------------------------------------------------------------------------------


def test_two_stores_with_one_reference_in_two_files(server, container, tmp_path):
    """Each works in the account of its own file, though their locations look the same."""
    for user, project in (("glance", "service"), ("demo", "demo")):
        lines = f"auth_address = {server.env['KEYSTONE_URL']}/v3\nuser = {project}:{user}\nkey = {user}-pw\n"
        (tmp_path / user).write_text(f"[mine]\n{lines}")
    text = {
        user: own_account(
            server,
            container=container,
            swift_store_config_file=tmp_path / user,
            default_swift_reference="mine",
            swift_store_auth_address="",
        )
        for user in ("glance", "demo")
    }
    with opened(tmp_path, text["glance"], f"[other]\n{text['demo']}") as stores:
        record = stores["it"].add("image", b"of the service")
        other = stores["other"].add("image", b"of the project")
        assert record.location.uri == other.location.uri == f"swift+config://mine/{container}/image"
        assert content(stores["it"], record.location) == b"of the service"
        assert content(stores["other"], other.location) == b"of the project"
        stores["other"].delete(other.location)
        assert content(stores["it"], record.location) == b"of the service"
    wipe(client(server, "demo"), container)
