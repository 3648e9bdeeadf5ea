"""Reading, listing and deleting, and what a location may say."""

import contextlib
import http.client
import ssl
import urllib.parse

import pytest

from store_lib import errors
from store_lib.tests.functional.s3.conftest import LARGE, UNIT
from store_lib.tests.support import MIB, content, payload


def test_no_request_before_the_first_get(rgw, make_store, bucket):
    """Opening and reading a small image is one request, a large one as many as it has ranges."""
    bucket.put("small", payload(1000))
    bucket.put("large", payload(LARGE))
    with rgw.relay() as relay:
        store = make_store(s3_store_host=f"https://127.0.0.1:{relay.port}", s3_store_server="ceph-rgw")
        for name, size, requests in (("small", 1000, 1), ("large", LARGE, 3)):
            before = len(relay.seen())
            assert content(store, f"{store.prefix()}{name}") == payload(size)
            sent = relay.seen()[before:]
            assert [each.partition("?")[0] for each in sent] == [f"GET /{bucket.name}/{name}"] * requests


def test_requests_of_a_delete(rgw, make_store, bucket):
    """Whether the image is there costs one request, which who does not mind spares; a missing one proves the bucket."""
    with rgw.relay() as relay:
        store = make_store(s3_store_host=f"https://127.0.0.1:{relay.port}", s3_store_server="ceph-rgw")
        store.probe()
        image, place = f"/{bucket.name}/it", f"/{bucket.name}"

        def delete(**how):
            before = len(relay.seen())
            with contextlib.suppress(errors.NotFound):
                store.delete(f"{store.prefix()}it", **how)
            return relay.seen()[before:]

        bucket.put("it")
        assert delete() == [f"HEAD {image}", f"DELETE {image}"]
        bucket.put("it")
        assert delete(missing_ok=True) == [f"DELETE {image}"]
        assert delete() == [f"HEAD {image}", f"HEAD {place}"]


def test_ranges(store, bucket):
    """From any offset, of any length, at the end, and beyond it."""
    data = payload(LARGE)
    bucket.put("it", data)
    uri = f"{store.prefix()}it"
    for offset, length in ((0, 1), (LARGE - 1, 1), (5 * UNIT - 3, 7), (1234, 9 * UNIT), (LARGE, 0), (LARGE - 10, None)):
        with store.open(uri, offset, length) as reader:
            assert reader.read() == data[offset : None if length is None else offset + length]
    for offset, length in ((LARGE + 1, None), (0, LARGE + 1), (LARGE - 1, 2)):
        with pytest.raises(errors.BadRange):
            store.open(uri, offset, length)


def test_an_image_that_is_replaced(store, bucket):
    """A reader never mixes two versions: it gets an error."""
    bucket.put("it", payload(LARGE))
    with store.open(f"{store.prefix()}it") as reader:
        bucket.put("it", payload(LARGE, 1))
        with pytest.raises(errors.BackendError, match="replaced"):
            reader.read()


def test_listing_in_pages(store, bucket):
    """More images than a page holds are all told; hidden objects and folders are not."""
    for number in range(7):
        bucket.put(f"it-{number}", b"x" * number)
    for key in (".hidden", ".store_lib/claims/it", "folder/it"):
        bucket.put(key)
    client = store._driver._connections.get().client

    def small_pages(params, **_):
        params["MaxKeys"] = 2

    client.meta.events.register("provide-client-params.s3.ListObjectsV2", small_pages)
    assert {each.id: each.size for each in store.list()} == {f"it-{number}": number for number in range(7)}


def test_missing(store, bucket):
    """Of an image that is not there everything is NotFound; of a bucket that is not there the store is unavailable."""
    uri = f"{store.prefix()}it"
    for ask in (store.stat, store.open, store.delete):
        with pytest.raises(errors.NotFound):
            ask(uri)
    assert store.delete(uri, missing_ok=True) is not None
    bucket.remove()
    for ask in (store.stat, store.open, store.delete):
        with pytest.raises(errors.StoreUnavailable, match="bucket"):
            ask(uri)
    with pytest.raises(errors.StoreUnavailable):
        store.delete(uri, missing_ok=True)
    with pytest.raises(errors.StoreUnavailable, match="bucket"):
        store.add("it", b"x")


def test_old_locations(store, rgw, bucket):
    """Every form that glance_store wrote is read; the keys in it are neither used nor shown."""
    bucket.put("it", payload(1000))
    place = f"{rgw.host}/{bucket.name}/it"
    for uri in (
        f"s3+https://AKIDOLD:se/cr+et=@{place}",
        f"s3://AKIDOLD:secret@{place}",
        f"s3+http://AKIDOLD:secret@{place}",
        f"s3://{place}",
        f"s3+https://{place}",
    ):
        assert store.owns(uri)
        assert content(store, uri) == payload(1000)
        assert store.image_id(uri) == "it"
    bucket.remove()
    with pytest.raises(errors.StoreUnavailable) as raised:
        store.stat(f"s3+https://AKIDOLD:se/cr+et=@{place}")
    assert "AKIDOLD" not in str(raised.value)
    assert "se/cr+et" not in str(raised.value)


def test_locations_of_elsewhere(store, rgw, bucket):
    """Another bucket, host or folder is refused before anything is asked for."""
    for place in (
        f"{rgw.host}/other/it",
        f"s3.example.org/{bucket.name}/it",
        f"{rgw.host}/{bucket.name}/folder/it",
        f"{rgw.host}/prefix/{bucket.name}/it",
    ):
        with pytest.raises(errors.ForeignLocation):
            store.open(f"s3+https://{place}")
    for name in ("..", ".store_lib", ".hidden"):
        with pytest.raises(errors.BadLocation):
            store.open(f"s3+https://{rgw.host}/{bucket.name}/{name}")


def test_a_signed_url(store, rgw, bucket):
    """It reads the image without credentials, for a while."""
    bucket.put("it", payload(1000))
    address = store._driver.parse(f"{store.prefix()}it")
    context = store._runtime.context()
    url = store._driver.signed_url(address, 60, context)
    assert fetched(url, rgw.ca) == (200, payload(1000))
    assert fetched(url.replace("/it?", "/other?"), rgw.ca)[0] == 403
    assert rgw.keys[1] not in url
    for seconds in (0, 8 * 24 * 3600):
        with pytest.raises(errors.BadRequest):
            store._driver.signed_url(address, seconds, context)


def fetched(url, ca):
    """Return status and body of a URL."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPSConnection(parts.netloc, context=ssl.create_default_context(cafile=ca))
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_capacity(rgw, make_store, bucket):
    """Where the server is named: what is used, and the bucket's quota, if it has one, as the whole."""
    store = make_store(s3_store_server="ceph-rgw")
    assert store.capacity().total is None
    rgw.admin("quota", "set", "--quota-scope=bucket", f"--bucket={bucket.name}", f"--max-size={MIB}")
    rgw.admin("quota", "enable", "--quota-scope=bucket", f"--bucket={bucket.name}")
    found = store.capacity()
    assert found.total == MIB
    with pytest.raises(errors.NotSupported):
        make_store("unnamed").capacity()
