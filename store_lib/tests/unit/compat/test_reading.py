"""Reading and sizes, as services do."""

import functools
import http.server
import io
import threading

import pytest

import store_lib.compat as glance_store
from store_lib import errors
from store_lib.tests.support import payload

DATA = payload(300_000, 4)


@pytest.fixture
def uri(two):
    return glance_store.add(two, "one", io.BytesIO(DATA), len(DATA), "fast")[0]


@pytest.fixture
def image(it):
    store = glance_store.get_store_from_store_identifier("it")
    return store.add("one", io.BytesIO(DATA), len(DATA))[0]


@pytest.mark.parametrize(
    ("offset", "length", "told"),
    [
        (0, None, len(DATA)),
        (10, None, len(DATA)),
        (10, 20, 20),
        (0, 20, 20),
        (len(DATA) - 5, 100, 100),
        (len(DATA), None, len(DATA)),
        (len(DATA), 5, 5),
        (None, None, len(DATA)),
    ],
)
def test_ranges(two, uri, offset, length, told):
    data, size = glance_store.get(uri, "fast", offset=offset, chunk_size=length)
    start = offset or 0
    assert b"".join(data) == DATA[start : None if length is None else start + length]
    assert size == told


def test_all_of_an_image_by_position(two, uri):
    data, size = glance_store.get(uri, "fast")
    assert (b"".join(data), size) == (DATA, len(DATA))
    store = glance_store.get_store_from_store_identifier("fast")
    place = glance_store.location.get_location_from_uri_and_backend(uri, "fast")
    assert b"".join(store.get(place, 3, 4)[0]) == DATA[3:7]


def test_beyond_the_end(two, uri):
    with pytest.raises(glance_store.StoreRandomGetNotSupported):
        glance_store.get(uri, "fast", offset=len(DATA) + 1)


def test_what_data_is(two, uri, no_leaks):
    data, _ = glance_store.get(uri, "fast")
    assert bool(data)
    assert iter(data) is data
    chunks = list(data)
    assert all(chunks)
    assert all(type(each) is bytes for each in chunks)
    assert next(data, None) is None
    assert data.read(5) == b""
    data.close()
    assert next(data, None) is None


def test_a_client_that_goes_away(two, uri, no_leaks):
    data, _ = glance_store.get(uri, "fast")
    iterator = iter(data)
    assert next(iterator)
    iterator.close()
    iterator.close()
    assert next(iterator, None) is None


def test_data_is_a_file_too(two, uri):
    data, _ = glance_store.get(uri, "fast", offset=5)
    assert data.read(10) == DATA[5:15]
    assert next(data) == DATA[15 : 15 + len(DATA)][: data.tell() - 10]
    data.close()


def test_a_store_that_reads_from_the_beginning_only(serve, scripted):
    conf = serve("[DEFAULT]\nenabled_backends = it:forward\n")
    uri = glance_store.add(conf, "one", io.BytesIO(DATA), 0, "it")[0]
    assert b"".join(glance_store.get(uri, "it")[0]) == DATA
    assert b"".join(glance_store.get(uri, "it", chunk_size=10)[0]) == DATA[:10]
    with pytest.raises(glance_store.StoreRandomGetNotSupported) as raised:
        glance_store.get(uri, "it", offset=1)
    assert isinstance(raised.value, glance_store.StoreGetNotSupported)


def test_the_context_reaches_the_driver(it, image):
    whose = object()
    glance_store.get(image, "it", context=whose)[0].close()
    assert glance_store.get_size_from_uri_and_backend(image, "it", context=whose) == len(DATA)
    assert [each for each in it.told if each[0] in ("open", "stat")] == [("open", whose), ("stat", whose)]


@pytest.mark.parametrize(
    ("failure", "wanted"),
    [
        (errors.NotFound("x"), glance_store.NotFound),
        (errors.StoreUnavailable("x"), glance_store.RemoteServiceUnavailable),
        (errors.OperationTimeout("x"), glance_store.RemoteServiceUnavailable),
        (errors.Forbidden("x"), glance_store.Forbidden),
        (errors.TooManyRedirects("x"), glance_store.MaxRedirectsExceeded),
        (errors.BackendError("x"), glance_store.BackendException),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else type(each).__name__,
)
def test_failures_come_at_once(it, image, failure, wanted):
    it.failures.update(open=failure, stat=failure)
    with pytest.raises(wanted) as raised:
        glance_store.get(image, "it")
    assert type(raised.value) is wanted
    with pytest.raises(wanted):
        glance_store.get_size_from_uri_and_backend(image, "it")
    if wanted is not glance_store.BackendException:
        assert raised.value.msg.startswith("x (store it, open, memory://it/one)")


def test_failures_of_a_body(it, image, monkeypatch):
    def broken(download, offset, length):
        yield DATA[:10]
        raise errors.StoreUnavailable("cut", transient=False)

    monkeypatch.setattr("store_lib.drivers.memory.MemoryDownload.read", broken)
    data, _ = glance_store.get(image, "it")
    assert next(data) == DATA[:10]
    with pytest.raises(glance_store.RemoteServiceUnavailable, match="cut"):
        next(data)
    data.close()
    data, _ = glance_store.get(image, "it")
    assert data.read(100) == DATA[:10]
    with pytest.raises(glance_store.RemoteServiceUnavailable, match="cut"):
        data.read(100)
    data.close()


# -- which store ------------------------------------------------------------------------------------------------------


def test_without_a_store_every_one_is_asked(two, tmp_path):
    uri = glance_store.add(two, "one", io.BytesIO(DATA), 0, "cheap")[0]
    assert b"".join(glance_store.get(uri, None)[0]) == DATA
    with pytest.raises(glance_store.NotFound):
        glance_store.get(f"file://{tmp_path}/fast/absent", None)
    with pytest.raises(glance_store.NotFound):
        glance_store.get("file:///etc/passwd", None)
    with pytest.raises(glance_store.NotFound):
        glance_store.get("rbd://a/b/c/d", None)
    with pytest.raises(glance_store.UnknownScheme):
        glance_store.get("/etc/passwd", None)


def test_a_store_that_cannot_be_asked_may_have_it(it, image):
    it.failures["open"] = errors.StoreUnavailable("down")
    with pytest.raises(glance_store.RemoteServiceUnavailable):
        glance_store.get(image, None)


def test_a_store_that_was_left_out_may_have_it(serve):
    serve(
        "[DEFAULT]\nenabled_backends = a:memory, b:fil, c:file\n[c]\nfilesystem_store_datadir = {path}/c\n"
        "[glance_store]\ndefault_backend = a\n"
    )
    with pytest.raises(glance_store.RemoteServiceUnavailable, match="could not be made: b"):
        glance_store.get("file:///here/x", None)
    with pytest.raises(glance_store.exceptions.TimeoutError, match="could not be made: b"):
        glance_store.delete("file:///here/x", None)
    with pytest.raises(glance_store.NotFound):
        glance_store.get("memory://a/x", None)


def test_a_location_that_lies_outside(two, tmp_path):
    (tmp_path / "outside").write_bytes(b"secret")
    for path in (tmp_path / "outside", f"{tmp_path}/fast/../outside"):
        with pytest.raises(glance_store.BadStoreUri):
            glance_store.get(f"file://{path}", "fast")


# -- sizes ------------------------------------------------------------------------------------------------------------


def test_sizes(two, uri, tmp_path):
    assert glance_store.get_size_from_uri_and_backend(uri, "fast") == len(DATA)
    store = glance_store.get_store_from_store_identifier("fast")
    assert store.get_size(uri) == len(DATA)
    with pytest.raises(glance_store.NotFound):
        glance_store.get_size_from_uri_and_backend(f"file://{tmp_path}/fast/absent", "fast")
    for bad in (None, "", "nope", "memo"):
        with pytest.raises(glance_store.UnknownScheme):
            glance_store.get_size_from_uri_and_backend(uri, bad)


class _Pages(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/round"):
            self.send_response(302)
            self.send_header("Location", "/round")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            super().do_GET()

    do_HEAD = do_GET

    def log_message(self, *details):
        pass


@pytest.fixture
def server(tmp_path):
    (tmp_path / "image").write_bytes(DATA)
    handler = functools.partial(_Pages, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_images_of_web_servers(serve, server):
    serve("[DEFAULT]\nenabled_backends = web:http\n[web]\nretry_attempts = 1\n")
    assert glance_store.get_store_from_store_identifier("web").url_prefix == "http"
    data, size = glance_store.get(f"{server}/image", "web")
    assert (b"".join(data), size) == (DATA, len(DATA))
    assert glance_store.get_size_from_uri_and_backend(f"{server}/image", "web") == len(DATA)
    with pytest.raises(glance_store.NotFound):
        glance_store.get_size_from_uri_and_backend(f"{server}/absent", "web")
    with pytest.raises(glance_store.MaxRedirectsExceeded):
        glance_store.get_size_from_uri_and_backend(f"{server}/round", "web")
    with pytest.raises(glance_store.StoreDeleteNotSupported):
        glance_store.delete(f"{server}/image", "web")


def test_a_web_server_that_cannot_be_reached(serve):
    serve("[DEFAULT]\nenabled_backends = web:http\n[web]\nretry_attempts = 1\n")
    with pytest.raises(glance_store.BadStoreUri):
        glance_store.get_size_from_uri_and_backend("http://127.0.0.1:1/image", "web")
    with pytest.raises(glance_store.RemoteServiceUnavailable):
        glance_store.get("http://127.0.0.1:1/image", "web")
