"""Records: what add returns can be kept and read back."""

import datetime
import json

import hypothesis
import pytest
from hypothesis import strategies as st

from store_lib.interface import Checksum
from store_lib.location import Location
from store_lib.record import ImageRecord

RECORDS = st.builds(
    ImageRecord,
    id=st.text("abc", min_size=1),
    location=st.builds(
        Location, st.text(), st.none() | st.text(), st.dictionaries(st.text(), st.lists(st.text()), max_size=2)
    ),
    size=st.integers(0),
    digests=st.dictionaries(st.sampled_from(["md5", "sha512"]), st.text("0123456789abcdef")),
    verified_by=st.sampled_from(["size", "backend", "read"]),
    backend_checksum=st.none() | st.builds(Checksum, st.sampled_from(["md5"]), st.text("0123456789abcdef")),
    written_at=st.datetimes(timezones=st.just(datetime.UTC)),
    seconds=st.integers(0, 10**6).map(float),
)


@hypothesis.given(RECORDS)
def test_a_record_is_read_back_from_json(record):
    again = ImageRecord.from_json(record.to_json())
    assert again == record
    assert dict(again.location.metadata) == dict(record.location.metadata)


@pytest.mark.parametrize(("metadata", "told"), [({}, False), ({"mountpoint": "/x"}, True)])
def test_metadata_is_told_only_when_there_is_some(metadata, told):
    at = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    record = ImageRecord("x", Location("file:///x", "s", metadata), 3, {"md5": "00"}, "size", None, at, 0.5)
    data = json.loads(record.to_json())
    assert data["uri"] == "file:///x"
    assert data["store"] == "s"
    assert data["written_at"] == "2026-01-02T00:00:00+00:00"
    assert ("metadata" in data) is told
