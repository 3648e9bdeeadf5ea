"""Servers that drop, stall, lie, compress, change what they serve, or answer with errors."""

import socket
import threading

import pytest

from store_lib import errors
from store_lib.tests import support
from store_lib.tests.functional.http import server

SIZE = 2 * support.MIB + 17
DATA = support.payload(SIZE)
OTHER = support.payload(SIZE, 1)


def test_a_body_that_breaks_off_is_resumed(store, web):
    """At its offset, held to the same version."""
    url = web.put("/image", DATA, fault=server.times(2, server.dropping(700_000)))
    assert support.content(store, url) == DATA
    asked = web.asked("/image")
    assert [headers["Range"] for headers in asked] == [
        "bytes=0-",
        f"bytes=700000-{SIZE - 1}",
        f"bytes=1400000-{SIZE - 1}",
    ]
    assert [headers.get("If-Range") for headers in asked] == [None, *[web.resources["/image"].etag] * 2]


def test_a_body_in_chunks_that_breaks_off_is_resumed(store, web):
    """The missing end of the chunks tells."""
    cut = server.chunked()

    def broken(handler, resource):
        whole, resource.data = resource.data, resource.data
        handler.headers.replace_header("Range", "bytes=0-99999")
        head, body = handler.good(resource)
        head[1]["Content_Range"] = f"bytes 0-{len(whole) - 1}/{len(whole)}"
        handler.start(206, Transfer_Encoding="chunked", **head[1])
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        handler.drop()
        return True

    url = web.put("/image", DATA, fault=server.times(1, broken))
    assert support.content(store, url) == DATA
    web.resources["/image"].fault = cut
    assert support.content(store, url) == DATA


def test_a_body_that_is_always_short(make_http_store, web):
    """Ends as an error, never as a short image; tries that bring nothing are counted."""
    url = web.put("/image", DATA, fault=server.dropping(0))
    with make_http_store(retry_attempts=3).open(url) as reader, pytest.raises(errors.StoreUnavailable) as caught:
        reader.read()
    assert caught.value.transient
    assert len(web.asked("/image")) == 3


@pytest.mark.parametrize("kinds", [{"ranges": False}, {"etag": False, "modified": None}])
def test_a_break_that_cannot_be_mended(store, web, kinds):
    """Without ranges, or without anything that tells versions apart, is an error; asking again is one too."""
    url = web.put("/image", DATA, fault=server.times(1, server.dropping(1_000_000)), **kinds)
    with store.open(url) as reader:
        for _ in range(2):
            with pytest.raises(errors.StoreUnavailable) as caught:
                reader.read()
        assert not caught.value.transient
    assert len(web.requests) == 1
    assert support.content(store, url) == DATA


@pytest.mark.parametrize("kinds", [{}, {"etag": False}])
@pytest.mark.parametrize("after", [OTHER, OTHER[:-1], b""], ids=["same size", "shorter", "empty"])
def test_an_image_that_changes_is_never_a_mixture(store, web, kinds, after):
    """Between two ranges of one reading another file is put there."""
    url = web.put("/image", DATA, fault=server.changing(after), **kinds)
    if kinds:  # a new time, as a new file has
        fault = web.resources["/image"].fault

        def changing(handler, resource):
            fault(handler, resource)
            resource.modified = "Thu, 02 Jan 2020 00:00:00 GMT"
            return True

        web.resources["/image"].fault = changing
    with store.open(url) as reader, pytest.raises(errors.IntegrityError, match="changed") as caught:
        reader.read()
    assert not caught.value.transient


def test_an_image_that_changes_before_seeking_back(store, web):
    """Is not read from the beginning as if it were the same."""
    url = web.put("/image", DATA)
    with store.open(url) as reader:
        assert reader.read(1000) == DATA[:1000]
        web.put("/image", OTHER)
        reader.seek(0)
        with pytest.raises(errors.IntegrityError, match="changed"):
            reader.read()


def test_a_server_that_ignores_if_range(store, web):
    """Sends a range of another file: the tag in its answer tells."""
    url = web.put("/image", DATA)
    with store.open(url) as reader:
        reader.read(1000)
        web.put("/image", OTHER)
        web.resources["/image"].fault = lambda handler, resource: handler.headers.__delitem__("If-Range")
        reader.seek(5000)
        with pytest.raises(errors.IntegrityError, match="changed"):
            reader.read()


@pytest.mark.parametrize("fault", [server.longer, server.chunked(extra=b"more")], ids=["length", "chunks"])
def test_more_bytes_than_announced(store, web, fault):
    """Is an error, and the rest is no answer to the next request."""
    url = web.put("/image", DATA, fault=server.times(1, fault))
    with store.open(url) as reader, pytest.raises(errors.IntegrityError, match="more bytes"):
        reader.read()
    assert support.content(store, url) == DATA


def test_a_length_that_contradicts_the_range(store, web):
    """A server that says two things is not believed in the middle of an image."""

    def contradicting(handler, resource):
        if "Range" not in handler.headers:
            return False
        handler.start(206, 50, Content_Range=f"bytes 7-106/{SIZE}")
        handler.wfile.write(b"x" * 50)
        return True

    with pytest.raises(errors.BackendError, match="contradicts"):
        store.open(web.put("/image", DATA, fault=contradicting), 7, 100)


def test_compressed_answers(store, web):
    """Are refused, since they have the size of something else; nobody asked for them."""
    url = web.put("/image", DATA, fault=server.compressing)
    for use in (store.stat, store.open):
        with pytest.raises(errors.BackendError, match="compressed"):
            use(url)
    assert {headers["Accept-Encoding"] for headers in web.asked("/image")} == {"identity"}


@pytest.mark.parametrize(
    ("number", "error", "transient"),
    [
        (404, errors.NotFound, False),
        (410, errors.NotFound, False),
        (401, errors.Forbidden, False),
        (403, errors.Forbidden, False),
        (407, errors.Forbidden, False),
        (400, errors.BackendError, False),
        (418, errors.BackendError, False),
        (204, errors.BackendError, False),
        (300, errors.BackendError, False),
        (408, errors.StoreUnavailable, True),
        (429, errors.StoreUnavailable, True),
        (500, errors.StoreUnavailable, True),
        (503, errors.StoreUnavailable, True),
        (501, errors.BackendError, False),
        (599, errors.StoreUnavailable, True),
    ],
)
def test_statuses(make_http_store, web, number, error, transient):
    """Become store_lib's errors; what the server wrote is not repeated."""
    url = web.put("/image", DATA, fault=server.status(number, b"" if number == 204 else b"S3CRET"))
    store = make_http_store()
    for use in (store.stat, store.open):
        with pytest.raises(error) as caught:
            use(url)
        assert type(caught.value) is error
        assert caught.value.transient is transient
        assert str(number) in str(caught.value) or number == 407
        assert "S3CRET" not in str(caught.value)
        assert f"(store it, {use.__name__}, {url})" in str(caught.value)


def test_an_error_that_passes(store, web):
    """Is tried again."""
    url = web.put("/image", DATA, fault=server.times(2, server.status(503)))
    assert support.content(store, url) == DATA


def test_nobody_listens(make_http_store):
    """Is an unavailable store, not a missing image."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(errors.StoreUnavailable, match="cannot be reached"):
            make_http_store().open(f"http://127.0.0.1:{closed.getsockname()[1]}/image")


def test_a_name_that_nobody_knows(make_http_store):
    """Is an unavailable store as well; the name may come back."""
    with pytest.raises(errors.StoreUnavailable, match="cannot be resolved"):
        make_http_store().open("http://no-such-host.invalid/image")


@pytest.mark.parametrize("host", ["a" * 64 + ".example.org", "under score", "back\\slash", "..", "%20"])
def test_names_that_are_none(make_http_store, host):
    """Are refused without a bug's traceback."""
    with pytest.raises((errors.BadLocation, errors.StoreUnavailable)):
        make_http_store().open(f"http://{host}/image")


def test_no_http(make_http_store):
    """Something else answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet():
            for _ in range(2):
                client, _address = listener.accept()
                client.recv(1)
                client.sendall(b"220 mail.example.org\r\n")
                client.close()

        thread = threading.Thread(target=greet)
        thread.start()
        base = f"127.0.0.1:{listener.getsockname()[1]}/image"
        for scheme in ("http", "https"):
            with pytest.raises(errors.StoreUnavailable, match="broke off"):
                make_http_store().open(f"{scheme}://{base}")
        thread.join()


def test_silence(make_http_store, web):
    """Ends in a time-out."""
    store = make_http_store(operation_timeout=1)
    with pytest.raises(errors.OperationTimeout):
        store.open(web.put("/image", DATA, fault=server.silent))


def test_a_stall_in_the_middle_is_resumed(make_http_store, web):
    """The time-out counts from the last byte on."""
    store = make_http_store(operation_timeout=2, retry_attempts=3)
    url = web.put("/image", DATA, fault=server.times(1, server.stalling(600_000)))
    assert support.content(store, url) == DATA
    assert web.asked("/image")[1]["Range"] == f"bytes=600000-{SIZE - 1}"


@pytest.mark.parametrize("kind", ["web", "secure_web"])
def test_closing_ends_a_read_in_another_thread(make_http_store, request, ca_file, kind):
    """At once, long before the time-out."""
    server_ = request.getfixturevalue(kind)
    store = make_http_store(operation_timeout=100, https_ca_certificates_file=ca_file)
    reader = store.open(server_.put("/image", DATA, fault=server.stalling(1_000_000)))
    assert reader.read(1000) == DATA[:1000]
    ended = []

    def read():
        try:
            ended.append(reader.read())
        except (errors.StoreLibError, ValueError) as error:
            ended.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join(0.3)
    assert not ended
    reader.close()
    thread.join(30)
    assert isinstance(ended[0], Exception)


def test_an_image_that_is_too_large(make_http_store, web):
    """Is refused by its size, before its bytes."""
    store = make_http_store(http_store_max_size=SIZE - 1)
    url = web.put("/image", DATA)
    for use in (store.stat, store.open):
        with pytest.raises(errors.BadRequest, match="http_store_max_size"):
            use(url)
    assert make_http_store(http_store_max_size=SIZE).stat(url).size == SIZE
