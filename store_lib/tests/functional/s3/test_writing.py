"""How images get into a bucket of Ceph's gateway: in which requests, under what conditions, with which properties."""

import hashlib
import os
import threading

import pytest

from store_lib import errors
from store_lib.tests.functional.s3.conftest import LARGE, UNIT
from store_lib.tests.support import Child, content, payload, pieces


def test_a_small_image_is_one_put(rgw, make_store, bucket):
    """And nothing but a look for a claim comes with it."""
    with rgw.relay() as relay:
        store = make_store(s3_store_host=f"https://127.0.0.1:{relay.port}", s3_store_server="ceph-rgw")
        store.probe()
        before = len(relay.seen())
        record = store.add("it", payload(65536), 65536)
        sent = relay.seen()[before:]
    assert [each.partition(" ")[0] for each in sent] == ["PUT", "GET"]
    assert "/.store_lib/claims/it" in sent[1]
    assert record.verified_by == "backend"
    assert bucket.content("it") == payload(65536)


def test_an_empty_image_of_unknown_size(store, bucket):
    """It is an object of no bytes, and no upload stays."""
    record = store.add("it", iter([]))
    assert record.size == 0
    assert bucket.head("it")["ContentLength"] == 0
    assert bucket.uploads() == []
    assert bucket.keys() == ["it"]


def test_every_image_in_parts(make_store, bucket):
    """With the threshold at 0 even an empty one is begun as an upload, and comes out right."""
    store = make_store(s3_store_large_object_size=0)
    for size in (0, 1, 6 * UNIT):
        record = store.add(f"it-{size}", payload(size), size)
        assert content(store, record.location) == payload(size)
    assert bucket.head("it-1")["ETag"].endswith('-1"')
    assert bucket.uploads() == []
    assert sorted(bucket.keys()) == ["it-0", "it-1", f"it-{6 * UNIT}"]


@pytest.mark.parametrize("known", [True, False])
def test_a_large_image(store, bucket, known):
    """It comes in parts whose digests the server compared, and leaves nothing hidden."""
    data = payload(LARGE)
    record = store.add("it", pieces(data, UNIT), LARGE if known else None)
    assert record.size == LARGE
    assert hashlib.sha512(bucket.content("it")).hexdigest() == record.digests["sha512"]
    assert bucket.head("it")["ETag"].endswith('-3"')
    assert bucket.keys() == ["it"]
    assert bucket.uploads() == []


def test_a_threshold_that_the_operator_wrote(make_store, bucket):
    """It is kept: a larger image than usual goes in one request."""
    store = make_store(s3_store_large_object_size=1)
    store.add("it", payload(LARGE), LARGE)
    assert "-" not in bucket.head("it")["ETag"]


def test_a_prefix(make_store, bucket):
    """Two stores share a bucket, and neither sees the other's images."""
    bucket.put("b/elsewhere")
    one, two = make_store("one", s3_store_key_prefix="a/"), make_store("two", s3_store_key_prefix="b/")
    record = one.add("it", payload(100))
    assert record.location.uri.endswith(f"/{bucket.name}/a/it")
    assert [each.id for each in one.list()] == ["it"]
    assert [each.id for each in two.list()] == ["elsewhere"]
    assert content(one, record.location) == payload(100)
    with pytest.raises(errors.ForeignLocation):
        two.delete(record.location.uri)
    one.delete(record.location)
    assert bucket.keys() == ["b/elsewhere"]


def test_the_bucket_is_made(rgw, make_store):
    """When the option says so, by the first image."""
    name = f"made-{os.urandom(4).hex()}"
    store = make_store(s3_store_bucket=name, s3_store_create_bucket_on_put=True)
    assert store.probe().status.value == "up"
    record = store.add("it", payload(LARGE), LARGE)
    assert content(store, record.location) == payload(LARGE)
    with rgw.bucket(name) as view:
        assert view.keys() == ["it"]


def test_storage_class(make_store, bucket):
    """A class that the server does not know is an error of the library, and nothing stays."""
    store = make_store(s3_store_storage_class="NOWHERE")
    for size in (10, LARGE):
        with pytest.raises(errors.StoreLibError):
            store.add("it", payload(size), size)
    assert bucket.keys() == []
    make_store(s3_store_storage_class="STANDARD").add("it", payload(10))
    assert bucket.keys() == ["it"]


# -- two writers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[LARGE] * 4, [1000] * 8, [1000, LARGE, 1000, LARGE]], ids=["parts", "put", "both"])
def test_many_threads_one_id(make_store, bucket, sizes):
    """One of them wins, all others get Duplicate, and the image is the winner's."""
    won, lost = race(make_store(retry_attempts=5), sizes, rounds=2)
    assert len(won) == 2
    assert set(lost) == {"Duplicate"}
    for image_id, seed, size in won:
        assert bucket.content(image_id) == payload(size, seed)
    assert sorted(bucket.keys()) == ["it-0", "it-1"]
    assert bucket.uploads() == []


def race(store, sizes, rounds):
    """Have one thread for each size add the same ids; return who won which, and the names of the others' errors."""
    won, lost = [], []
    together = threading.Barrier(len(sizes))

    def add(seed, size):
        for turn in range(rounds):
            data = payload(size, seed)
            together.wait(60)
            try:
                store.add(f"it-{turn}", pieces(data, UNIT), size)
                won.append((f"it-{turn}", seed, size))
            except errors.StoreLibError as error:
                lost.append(type(error).__name__)

    threads = [threading.Thread(target=add, args=each) for each in enumerate(sizes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won, lost


def test_processes_one_id(make_store, bucket):
    """Writers in several processes, each with 32 threads: one image, whole."""
    store = make_store(retry_attempts=5)

    def many():
        return race(store, [LARGE] * 3 + [50_000] * 29, rounds=1)

    with Child(many) as one, Child(many) as two:
        results = [each.result() for each in (one, two)]
    won = [each for result in results for each in result[0]]
    assert len(won) == 1
    assert {name for result in results for name in result[1]} == {"Duplicate"}
    ((image_id, seed, size),) = won
    assert bucket.content(image_id) == payload(size, seed)
    assert bucket.uploads() == []
    assert bucket.keys() == ["it-0"]


def test_after_a_fork(store, bucket):
    """A child makes connections of its own, and the parent's go on."""
    record = store.add("parent", payload(1000))

    def child():
        store.add("child", payload(2000, 1))
        return content(store, record.location) == payload(1000)

    with Child(child) as other:
        assert other.result()
    assert content(store, record.location) == payload(1000)
    assert bucket.content("child") == payload(2000, 1)
