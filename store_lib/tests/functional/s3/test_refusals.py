"""Keys, buckets, quotas and clocks that the server does not like; servers that cannot keep two writers apart."""

import datetime
import json

import pytest

from store_lib import errors
from store_lib.tests.functional.s3.conftest import LARGE, UNIT, USUAL
from store_lib.tests.support import content, payload, until


def refused(store, secrets=()):
    """See that nothing works, in the library's own errors, without a secret, and return the probe's reason."""
    health = store.probe()
    assert health.status.value == "down"
    for ask in (store.stat, store.open):
        with pytest.raises(errors.Forbidden) as raised:
            ask(f"{store.prefix()}it")
        for secret in secrets:
            assert secret not in str(raised.value)
            assert secret not in health.reason
    for change in (lambda: store.add("it", b"x"), lambda: store.delete(f"{store.prefix()}it")):
        with pytest.raises(errors.StoreUnavailable):  # it is closed, and so its delete is no success either
            change()
    return health.reason


def test_wrong_keys(rgw, make_store, bucket):
    """An unknown key and a wrong secret: the reason says where to look."""
    bucket.put("it")
    for options in ({"s3_store_access_key": "UNKNOWNKEY"}, {"s3_store_secret_key": "wrongsecret"}):
        reason = refused(make_store(**options), secrets=[*rgw.keys, *options.values()])
        assert "s3_store_access_key" in reason


def test_a_bucket_of_somebody_else(rgw, make_store, bucket):
    """Its rights are not ours."""
    access, secret = rgw.other_keys
    options = {"s3_store_access_key": access, "s3_store_secret_key": secret, "s3_store_create_bucket_on_put": True}
    assert "who owns the bucket" in refused(make_store(**options))


def test_no_bucket(make_store):
    """The reason names the option that would have it made."""
    store = make_store(s3_store_bucket="nowhere-at-all")
    health = store.probe()
    assert health.status.value == "down"
    assert "s3_store_create_bucket_on_put" in health.reason


class Late(datetime.datetime):
    """A clock that is two hours slow."""

    @classmethod
    def now(cls, tz=None):
        return super().now(tz) - datetime.timedelta(hours=2)

    @classmethod
    def utcnow(cls):
        return cls.now(datetime.UTC).replace(tzinfo=None)


def test_a_clock_that_is_wrong(make_store, bucket, monkeypatch):
    """The error says that it is the clock."""
    store = make_store()
    store.probe()
    monkeypatch.setattr("botocore.compat.datetime.datetime", Late)
    with pytest.raises(errors.Forbidden, match="clock"):
        store.add("it", b"x")
    monkeypatch.undo()
    assert store.add("it", b"x").size == 1


def test_a_quota(rgw, store, bucket):
    """When it is used up the store is full, and nothing stays of what did not fit."""
    rgw.admin("quota", "set", "--quota-scope=bucket", f"--bucket={bucket.name}", f"--max-size={2 * UNIT}")
    rgw.admin("quota", "enable", "--quota-scope=bucket", f"--bucket={bucket.name}")
    store.add("fits", payload(UNIT))
    for size in (3 * UNIT, LARGE):
        until(lambda: quota_acts(bucket), 60)
        with pytest.raises(errors.StoreFull):
            store.add("it", payload(size), size)
    assert bucket.keys() == ["fits"]
    assert bucket.uploads() == []


def quota_acts(bucket):
    """Return whether the gateway has taken notice of the quota."""
    try:
        bucket.put("probe", payload(3 * UNIT))
    except bucket.client.exceptions.ClientError:
        return True
    bucket.client.delete_object(Bucket=bucket.name, Key="probe")
    return False


def test_a_redirect_to_another_region(rgw, make_store, bucket):
    """It is not followed to somewhere else; the error names the options."""
    body = "<Error><Code>PermanentRedirect</Code><Endpoint>elsewhere.example.org</Endpoint></Error>"
    with rgw.relay() as relay:
        store = make_store(s3_store_host=f"https://127.0.0.1:{relay.port}", s3_store_server="ceph-rgw")
        store.probe()
        relay.rule("PUT .*/it", "answer", 5, [301, ["Content-Type: application/xml"], body])
        with pytest.raises(errors.BackendError, match="s3_store_region_name"):
            store.add("it", b"x")


def test_a_probe_that_writes(rgw, make_store, bucket):
    """It sees that the right to write is lost, which a look at the bucket does not."""
    access, secret = rgw.other_keys
    allow = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": ["arn:aws:iam:::user/other"]},
                "Action": ["s3:ListBucket", "s3:GetObject"],
                "Resource": [f"arn:aws:s3:::{bucket.name}", f"arn:aws:s3:::{bucket.name}/*"],
            }
        ],
    }
    bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(allow))
    keys = {"s3_store_access_key": access, "s3_store_secret_key": secret}
    assert make_store("looks", **keys).probe().status.value == "up"
    health = make_store("writes", s3_store_probe_write=True, **keys).probe()
    assert health.status.value == "down"
    assert "permission" in health.reason
    assert make_store("owner", s3_store_probe_write=True).probe().status.value == "up"
    assert bucket.keys() == []


# -- servers that cannot ----------------------------------------------------------------------------------------------


def test_s3api_is_read_only_until_it_is_named(s3api, make_stores, small_parts):
    """Swift ignores the condition: a store that was not told so only reads, and says what to do."""
    with s3api.bucket() as bucket:
        bucket.put("there", payload(1000))
        text = "[DEFAULT]\nenabled_backends = auto:s3, named:s3\n"
        text += s3api.section("auto", bucket.name, **USUAL)
        text += s3api.section("named", bucket.name, **{**USUAL, "s3_store_server": "s3api"})
        stores = make_stores(text + "[glance_store]\ndefault_backend = auto\n")
        health = stores["auto"].probe()
        assert health.status.value == "read_only"
        assert "s3_store_server" in health.reason
        assert health.details["server"] == "s3api"
        assert content(stores["auto"], f"{stores['auto'].prefix()}there") == payload(1000)
        with pytest.raises(errors.ReadOnlyStore, match="s3_store_server"):
            stores["auto"].add("it", b"x")
        assert "EXCLUSIVE" not in str(stores["named"].features)
        record = stores["named"].add("it", payload(LARGE), LARGE)
        assert content(stores["named"], record.location) == payload(LARGE)
        with pytest.raises(errors.Duplicate):
            stores["named"].add("it", b"x")


def test_kinds_of_servers_are_recognised(rgw, moto, make_stores):
    """By their answers."""
    for server in (rgw, moto):
        with server.bucket() as bucket:
            store = make_stores(f"[DEFAULT]\nenabled_backends = it:s3\n{server.section('it', bucket.name, **USUAL)}")[
                "it"
            ]
            assert store.probe().details["server"] == server.kind


def test_an_unknown_server_is_tried(rgw, make_store, bucket, monkeypatch):
    """By one hidden object, made once a bucket; one that ignores the condition is left read-only."""
    monkeypatch.setattr("store_lib.drivers._s3_client.recognise", lambda headers, host: None)
    for _ in range(2):
        assert make_store().probe().details["server"] == "other"
    assert bucket.keys() == [".store_lib/marker"]
    with rgw.relay() as relay:
        relay.rule("PUT .*marker", "answer", 2, [200, [], ""])
        health = make_store(s3_store_host=f"https://127.0.0.1:{relay.port}").probe()
    assert (health.status.value, health.details["server"]) == ("read_only", "basic")
