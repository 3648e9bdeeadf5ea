"""A bucket of Ceph's gateway that keeps versions, where its PUT ignores conditions.

Who accepts that finds a store that works as in any other; what is removed stays as an old version.
"""

import os

import pytest

from store_lib import errors
from store_lib.tests.functional.s3.conftest import LARGE, UNIT, USUAL
from store_lib.tests.support import Child, content, payload, until


@pytest.fixture
def bucket(rgw):
    """Return the view of a bucket that keeps versions."""
    with rgw.bucket() as view:
        rgw.client.put_bucket_versioning(Bucket=view.name, VersioningConfiguration={"Status": "Enabled"})
        yield view
        for key, version in versions(view) + versions(view, "DeleteMarkers"):
            rgw.client.delete_object(Bucket=view.name, Key=key, VersionId=version)


@pytest.fixture
def store(make_store):
    """Return a store that writes all the same."""
    return make_store(s3_store_server="basic")


def versions(bucket, kind="Versions"):
    """Return ``(key, version)`` of all versions, or of all delete markers."""
    pages = bucket.client.get_paginator("list_object_versions").paginate(Bucket=bucket.name)
    return [(each["Key"], each["VersionId"]) for page in pages for each in page.get(kind, ())]


def images(bucket):
    """Return the ids of which versions are there, one for each version."""
    return sorted(key for key, _ in versions(bucket) if not key.startswith("."))


def test_it_is_read_only_until_told(make_store, bucket):
    """Two writers are not kept apart there: the store reads only and says what to do, named or recognised."""
    bucket.put("there", payload(1000))
    for number, options in enumerate(({}, {"s3_store_server": "ceph-rgw"})):
        store = make_store(f"it{number}", **options)
        health = store.probe()
        assert health.status.value == "read_only"
        assert "versions" in health.reason
        with pytest.raises(errors.ReadOnlyStore, match="s3_store_server"):
            store.add("it", b"x")
        assert content(store, f"{store.prefix()}there") == payload(1000)
    status = {"Status": "Suspended"}
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration=status)
    assert store.probe().status.value == "up"
    assert store.add("it", b"x").size == 1
    with pytest.raises(errors.Duplicate):
        store.add("it", b"y")


@pytest.mark.parametrize("size", [1000, LARGE])
def test_an_image(store, bucket, size):
    """It is added, read in ranges, kept from a second one, deleted, and added again; each delete leaves a version."""
    for turn in range(2):
        data = payload(size, turn)
        record = store.add("it", data, size)
        assert content(store, record.location) == data
        with store.open(record.location, size // 2, 500) as reader:
            assert reader.read() == data[size // 2 : size // 2 + 500]
        with pytest.raises(errors.Duplicate):
            store.add("it", payload(size, 9), size)
        assert [(each.id, each.size) for each in store.list()] == [("it", size)]
        store.delete(record.location)
        for ask in (store.stat, store.open, store.delete):
            with pytest.raises(errors.NotFound):
                ask(record.location)
        assert bucket.keys() == []
        assert bucket.uploads() == []
        assert images(bucket) == ["it"] * (turn + 1)


def test_a_reader_keeps_its_version(store, bucket):
    """An image that is deleted and made anew while it is read comes out as it was when it was opened."""
    record = store.add("it", payload(LARGE), LARGE)
    with store.open(record.location) as reader:
        first = reader.read(UNIT)
        store.delete(record.location)
        store.add("it", payload(LARGE, 1), LARGE)
        assert first + reader.read() == payload(LARGE)


def test_a_copy(make_stores, rgw, bucket, small_parts):
    """The server copies the version that is current."""
    text = "[DEFAULT]\nenabled_backends = one:s3, two:s3\n[glance_store]\ndefault_backend = one\n"
    for name in ("one", "two"):
        text += rgw.section(name, bucket.name, **USUAL, s3_store_server="basic", s3_store_key_prefix=f"{name}/")
    stores = make_stores(text)
    stores["one"].delete(stores["one"].add("it", payload(LARGE, 1), LARGE).location)
    record = stores["one"].add("it", payload(LARGE), LARGE)
    copied = stores.migrate(record.location, "two", delete_source=True)
    assert content(stores["two"], copied.location) == payload(LARGE)
    assert bucket.keys() == ["two/it"]


def test_a_failed_add(store, bucket):
    """It leaves no version of the image, and only old versions of hidden objects."""

    def source():
        yield payload(LARGE)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.add("it", source())
    assert images(bucket) == []
    assert bucket.keys() == []
    assert bucket.uploads() == []


def test_what_a_dead_writer_left(store, bucket):
    """It is found once, swept, and not found again for its old versions."""

    def die():
        def source():
            yield payload(LARGE)
            until(bucket.uploads, 60)
            os.kill(os.getpid(), 9)
            yield b""

        store.add("it", source())

    with Child(die) as child:
        child.wait()
    assert [each.kind for each in store.leftovers()] == ["multipart upload"]
    assert len(store.sweep().removed) == 1
    assert list(store.leftovers()) == []
    assert bucket.uploads() == []
    assert images(bucket) == []
