"""Locations: image ids, schemes, and that no secret is ever shown."""

import string
import time

import hypothesis
import pytest
from hypothesis import strategies as st

from store_lib import errors
from store_lib.location import MAX_URI, Location, check_image_id, redact, scheme_of

ALLOWED = string.ascii_letters + string.digits + "._-"
#: Characters that no other part of the generated locations has.
SECRET = st.text("QZXJ0123456789/+=?#:%", min_size=1, max_size=40).map(lambda text: f"QZ{text}XJ")
WORD = st.text("abcdefgh.-", min_size=1, max_size=10)


@hypothesis.given(image_id=st.text(ALLOWED, min_size=1, max_size=255).filter(lambda text: text[0] != "."))
def test_good_image_ids(image_id):
    assert check_image_id(image_id) == image_id


@hypothesis.given(image_id=st.one_of(st.text(), st.binary(), st.none(), st.integers()))
def test_whatever_is_no_image_id_is_refused(image_id):
    good = (
        isinstance(image_id, str) and 0 < len(image_id) < 256 and image_id[0] != "." and not set(image_id) - {*ALLOWED}
    )
    if good:
        assert check_image_id(image_id) == image_id
    else:
        with pytest.raises(errors.BadImageId):
            check_image_id(image_id)


@pytest.mark.parametrize("image_id", ["", ".", "..", ".x", "a/b", "a\n", "a b", "ä", "x" * 256, "a\0", "\udcff", "%41"])
def test_bad_image_ids(image_id):
    with pytest.raises(errors.BadImageId) as raised:
        check_image_id(image_id)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 250


@hypothesis.given(scheme=WORD, user=WORD, secret=SECRET, host=WORD, path=st.text("abc/@", max_size=20))
def test_a_password_is_not_shown(scheme, user, secret, host, path):
    for uri in (
        f"{scheme}://{user}:{secret}@{host}/{path}",
        f" {scheme}://{user}:{secret}@{host}/{path}",
        f"s3+https://{user}:{secret}@{host}/{path}",
        f"{user}:{secret}@{host}/{path}",
        f"{scheme}://{secret.lstrip('/')}@{host}",
    ):
        assert "QZ" not in redact(uri), uri
        assert "QZ" not in str(Location(uri))
        assert "QZ" not in repr(Location(uri))


@hypothesis.given(
    name=st.sampled_from(
        [
            "X-Amz-Signature",
            "AWSAccessKeyId",
            "temp_url_sig",
            "temp_url_expires",
            "X-Auth-Token",
            "api%5Fkey",
            "password",
        ]
    ),
    secret=st.text("QZXJ0123456789/+=%:", min_size=1).map(lambda text: f"QZ{text}"),
    separator=st.sampled_from("?&;#"),
)
def test_a_secret_in_the_query_is_not_shown(name, secret, separator):
    uri = f"http://host/path?format=raw{separator}{name}={secret}&last=1"
    assert "QZ" not in redact(uri)
    assert "format=raw" in redact(uri)


@hypothesis.given(st.one_of(st.text(), st.binary(), st.none(), st.integers(), st.lists(st.text())))
def test_redact_takes_anything(thing):
    shown = redact(thing)
    assert isinstance(shown, str)
    assert shown.isprintable()
    assert len(shown) <= 500


def test_redact_survives_an_object_that_cannot_be_shown():
    class Broken:
        def __str__(self):
            raise RuntimeError

    assert redact(Broken()) == "<Broken>"


@pytest.mark.parametrize(
    "uri", ["file:///dir/a@b", "rbd://fsid/pool/image/snap", "http://host/path?a=1", "memory://s/x"]
)
def test_what_holds_no_secret_is_shown_as_it_is(uri):
    assert redact(uri) == uri


def test_a_secret_longer_than_any_location_is_not_shown():
    assert "QZ" not in redact("s3://user:" + "QZ" * MAX_URI + "@host/bucket")


@pytest.mark.parametrize("unit", ["?key", "://a@", "?", "&sig=", ";secret;", "@", "a://b@c?token=", "%"])
def test_no_text_makes_redact_slow(unit):
    began = time.monotonic()
    redact("s3://" + unit * 100_000)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("uri", "scheme"), [("file:///x", "file"), ("S3+HTTPS://h/b", "s3+https"), ("rbd://x", "rbd"), ("a:b", "a")]
)
def test_schemes(uri, scheme):
    assert scheme_of(uri) == scheme


@pytest.mark.parametrize(
    "uri",
    ["", "file", "://x", "1a://x", " file:///x", "file:///a\nb", "file:///\0", "file:///\udcff", "x:" + "y" * MAX_URI],
)
def test_what_has_no_scheme(uri):
    with pytest.raises(errors.BadLocation):
        scheme_of(uri)


@pytest.mark.parametrize("uri", [None, b"file:///x", 5])
def test_what_is_no_text(uri):
    with pytest.raises(errors.BadLocation, match="a location is a text"):
        scheme_of(uri)


@pytest.mark.parametrize("uri", [" s3://user:QZ@host", "s3://user:QZ\n@host", "://u:QZ@h", "u/x:QZ@h", "?token=QZ"])
def test_the_error_about_a_bad_location_shows_no_secret(uri):
    with pytest.raises(errors.BadLocation) as raised:
        scheme_of(uri)
    assert "QZ" not in str(raised.value)


def test_metadata_is_no_part_of_the_identity():
    assert Location("a://b", "s", {"x": 1}) == Location("a://b", "s")
    assert Location("a://b", "s") != Location("a://b", "t")
    assert Location.of("a://b") == Location("a://b")
    place = Location("a://b")
    assert Location.of(place) is place
    assert hash(Location("a://b", "s", {"x": []})) == hash(Location("a://b", "s"))
