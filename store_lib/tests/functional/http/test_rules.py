"""Where requests may go: redirects, addresses, TLS, credentials, proxies."""

import base64
import select
import socket
import ssl
import urllib.parse

import pytest

from store_lib import errors
from store_lib.tests import support
from store_lib.tests.functional.http.server import Handler, Server, dropping, times

DATA = support.payload(support.MIB)


# -- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [301, 302, 303, 307, 308])
def test_redirects(store, web, other_web, number):
    """Every kind is followed, to another server, too."""
    url = web.redirect("/moved", other_web.put("/image", DATA), number)
    assert support.content(store, url) == DATA
    assert store.stat(url).size == len(DATA)


@pytest.mark.parametrize("target", ["image", "/folder/image", "./image", "//HOST/folder/image", "../folder/image#part"])
def test_relative_redirects(store, web, target):
    """Are understood from where they stand."""
    web.put("/folder/image", DATA)
    url = web.redirect("/folder/moved", target.replace("HOST", f"127.0.0.1:{web.port}"))
    assert support.content(store, url) == DATA


def test_a_redirect_in_raw_letters(store, web):
    """Many servers write the bytes of a name unquoted."""
    web.put("/%C3%BC", DATA)
    url = web.redirect("/moved", "/ü".encode().decode("latin-1"))
    assert support.content(store, url) == DATA


def test_a_loop(make_http_store, web):
    """Ends after the redirects that are allowed."""
    url = web.redirect("/loop", "/loop")
    with pytest.raises(errors.TooManyRedirects) as caught:
        make_http_store(http_store_max_redirects=3).open(url)
    assert not caught.value.transient
    assert len(web.requests) == 4
    with pytest.raises(errors.TooManyRedirects):
        make_http_store(http_store_max_redirects=0).open(web.redirect("/once", "/image"))


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "", "http://[::1/x"])
def test_redirects_to_what_is_no_web_server(make_http_store, web, target):
    """Are refused."""
    with pytest.raises(errors.BadLocation, match="redirects"):
        make_http_store().open(web.redirect("/moved", target))


def test_from_https_to_http(make_http_store, secure_web, web, ca_file):
    """Is refused; the plain server is not asked."""
    store = make_http_store(https_ca_certificates_file=ca_file)
    url = secure_web.redirect("/moved", web.put("/image", DATA))
    with pytest.raises(errors.BadLocation, match="from https to http"):
        store.open(url)
    assert web.requests == []


def test_resuming_goes_to_where_the_bytes_came_from(store, web, other_web):
    """And to the location again when that place is no more."""
    target = other_web.put("/one", DATA, fault=times(1, dropping(1000)))
    url = web.redirect("/moved", target)
    with store.open(url) as reader:
        assert reader.read(5000) == DATA[:5000]
        assert len(web.requests) == 1
        other_web.resources["/two"] = other_web.resources.pop("/one")
        web.redirect("/moved", other_web.base + "/two")
        reader.seek(100_000)
        assert reader.read() == DATA[100_000:]
    assert len(web.requests) == 2


# -- addresses --------------------------------------------------------------------------------------------------------

LINK_LOCAL = [
    "169.254.169.254",
    "2852039166",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "[::ffff:169.254.169.254]",
    "[fe80::1]",
    "[64:ff9b::a9fe:a9fe]",
]


@pytest.mark.parametrize("host", LINK_LOCAL)
def test_link_local_addresses(make_http_store, web, host):
    """Are refused at once, written in any way, in a location and in a redirect, whatever networks are allowed."""
    store = make_http_store(http_store_allowed_networks="0.0.0.0/0,::/0", operation_timeout=100)
    for url in (f"http://{host}/latest/meta-data", web.redirect("/moved", f"http://{host}/latest/meta-data")):
        with pytest.raises(errors.ForeignLocation, match="link-local"):
            store.open(url)
    assert not store.owns(f"http://{host}/latest/meta-data")  # so no service accepts such a location


@pytest.fixture
def names(monkeypatch):
    """Give names addresses, a new one at each look: ``{name: [addresses of the first look, ...]}``."""
    known: dict[str, list[list[str]]] = {}
    plain = socket.getaddrinfo

    def look(host, port, *more, **kinds):
        if host not in known:
            return plain(host, port, *more, **kinds)
        found = known[host].pop(0) if len(known[host]) > 1 else known[host][0]
        return [each for address in found for each in plain(address, port, *more, **kinds)]

    monkeypatch.setattr(socket, "getaddrinfo", look)
    return known


def test_a_name_that_leads_to_a_link_local_address(make_http_store, web, names):
    """The address counts, and it is the one that was looked at: a name is looked up once for each connection."""
    names["metadata.example.org"] = [["169.254.169.254"]]
    names["rebound.example.org"] = [["127.0.0.1"], ["169.254.169.254"]]
    names["both.example.org"] = [["169.254.169.254", "127.0.0.1"]]
    web.put("/image", DATA)
    store = make_http_store()
    with pytest.raises(errors.ForeignLocation) as caught:
        store.open(f"http://metadata.example.org:{web.port}/image")
    assert "169.254" not in str(caught.value)  # what a name means in here is nobody's business
    assert support.content(store, f"http://rebound.example.org:{web.port}/image") == DATA
    assert len(names["rebound.example.org"]) == 1
    assert support.content(store, f"http://both.example.org:{web.port}/image") == DATA


def test_denied_networks(make_http_store, web, other_web, names):
    """Nobody there is asked, by address, by name, by redirect, or as `this very host`."""
    names["inside.example.org"] = [["127.0.0.1"]]
    store = make_http_store(http_store_denied_networks="127.0.0.0/8,::1/128")
    web.put("/image", DATA)
    for host in ("127.0.0.1", "127.1", "localhost", "inside.example.org", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]"):
        with pytest.raises(errors.ForeignLocation, match="http_store_denied_networks"):
            store.open(f"http://{host}:{web.port}/image")
    assert web.connections == 0


def test_allowed_networks(make_http_store, web, names):
    """Nobody elsewhere is asked."""
    names["inside.example.org"] = [["127.0.0.1"]]
    url = web.put("/image", DATA)
    assert support.content(make_http_store(http_store_allowed_networks="127.0.0.0/8"), url) == DATA
    store = make_http_store(http_store_allowed_networks="192.0.2.0/24,2001:db8::/32")
    for host in ("127.0.0.1", "inside.example.org"):
        with pytest.raises(errors.ForeignLocation, match="http_store_allowed_networks"):
            store.open(f"http://{host}:{web.port}/image")
    both = make_http_store(http_store_allowed_networks="127.0.0.0/8", http_store_denied_networks="127.0.0.1/32")
    with pytest.raises(errors.ForeignLocation, match="denied"):
        both.open(url)
    assert web.connections == 1


# -- TLS --------------------------------------------------------------------------------------------------------------


def test_certificates_are_verified(make_http_store, secure_web, ca_file):
    """By default; the operator may name an authority."""
    url = secure_web.put("/image", DATA)
    with pytest.raises(errors.StoreUnavailable, match=r"not trusted.*https_ca_certificates_file") as caught:
        make_http_store().open(url)
    assert not caught.value.transient
    assert secure_web.requests == []
    assert support.content(make_http_store(https_ca_certificates_file=ca_file, https_insecure=True), url) == DATA


def test_a_certificate_of_another_name(make_http_store, authority, ca_file):
    """Proves nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example.org").configure_cert(context)
    with Server(context, "localhost") as server:
        url = server.put("/image", DATA)
        with pytest.raises(errors.StoreUnavailable, match="not trusted"):
            make_http_store(https_ca_certificates_file=ca_file).open(url)
        with pytest.raises(errors.StoreUnavailable, match="not trusted"):  # the file wins, as in glance_store
            make_http_store(https_ca_certificates_file=ca_file, https_insecure=True).open(url)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_without_verification(make_http_store, secure_web, caplog):
    """Works when the operator says so, and is logged."""
    assert support.content(make_http_store(https_insecure=True), secure_web.put("/image", DATA)) == DATA
    assert "https_insecure" in caplog.text


# -- credentials ------------------------------------------------------------------------------------------------------


def basic(text):
    """Return the header of basic authentication."""
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def sent(server, path="/image"):
    """Return what requests for a path brought as credentials."""
    return [headers.get("Authorization") for headers in server.asked(path)]


def test_credentials_of_old_locations(store, web, caplog):
    """Are sent, with quoted characters decoded, and appear nowhere."""
    caplog.set_level(0)
    plain = web.put("/image", DATA)
    url = plain.replace("://", "://us%65r:S3CR%2FT@")
    assert support.content(store, url) == DATA
    assert sent(web) == [basic("user:S3CR/T")]
    del web.resources["/image"]
    with pytest.raises(errors.NotFound) as caught:
        store.open(url)
    driver = store._driver
    for shown in (str(caught.value), repr(caught.value), caplog.text, repr(driver.parse(url)), str(driver.parse(url))):
        assert "S3CR" not in shown
    assert driver.uri(driver.parse(url)) == plain  # what is written is free of them
    assert driver.parse(url) == driver.parse(plain)


def test_credentials_of_a_location_stay_on_its_server(store, web, other_web):
    """A redirect takes them along on the same server and never to another one, nor back from there."""
    image = other_web.put("/image", DATA)
    web.put("/image", DATA)
    web.redirect("/here", "/image")
    web.redirect("/there", image)
    other_web.redirect("/back", f"{web.base}/image")
    web.redirect("/round", f"{other_web.base}/back")
    base = web.base.replace("://", "://user:S3CRET@")
    for path in ("/here", "/there", "/round"):
        assert support.content(store, base + path) == DATA
    assert sent(web) == [basic("user:S3CRET"), None]
    assert sent(other_web) == sent(other_web, "/back") == [None]


def test_credentials_in_a_redirect(store, web):
    """Are the server's idea and not sent."""
    web.put("/image", DATA)
    assert support.content(store, web.redirect("/moved", f"http://eve:S3CRET@127.0.0.1:{web.port}/image")) == DATA
    assert sent(web) == [None]


def test_configured_credentials(make_http_store, web, other_web):
    """Go to the servers that are listed, through redirects too, and to no other; a location's own come first."""
    store = make_http_store(
        http_store_user="glance", http_store_password="S3CRET", http_store_auth_origins=f"{web.base}/"
    )
    url, other = web.put("/image", DATA), other_web.put("/image", DATA)
    own = url.replace("://", "://user:own@")
    for each in (url, own, other, other_web.redirect("/moved", url)):
        assert support.content(store, each) == DATA
    assert sent(web) == [basic("glance:S3CRET"), basic("user:own"), basic("glance:S3CRET")]
    assert sent(other_web) == sent(other_web, "/moved") == [None]
    assert "S3CRET" not in repr(store.options())


# -- proxies ----------------------------------------------------------------------------------------------------------


class Proxy(Handler):
    """A forward proxy: fetches what it is asked for, and lets TLS through."""

    def do_GET(self):
        self.server.owner.requests.append((self.path, dict(self.headers)))
        parts = urllib.parse.urlsplit(self.path)
        with socket.create_connection((parts.hostname, parts.port)) as upstream:
            headers = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items() if "Proxy" not in name)
            upstream.sendall(f"GET {parts.path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n".encode())
            while piece := upstream.recv(65536):
                self.wfile.write(piece)
        self.drop()

    def do_CONNECT(self):
        self.server.owner.requests.append((self.path, dict(self.headers)))
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as upstream:
            self.send_response(200)
            self.end_headers()
            ends = {upstream: self.connection, self.connection: upstream}
            while all(pieces := [(each, each.recv(65536)) for each in select.select([*ends], [], [], 60)[0]]):
                for source, piece in pieces:
                    if not piece:
                        return self.drop()
                    ends[source].sendall(piece)
        return self.drop()


def test_proxies(make_http_store, web, secure_web, ca_file):
    """Serve both schemes; their user and password stay with them."""
    with Server(handler=Proxy) as proxy:
        at = proxy.base.replace("://", "://joe:pr%6Fxy@")
        store = make_http_store(
            http_proxy_information=f"http:{at},https:{at}",
            https_ca_certificates_file=ca_file,
            http_store_denied_networks="127.0.0.0/8",
        )
        urls = [web.put("/image", DATA), secure_web.put("/image", DATA)]
        names = [url.replace("127.0.0.1", "localhost") for url in urls]  # what names mean is the proxy's affair
        for url in names:
            assert support.content(store, url) == DATA
        assert [headers["Proxy-Authorization"] for _, headers in proxy.requests] == [basic("joe:proxy")] * 2
        assert "Proxy-Authorization" not in web.requests[0][1]
        for url in (urls[0], "https://[::ffff:169.254.169.254]/image", "http://2852039166/image"):
            with pytest.raises(errors.ForeignLocation):
                store.open(url)
        assert len(proxy.requests) == 2
        assert "proxy:" not in repr(store.options())


def test_a_proxy_that_is_gone(make_http_store):
    """Says so."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        store = make_http_store(http_proxy_information=f"all:127.0.0.1:{closed.getsockname()[1]}")
        for scheme in ("http", "https"):
            with pytest.raises(errors.StoreUnavailable, match="proxy"):
                store.open(f"{scheme}://images.example.org/image")


def test_the_environment_does_not_count(store, web, monkeypatch, tmp_path):
    """Neither proxies nor passwords come from there."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login joe password S3CRET\n")
    for name, value in (("http_proxy", "http://127.0.0.1:1"), ("NETRC", netrc), ("HOME", tmp_path)):
        monkeypatch.setenv(name, str(value))
    assert support.content(store, web.put("/image", DATA)) == DATA
    assert sent(web) == [None]
