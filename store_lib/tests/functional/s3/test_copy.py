"""Copies inside the server, and those that have to go through here."""

import json

import pytest

from store_lib.tests.functional.s3.conftest import LARGE, USUAL
from store_lib.tests.support import payload


@pytest.fixture
def pair(make_stores, rgw, bucket, small_parts):
    """Return a function that makes two stores, ``one`` in the test's bucket and ``two`` in another."""
    with rgw.bucket() as other:

        def make(one=None, two=None):
            text = "[DEFAULT]\nenabled_backends = one:s3, two:s3\n[glance_store]\ndefault_backend = one\n"
            text += rgw.section("one", bucket.name, **{**USUAL, **(one or {})})
            return make_stores(text + rgw.section("two", other.name, **{**USUAL, **(two or {})})), other

        yield make


def test_inside_the_server(rgw, pair):
    """To another bucket: no byte comes through here."""
    with rgw.relay() as relay:
        front = {"s3_store_host": f"https://127.0.0.1:{relay.port}", "s3_store_server": "ceph-rgw"}
        stores, other = pair(front, front)
        record = stores["one"].add("it", payload(LARGE), LARGE)
        copied = stores.copy(record.location, "two")
        sent = relay.seen()
    assert copied.size == LARGE
    assert other.content("it") == payload(LARGE)
    of_images = [each for each in sent if "/it" in each and ".store_lib" not in each]
    assert any(each.startswith("PUT") for each in of_images)
    assert not [each for each in of_images if each.startswith("GET")]


def test_a_small_image(pair):
    """It comes through here, in one request."""
    stores, other = pair()
    record = stores["one"].add("it", payload(1000))
    assert stores.copy(record.location, "two").size == 1000
    assert other.content("it") == payload(1000)


def test_to_another_account(rgw, pair, bucket):
    """With the destination's credentials where they may read the source, through here where they may not."""
    stores, _ = pair()
    access, secret = rgw.other_keys
    mine = rgw.connect(access, secret)
    theirs = f"{bucket.name}-theirs"
    mine.create_bucket(Bucket=theirs)
    try:
        record = stores["one"].add("it", payload(LARGE), LARGE)
        keys = {"s3_store_access_key": access, "s3_store_secret_key": secret, "s3_store_bucket": theirs}
        for allowed in (False, True):
            if allowed:
                allow(bucket)
            stores, _ = pair(two=keys)
            assert stores.copy(record.location, "two").size == LARGE
            assert mine.get_object(Bucket=theirs, Key="it")["Body"].read() == payload(LARGE)
            mine.delete_object(Bucket=theirs, Key="it")
    finally:
        mine.delete_bucket(Bucket=theirs)
        mine.close()


def allow(bucket):
    """Let the other account read a bucket."""
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ["arn:aws:iam:::user/other"]},
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket.name}", f"arn:aws:s3:::{bucket.name}/*"],
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(policy))


def test_migrate(pair, bucket):
    """The source is gone after it."""
    stores, other = pair()
    record = stores["one"].add("it", payload(LARGE), LARGE)
    moved = stores.migrate(record.location, "two", delete_source=True)
    assert moved.size == LARGE
    assert bucket.keys() == []
    assert other.content("it") == payload(LARGE)
