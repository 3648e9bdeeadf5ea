"""Servers that break, stay silent, refuse or lose their answers: the library's own errors, in bounded time."""

import os
import threading
import time

import pytest

from store_lib import errors
from store_lib.tests.functional.s3.conftest import LARGE, UNIT
from store_lib.tests.support import MIB, Child, content, payload, pieces, until

SLOW_DOWN = [503, ["Content-Type: application/xml"], "<Error><Code>SlowDown</Code></Error>"]
BROKEN = [500, ["Content-Type: application/xml"], "<Error><Code>InternalError</Code></Error>"]


@pytest.fixture
def relay(rgw):
    """Return a relay between store and gateway."""
    with rgw.relay() as made:
        yield made


@pytest.fixture
def behind(make_store, relay):
    """Return a function that makes a store behind the relay, which has been used once."""

    def make(**options):
        usual = {"retry_attempts": 4, "operation_timeout": 15, "s3_store_server": "ceph-rgw"}
        store = make_store(s3_store_host=f"https://127.0.0.1:{relay.port}", **{**usual, **options})
        assert store.probe().status.value == "up"
        return store

    return make


# -- passing failures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "action", "answer"),
    [
        ("PUT .*partNumber=2", "answer", SLOW_DOWN),
        ("PUT .*partNumber=2", "reset", None),
        ("PUT .*partNumber=1", "lose", None),
        ("POST .*uploads", "answer", SLOW_DOWN),
        ("POST .*uploadId", "answer", SLOW_DOWN),
        ("POST .*uploadId", "lose", None),
        ("POST .*uploadId", "answer", BROKEN),
        ("PUT .*claims", "lose", None),
        ("PUT .*uploads/", "lose", None),
        ("HEAD .*/it", "lose", None),
        ("DELETE .*uploads/", "answer", SLOW_DOWN),
        ("DELETE .*claims/", "reset", None),
    ],
)
def test_one_request_fails(behind, relay, bucket, request_, action, answer):
    """Whichever it is: it is sent again, or its outcome found out, and the image comes out right."""
    relay.rule(request_, action, 1, answer)
    store = behind()
    record = store.add("it", pieces(payload(LARGE), UNIT), LARGE)
    assert bucket.content("it") == payload(LARGE)
    assert record.size == LARGE
    assert bucket.keys() == ["it"]
    assert bucket.uploads() == []


@pytest.mark.parametrize("action", ["lose", "reset", "answer"])
def test_a_small_put_fails(behind, relay, bucket, action):
    """Its outcome is found out: a name that our own lost PUT took is not taken by another."""
    relay.rule("PUT .*/it", action, 1, BROKEN)
    record = behind().add("it", payload(1000))
    assert record.size == 1000
    assert bucket.content("it") == payload(1000)


def test_reading_is_resumed(behind, relay, bucket):
    """Connections that break, and a server that asks to slow down, are seen by nobody."""
    size = 11 * MIB
    bucket.put("it", payload(size))
    store = behind(retry_attempts=8, part_size=5 * MIB)
    relay.rule("GET .*/it", "answer", 2, SLOW_DOWN)
    relay.set(cut_down=2 * MIB)
    with store.open(f"{store.prefix()}it") as reader:
        first = reader.read(3 * MIB)
        relay.set(cut_down=None)
        assert first + reader.read() == payload(size)


def test_a_request_that_stalls(behind, relay, bucket):
    """It is given up after its time and sent again: a part of an add, and a range of reading."""
    store = behind(operation_timeout=4)
    relay.rule("PUT .*partNumber=2", "stall")
    record = store.add("it", pieces(payload(LARGE), UNIT), LARGE)
    relay.rule("GET .*/it", "stall")
    assert content(store, record.location) == payload(LARGE)
    assert bucket.keys() == ["it"]
    assert bucket.uploads() == []


def test_delete_whose_answer_is_lost(behind, relay, bucket):
    """It is a success."""
    bucket.put("it")
    relay.rule("DELETE .*/it", "lose")
    store = behind()
    assert store.delete(f"{store.prefix()}it") is not None
    assert bucket.keys() == []


# -- failures for good ------------------------------------------------------------------------------------------------


def test_parts_that_never_pass(behind, relay, bucket):
    """The add fails in bounded time, and the upload is removed."""
    store = behind(retry_attempts=2)
    relay.rule("PUT .*partNumber=2", "reset", 100)
    with pytest.raises(errors.StoreUnavailable):
        store.add("it", pieces(payload(LARGE), UNIT), LARGE)
    assert bucket.uploads() == []
    assert bucket.keys() == []


def test_a_source_that_fails(store, bucket):
    """Its own error passes, and nothing stays."""

    def source():
        yield payload(LARGE)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.add("it", source())
    assert bucket.uploads() == []
    assert bucket.keys() == []


def test_a_server_that_is_silent(behind, relay, bucket):
    """A request is given up after its time; so is clearing away, and a sweep finds what stayed."""
    store = behind(retry_attempts=1, operation_timeout=4, probe_timeout=8)
    began = time.monotonic()

    def source():
        yield payload(LARGE)
        relay.set(stall=True)
        yield payload(LARGE, 1)

    with pytest.raises(errors.OperationTimeout):
        store.add("it", source())
    with pytest.raises(errors.OperationTimeout):
        store.stat(f"{store.prefix()}it")
    assert store.probe().status.value == "down"
    assert time.monotonic() - began < 100
    relay.set(stall=False)
    # Requests that were given up reach the server now, in any order, the one that clears away among them.

    def clear():
        store.sweep(older_than=0)
        return bucket.uploads() == bucket.keys() == []

    until(clear, 60)


def test_reading_from_a_silent_server(behind, relay, bucket):
    """The reader gets an error after the time that a request may take."""
    bucket.put("it", payload(11 * MIB))
    store = behind(retry_attempts=1, operation_timeout=4, retry_deadline=1, part_size=5 * MIB)
    with store.open(f"{store.prefix()}it") as reader:
        reader.read(1000)
        relay.set(stall=True)
        with pytest.raises(errors.StoreUnavailable):
            reader.read()


def test_nobody_listens(make_store):
    """The store is down, and says so at once."""
    store = make_store(s3_store_host="https://127.0.0.1:1")
    health = store.probe()
    assert health.status.value == "down"
    assert "cannot be reached" in health.reason
    with pytest.raises(errors.StoreUnavailable):
        store.add("it", b"x")


def test_a_certificate_that_nobody_signed(make_store, rgw):
    """TLS is verified, and the error says what to look at."""
    health = make_store(s3_store_cacert=None).probe()
    assert health.status.value == "down"
    assert "s3_store_cacert" in health.reason
    another = make_store(s3_store_host=f"https://127.1:{rgw.port}").probe()  # the same machine by a name not in it
    assert another.status.value == "down"
    assert "s3_store_cacert" in another.reason
    plain = make_store(s3_store_host=f"127.0.0.1:{rgw.plain_port}").probe()
    assert "http://" in plain.reason


def test_a_slow_server_and_a_fast_source(behind, relay, bucket):
    """The source is read no faster than parts go out: at most the buffers are ahead."""
    store = behind(operation_timeout=60, parallel=2, memory_limit=64 * MIB, part_size=5 * MIB)
    relay.set(rate=4 * MIB)
    taken = []
    released = threading.Event()

    def source():
        for _ in range(60):
            taken.append(1)
            if len(taken) == 20:
                released.set()
            yield payload(MIB)

    def add():
        store.add("it", source(), digests=[])

    thread = threading.Thread(target=add)
    thread.start()
    until(lambda: len(taken) >= 10, 60)
    time.sleep(0.3)
    ahead = len(taken)
    relay.set(rate=None)
    thread.join()
    assert ahead < 45
    assert bucket.head("it")["ContentLength"] == 60 * MIB


# -- the gateway itself -----------------------------------------------------------------------------------------------


def test_the_gateway_ends_and_comes_back(rgw, make_store, bucket):
    """In the middle of an add and of reading: both go on once it is there again."""
    large = 11 * MIB
    bucket.put("there", payload(large))
    store = make_store(retry_attempts=40, retry_deadline=90, operation_timeout=30, part_size=5 * MIB)
    record = store.add("warm", b"x")
    reader = store.open(record.location.uri.replace("warm", "there"))
    first = reader.read(1000)

    again = threading.Thread(target=rgw.start)

    def source():
        yield payload(large)
        rgw.end()
        again.start()
        yield payload(large, 1)

    added = store.add("it", source())
    assert content(store, added.location) == payload(large) + payload(large, 1)
    assert first + reader.read() == payload(large)
    reader.close()
    again.join()
    assert bucket.uploads() == []


def test_a_writer_is_killed(make_store, bucket):
    """What it left is told with its owner and size, and a sweep of this machine removes it at once."""
    store = make_store()

    def die():
        def source():
            yield payload(LARGE)
            until(lambda: bucket.uploads() and parts(bucket), 60)
            os.kill(os.getpid(), 9)
            yield b""

        store.add("it", source())

    with Child(die) as child:
        child.wait()
    (found,) = store.leftovers()
    assert (found.kind, found.owner.pid) == ("multipart upload", child.pid)
    assert (found.size or 0) >= 5 * UNIT
    result = store.sweep()
    assert len(result.removed) == 1
    assert bucket.uploads() == []
    assert bucket.keys() == []
    assert store.add("it", payload(LARGE), LARGE).size == LARGE


def parts(bucket):
    """Return whether the only upload has a part."""
    ((key, upload),) = bucket.uploads()
    return bucket.client.list_parts(Bucket=bucket.name, Key=key, UploadId=upload).get("Parts")
