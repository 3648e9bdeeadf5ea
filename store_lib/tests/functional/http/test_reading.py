"""Reading images from a web server that works well, in all the ways that servers do."""

import os
import threading

import pytest

from store_lib import Feature, Status, errors
from store_lib.tests import support
from store_lib.tests.functional.http.server import Server, chunked, dropping, status, times

SIZE = 3 * support.MIB + 321
DATA = support.payload(SIZE)


@pytest.mark.parametrize(
    ("offset", "length"), [(0, None), (0, 0), (0, 1), (0, SIZE), (1, None), (SIZE - 1, 1), (SIZE, None), (SIZE, 0)]
)
def test_ranges(store, web, offset, length):
    """Reads ranges, at the borders too."""
    url = web.put("/image", DATA)
    with store.open(url, offset, length) as reader:
        assert reader.info.size == SIZE
        assert reader.read() == (DATA[offset:] if length is None else DATA[offset : offset + length])
        assert reader.read() == b""
    if length:
        assert web.asked("/image")[0]["Range"] == f"bytes={offset}-{offset + length - 1}"  # no byte too many comes


@pytest.mark.parametrize(("offset", "length"), [(SIZE + 1, None), (0, SIZE + 1), (SIZE, 1)])
def test_ranges_beyond_the_image(store, web, offset, length):
    """Asks for bytes that are not there."""
    url = web.put("/image", DATA)
    with pytest.raises(errors.BadRange):
        store.open(url, offset, length)


def test_what_is_told_of_an_image(store, web):
    """Size and time; a whole image is never fetched for that."""
    url = web.put("/image", DATA)
    found = store.stat(url)
    assert found.size == SIZE
    assert found.modified.isoformat() == "2020-01-01T00:00:00+00:00"
    assert web.asked("/image")[0]["Range"] == "bytes=0-0"


def test_an_empty_image(store, web):
    """Has a size and no bytes, whether the server serves ranges or not."""
    for url in (web.put("/empty", b""), web.put("/plain", b"", ranges=False)):
        assert store.stat(url).size == 0
        assert support.content(store, url) == b""


def test_seeking(store, web):
    """Seeks back and forth; every byte is of the version that was opened."""
    url = web.put("/image", DATA)
    with store.open(url, 1000, 2 * support.MIB) as reader:
        for offset in (0, 1_500_000, 3, 2 * support.MIB - 5, 700_000):
            reader.seek(offset)
            assert reader.read(9) == DATA[1000 : 1000 + 2 * support.MIB][offset : offset + 9]
    assert {headers.get("If-Range") for headers in web.asked("/image")[1:]} == {web.resources["/image"].etag}


def test_a_server_without_ranges(store, web):
    """Is read from the beginning; anything else is refused, and the reader says that it cannot seek."""
    url = web.put("/image", DATA, ranges=False)
    assert store.stat(url).size == SIZE
    assert support.content(store, url) == DATA
    with store.open(url, 0, 1000) as reader:
        assert not reader.seekable()
        assert reader.read() == DATA[:1000]
    with pytest.raises(errors.NotSupported, match="from its beginning only"):
        store.open(url, 1)


def test_a_server_that_refuses_ranges_wrongly(store, web):
    """Is asked once more, for the whole."""

    def refuses(handler, resource):
        return "Range" in handler.headers and status(416)(handler, resource)

    url = web.put("/image", DATA, fault=refuses)
    assert support.content(store, url) == DATA
    with pytest.raises(errors.BackendError):
        store.open(url, 5)


def test_a_body_in_chunks(store, web):
    """Is read when a range tells the size, and refused when nothing does."""
    assert support.content(store, web.put("/image", DATA, fault=chunked())) == DATA
    with pytest.raises(errors.BackendError, match="does not tell the size"):
        store.open(web.put("/unknown", DATA, ranges=False, fault=chunked()))


def test_connections_are_used_again(store, web):
    """Many small ranges need few connections."""
    url = web.put("/image", DATA)
    for offset in range(0, 200, 10):
        with store.open(url, offset, 10) as reader:
            assert reader.read() == DATA[offset : offset + 10]
    assert web.connections == 1


def test_many_threads(store, web):
    """One store serves many readers at once."""
    urls = [web.put(f"/{number}", support.payload(300_000, number)) for number in range(12)]
    failures = []

    def read(number):
        if support.content(store, urls[number]) != support.payload(300_000, number):
            failures.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_forked_child_has_connections_of_its_own(store, web):
    """Both go on reading after the fork."""
    url = web.put("/image", DATA)
    with store.open(url) as reader:
        head = reader.read(1000)
        assert support.in_child(lambda: support.sha512(support.content(store, url))) == support.sha512(DATA)
        assert head + reader.read() == DATA
    assert support.content(store, url) == DATA


def test_names_and_queries(store, web):
    """What stands in old locations arrives at the server as browsers would send it."""
    web.put("/a%20b/%C3%BC", DATA)
    assert support.content(store, f"{web.base}/a b/ü?x=1&y=%2F#fragment") == DATA


def test_ipv6(store):
    """An address in brackets."""
    if not os.path.exists("/proc/net/if_inet6") or not _has_loopback6():
        pytest.skip("not offered: this machine has no IPv6 on loopback")
    import socket

    with Server(host="[::1]", family=socket.AF_INET6) as web:
        assert support.content(store, web.put("/image", DATA)) == DATA


def _has_loopback6():
    with open("/proc/net/if_inet6", encoding="ascii") as file:
        return any(line.split()[-1] == "lo" for line in file)


def test_save_and_hash(store, web, tmp_path):
    """The engine's conveniences work on what a server sends."""
    url = web.put("/image", DATA)
    with open(tmp_path / "copy", "wb") as target:
        assert store.save(url, target, expected=f"sha512:{support.sha512(DATA)}") == SIZE
    assert (tmp_path / "copy").read_bytes() == DATA
    assert store.hash(url, ["sha512"]) == {"sha512": support.sha512(DATA)}


def test_copying_into_another_store(make_stores, web):
    """Brings an image in from the web, over a connection that breaks; the copy needs an id."""
    stores = make_stores("[DEFAULT]\nenabled_backends = web:http, own:memory\n[glance_store]\ndefault_backend = own\n")
    url = web.put("/image", DATA, fault=times(2, dropping(support.MIB)))
    with pytest.raises(errors.BadRequest, match="image_id"):
        stores.copy(url, "own")
    record = stores.copy(url, "own", image_id="one", verify="read")
    assert support.content(stores["own"], record.location) == DATA
    with pytest.raises(errors.NotSupported):
        stores.copy(url, "own", image_id="two", delete_source=True)


def test_it_is_read_only(store, web):
    """Nothing is added or deleted, and the server is not asked."""
    assert store.read_only
    assert store.features == Feature.RANGES
    with pytest.raises(errors.NotSupported):
        store.add("one", support.unread())
    with pytest.raises(errors.NotSupported):
        store.delete(web.put("/image", DATA))
    assert web.requests == []


def test_probing(make_http_store, web):
    """Without a URL nobody is asked; with one, its answer counts."""
    assert make_http_store().probe().status is Status.UP
    assert web.requests == []
    store = make_http_store(http_store_probe_url=web.put("/there", b"x"))
    assert store.probe().status is Status.UP
    del web.resources["/there"]
    health = store.probe()
    assert (health.status, health.reason) == (
        Status.DOWN,
        "there is no image: the server answered 404 (Not Found)",
    )
