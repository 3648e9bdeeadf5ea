"""Images that Ceph's gateway encrypts: with a key of the store's, and with one of its key management."""

import base64
import os

import pytest

from store_lib import errors
from store_lib.tests.functional.s3.conftest import LARGE, UNIT, USUAL
from store_lib.tests.support import content, payload


def customer():
    """Return the options of a store with a key of its own."""
    key = base64.b64encode(os.urandom(32)).decode()
    return {"s3_store_encryption": "customer", "s3_store_encryption_customer_key": key}


@pytest.fixture
def managed(rgw):
    """Return the options of a store whose key is the server's."""
    return {"s3_store_encryption": "aws:kms", "s3_store_encryption_kms_key": rgw.env["S3_KMS_KEY"]}


def everything(store, bucket):
    """See that images go in, come out whole and in ranges, are listed and deleted, and that nothing else stays."""
    for size in (0, 2 * UNIT, LARGE):
        record = store.add(f"it-{size}", payload(size), size)
        assert record.verified_by == "size", "an ETag is no proof here"
        assert content(store, record.location) == payload(size)
        assert store.stat(record.location).size == size
    with pytest.raises(errors.Duplicate):
        store.add(f"it-{LARGE}", payload(LARGE, 1), LARGE)
    with store.open(record.location, 5 * UNIT - 3, 2 * UNIT) as reader:
        assert reader.read() == payload(LARGE)[5 * UNIT - 3 : 7 * UNIT - 3]
    assert {each.size for each in store.list()} == {0, 2 * UNIT, LARGE}
    for size in (0, 2 * UNIT, LARGE):
        store.delete(f"{store.prefix()}it-{size}")
    assert bucket.keys() == []
    assert bucket.uploads() == []


def test_with_the_customers_key(make_store, bucket):
    """Nothing is read without the key; no URL can be signed, and the key is told nowhere."""
    options = customer()
    store = make_store(**options)
    everything(store, bucket)
    assert "SIGNED_URLS" not in str(store.features)
    record = store.add("it", payload(1000))
    others: list[dict[str, str]] = [{}, customer()]
    for other in others:
        with pytest.raises(errors.StoreLibError) as raised:
            make_store(**other).open(record.location.uri)
        assert not isinstance(raised.value, errors.NotFound)
    assert options["s3_store_encryption_customer_key"] not in str(store.options())


def test_with_the_servers_key(make_store, bucket, managed):
    """The server says so of small and of large images."""
    store = make_store(**managed)
    everything(store, bucket)
    for size in (1000, LARGE):
        store.add(f"it-{size}", payload(size), size)
        head = bucket.head(f"it-{size}")
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == (
            "aws:kms",
            managed["s3_store_encryption_kms_key"],
        )


def test_a_key_that_the_server_does_not_have(make_store, bucket):
    """The error is the library's, and nothing stays."""
    store = make_store(s3_store_encryption="aws:kms", s3_store_encryption_kms_key="nobodys")
    for size in (1000, LARGE):
        with pytest.raises(errors.StoreLibError):
            store.add("it", payload(size), size)
    assert bucket.keys() == []
    assert bucket.uploads() == []


@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_server_that_does_not_encrypt(make_store, bucket, size):
    """Ceph 16.2 ignores AES256, which is told, and nothing stays that is not encrypted."""
    with pytest.raises(errors.BackendError, match="s3_store_encryption"):
        make_store(s3_store_encryption="AES256").add("it", payload(size), size)
    assert bucket.keys() == []
    assert bucket.uploads() == []


@pytest.mark.parametrize("size", [1000, LARGE])
def test_with_any_key_of_the_server(moto, make_stores, small_parts, size):
    """Where it does as asked, and says so, the image is stored, and its ETag is still a proof."""
    with moto.bucket() as bucket:
        section = moto.section("it", bucket.name, **USUAL, s3_store_encryption="AES256")
        store = make_stores(f"[DEFAULT]\nenabled_backends = it:s3\n{section}")["it"]
        record = store.add("it", payload(size), size)
        assert content(store, record.location) == payload(size)
        assert bucket.head("it")["ServerSideEncryption"] == "AES256"


def test_copies(make_stores, rgw, bucket, small_parts, managed):
    """Between stores that encrypt in different ways each image is what it was, whether or not the server copies it."""
    kinds = {"plain": {}, "managed": managed, "own": customer(), "another": customer()}
    text = f"[DEFAULT]\nenabled_backends = {', '.join(f'{name}:s3' for name in kinds)}\n"
    text += "[glance_store]\ndefault_backend = plain\n"
    for name, options in kinds.items():
        text += rgw.section(name, bucket.name, **USUAL, **options, s3_store_key_prefix=f"{name}/")
    stores = make_stores(text)
    records = {name: stores[name].add("it", payload(LARGE), LARGE) for name in kinds}
    for source, target in (("plain", "managed"), ("managed", "own"), ("own", "another"), ("another", "plain")):
        stores[target].delete(records[target].location)
        records[target] = stores.copy(records[source].location, target)
        assert content(stores[target], records[target].location) == payload(LARGE), (source, target)
