"""Every form of location that services have in their databases: taken apart, written without secrets."""

import dataclasses
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store_lib import errors, location_forms
from store_lib.location_forms import (
    CinderForm,
    Credentials,
    FileForm,
    HttpForm,
    RbdForm,
    S3Form,
    SwiftForm,
    VsphereForm,
)

IMAGE = "71c675ab-d94f-49cd-a114-e12490b328d9"
FSID = "b9b5e8b6-3a3c-4f0a-9d2f-5b1f7a3f1c2d"

#: What is read, what it means, and what is written instead.
FORMS = [
    (f"file:///var/lib/glance/images/{IMAGE}", FileForm(f"/var/lib/glance/images/{IMAGE}"), None),
    (f"filesystem:///data/{IMAGE}", FileForm(f"/data/{IMAGE}"), f"file:///data/{IMAGE}"),
    ("file:///a b%20c/é?d#e", FileForm("/a b%20c/é?d#e"), None),
    ("http://host/a/b.img?x=1&y=2", HttpForm("http", "host", None, "/a/b.img?x=1&y=2"), None),
    ("https://host:8443/a#top", HttpForm("https", "host", 8443, "/a"), "https://host:8443/a"),
    ("http://[fe80::1]:80/a@b", HttpForm("http", "[fe80::1]", 80, "/a@b"), None),
    ("http://host", HttpForm("http", "host", None, "/"), "http://host/"),
    ("https://us%20er:pa:ss@host/a", HttpForm("https", "host", None, "/a"), "https://host/a"),
    (f"rbd://{IMAGE}", RbdForm(None, None, IMAGE, None), None),
    (f"rbd://{FSID}/images/{IMAGE}/snap", RbdForm(FSID, "images", IMAGE, "snap"), None),
    (f"rbd://{FSID}/a%2Fb%20c/{IMAGE}/snap", RbdForm(FSID, "a/b c", IMAGE, "snap"), None),
    (f"s3://host/bucket/{IMAGE}", S3Form("s3", "host", "bucket", IMAGE), None),
    (f"s3+https://host:8443/rgw/bucket/{IMAGE}", S3Form("s3+https", "host:8443/rgw", "bucket", IMAGE), None),
    (
        f"s3+https://AKIA:wJalr/X+U=tnFE/MI@host/bucket/{IMAGE}",
        S3Form("s3+https", "host", "bucket", IMAGE),
        f"s3+https://host/bucket/{IMAGE}",
    ),
    (f"swift+config://ref1/glance/{IMAGE}", SwiftForm("swift+config", "ref1", "glance", IMAGE), None),
    (
        f"swift+https://auth:5000/v3/glance_7/{IMAGE}",
        SwiftForm("swift+https", "auth:5000/v3", "glance_7", IMAGE),
        None,
    ),
    (
        f"swift+http://proj%3Aus%40er:k%2Fe%3Ay@auth/v3/glance/{IMAGE}",
        SwiftForm("swift+http", "auth/v3", "glance", IMAGE),
        f"swift+http://auth/v3/glance/{IMAGE}",
    ),
    (
        f"swift://proj:user:key@auth/v3/glance/{IMAGE}",
        SwiftForm("swift", "auth/v3", "glance", IMAGE),
        f"swift://auth/v3/glance/{IMAGE}",
    ),
    (
        f"swift+https://proj%3Auser:a/b/c@auth/v3/glance/{IMAGE}",
        SwiftForm("swift+https", "auth/v3", "glance", IMAGE),
        f"swift+https://auth/v3/glance/{IMAGE}",
    ),
    (f"cinder://{IMAGE}", CinderForm(None, IMAGE), None),
    (f"cinder://fast/{IMAGE}", CinderForm("fast", IMAGE), None),
    (
        f"vsphere://[::1]/folder/openstack_glance/{IMAGE}?dcPath=dc%2F1&dsName=ds+1",
        VsphereForm("[::1]", f"/openstack_glance/{IMAGE}", "ds 1", "dc/1"),
        None,
    ),
    (
        f"vsphere://root:pw@host/folder/dir/{IMAGE}?dsName=ds",
        VsphereForm("host", f"/dir/{IMAGE}", "ds", None),
        f"vsphere://host/folder/dir/{IMAGE}?dsName=ds",
    ),
]

CREDENTIALS = {
    "s3+https://AKIA:wJalr/X+U=tnFE/MI@host/bucket/it": Credentials("AKIA", "wJalr/X+U=tnFE/MI"),
    "swift+http://proj%3Aus%40er:k%2Fe%3Ay@auth/v3/glance/it": Credentials("proj:us@er", "k/e:y"),
    "swift://proj:user:key@auth/v3/glance/it": Credentials("proj:user", "key"),
    "https://us%20er:pa:ss@host/a": Credentials("us%20er", "pa:ss"),
}

MALFORMED = [
    *("file://host/path", "file:/a", "file://", "file:///", "filesystem:///"),
    *("http://", "http:///a", "http://host:port/a", "http://host:99999/a", "http://[::1/a", "https://ho st/a"),
    *("rbd://", "rbd://a/b", "rbd://a/b/c", "rbd://a/b/c/", "rbd://a//c/d", "rbd://a/b/c/d/e", "rbd:a"),
    *("s3://host/bucket/", "s3://bucket/key", "s3:///bucket/key", "s3://user@host/b/k", "s3://:x@host/b/k"),
    *("s3://a:b@s3://host/b/k", "s3://host//k", "s3:host/b/k"),
    *("swift://host/container", "swift+config://u:k@ref/c/o", "swift+config://a/b/c/o", "swift+config:///c/o"),
    *("swift://user@host/v3/c/o", "swift+https://host/v3/c/", "swift+https://x://host/c/o"),
    *("cinder://", "cinder://nothing", f"cinder://a/b/{IMAGE}", f"cinder:///{IMAGE}", f"cinder://{IMAGE}/"),
    f"cinder://{IMAGE.replace('-', '')}",
    *("vsphere://host/other/a/b", "vsphere://host", "vsphere:///folder/a"),
    *("gopher://host/a", "", "nonsense", "file:///a\nb"),
]


@pytest.mark.parametrize(("uri", "form", "clean"), FORMS, ids=[uri for uri, _, _ in FORMS])
def test_what_is_read_and_what_is_written(uri, form, clean):
    found = location_forms.parse(uri)
    assert found == form
    assert type(found) is type(form)
    assert found.clean() == (clean or uri)
    assert location_forms.clean(uri) == (clean or uri)
    again = location_forms.parse(found.clean())
    assert again == form
    assert again.credentials is None


@pytest.mark.parametrize(("uri", "credentials"), CREDENTIALS.items(), ids=lambda each: str(each)[:12])
def test_credentials_are_apart_and_never_shown(uri, credentials):
    found = location_forms.parse(uri)
    assert found.credentials == credentials
    shown = f"{found!r} {found.credentials!r} {found.clean()}"
    for secret in (credentials.user, credentials.secret, urllib.parse.quote(credentials.secret, safe="")):
        assert secret not in shown
    assert found == dataclasses.replace(found, credentials=None)


@pytest.mark.parametrize("uri", MALFORMED)
def test_malformed(uri):
    with pytest.raises(errors.BadLocation):
        location_forms.parse(uri)


@pytest.mark.parametrize("kind", [S3Form, SwiftForm, HttpForm, VsphereForm])
def test_errors_hold_no_secret(kind):
    for scheme in kind.SCHEMES:
        with pytest.raises(errors.BadLocation) as caught:
            location_forms.parse(f"{scheme}://USERNAME:S3CRET/S3CRET@host:bad:port")
        assert "S3CRET" not in str(caught.value)
        assert "USERNAME" not in str(caught.value)


def test_of_another_kind():
    with pytest.raises(errors.BadLocation, match="write rbd://fsid/pool/image/snapshot"):
        RbdForm.parse("file:///a/b")


def test_upper_case_schemes():
    assert location_forms.parse("RBD://a") == RbdForm(None, None, "a", None)


def test_what_the_schemes_of_s3_and_swift_mean():
    assert [S3Form.parse(f"{scheme}://h/b/k").secure for scheme in ("s3", "s3+http", "s3+https")] == [0, 0, 1]
    schemes = ("swift", "swift+http", "swift+https")
    urls = [SwiftForm.parse(f"{scheme}://u:k@h/v3/c/o").url for scheme in schemes]
    assert urls == ["https://h/v3", "http://h/v3", "https://h/v3"]
    config = SwiftForm.parse("swift+config://r/c/o")
    assert (config.reference, config.url) == ("r", None)


@given(st.text(max_size=60).map(lambda text: f"x{text}"), st.sampled_from(sorted(location_forms._FORMS)))
def test_whatever_comes_is_read_back_or_refused(text, scheme):
    try:
        found = location_forms.parse(f"{scheme}://{text}")
    except errors.BadLocation:
        return
    assert location_forms.parse(found.clean()) == found
