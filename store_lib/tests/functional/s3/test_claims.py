"""Claims on Ceph's gateway, which honours If-None-Match on PUT and ignores it on completion."""

import pytest

from store_lib import errors
from store_lib.runtime import new_owner
from store_lib.tests.functional.s3.conftest import LARGE
from store_lib.tests.support import content, in_child, payload


def claim(bucket, owner, upload="none"):
    """Leave a claim on the id ``it``."""
    bucket.put(".store_lib/claims/it", f"{owner.encode()}\n{upload}".encode())


def begun(bucket):
    """Begin an upload of the id ``it`` and return its id."""
    return bucket.client.create_multipart_upload(Bucket=bucket.name, Key="it")["UploadId"]


def test_the_server_is_as_its_row_says(bucket):
    """Without a claim the second of two completions would win."""
    for data in (b"first", b"second"):
        upload = begun(bucket)
        where = {"Bucket": bucket.name, "Key": "it", "UploadId": upload}
        part = bucket.client.upload_part(**where, PartNumber=1, Body=data)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        bucket.client.complete_multipart_upload(**where, MultipartUpload=parts, IfNoneMatch="*")
    assert bucket.content("it") == b"second"


def test_a_claim_of_a_dead_process(store, bucket):
    """It stands in nobody's way."""
    claim(bucket, owner_of_the_dead(), begun(bucket))
    record = store.add("it", payload(LARGE), LARGE)
    assert content(store, record.location) == payload(LARGE)
    assert bucket.keys() == ["it"]


def owner_of_the_dead():
    """Return the owner that a process was which has ended."""
    from store_lib.interface import Owner

    owner = Owner.decode(in_child(lambda: new_owner().encode()))
    assert owner is not None
    return owner


def test_a_claim_whose_upload_has_ended(store, bucket):
    """Nobody can complete on its strength, even if its owner lives."""
    upload = begun(bucket)
    bucket.client.abort_multipart_upload(Bucket=bucket.name, Key="it", UploadId=upload)
    claim(bucket, new_owner(), upload)
    assert store.add("it", payload(LARGE), LARGE).size == LARGE


def test_a_claim_in_earnest(store, bucket, monkeypatch):
    """Who may yet complete is waited for; then the add fails for now, and leaves nothing of its own."""
    monkeypatch.setattr("store_lib.drivers._s3_claim._PATIENCE", 1.0)
    upload = begun(bucket)
    claim(bucket, new_owner(), upload)
    with pytest.raises(errors.Busy, match="another writer"):
        store.add("it", payload(LARGE), LARGE)
    assert bucket.uploads() == [("it", upload)]
    assert bucket.keys() == [".store_lib/claims/it"]


def test_claims_are_swept(store, bucket):
    """Those of the dead at once; those of the living not."""
    claim(bucket, owner_of_the_dead())
    bucket.put(".store_lib/claims/other", f"{new_owner().encode()}\nnone".encode())
    result = store.sweep()
    assert [each.kind for each in result.removed] == ["claim"]
    assert bucket.keys() == [".store_lib/claims/other"]
    assert [each.id for each in store.list()] == []
