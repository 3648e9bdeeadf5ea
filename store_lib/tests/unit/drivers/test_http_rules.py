"""Rules of the http store: addresses in all their forms, and mistakes in its options."""

import ipaddress

import pytest

from store_lib import errors
from store_lib.drivers._http_guard import Guard
from store_lib.drivers._http_opts import LINK_LOCAL

DENIED = [(network, "link-local") for network in LINK_LOCAL] + [
    (ipaddress.ip_network(text), "denied") for text in ("10.0.0.0/8", "127.0.0.0/8", "::1/128", "fc00::/7")
]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("169.254.0.1", "link-local"),
        ("169.254.169.254", "link-local"),
        ("169.253.255.255", None),
        ("169.255.0.0", None),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("febf:ffff::1", "link-local"),
        ("fec0::1", None),
        ("::ffff:169.254.1.1", "link-local"),
        ("::ffff:0:169.254.1.1", "link-local"),
        ("::169.254.1.1", "link-local"),
        ("64:ff9b::169.254.1.1", "link-local"),
        ("2002:a9fe:a9fe::1", "link-local"),
        ("2001:0:1:2:3:4:5601:5601", "link-local"),  # Teredo holds the address inverted
        ("::ffff:10.1.2.3", "denied"),
        ("10.255.255.255", "denied"),
        ("11.0.0.0", None),
        ("0.0.0.0", "denied"),
        ("::", "denied"),
        ("::ffff:0.0.0.0", "denied"),
        ("::1", "denied"),
        ("fd00:ec2::254", "denied"),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("::ffff:192.0.2.1", None),
    ],
)
def test_addresses(address, why):
    """What an address means counts, in every form that leads to it."""
    assert Guard(DENIED, []).why_not(address) == why


def test_only_allowed_networks():
    """An address must lie in one of them, and in none that is denied."""
    guard = Guard(DENIED, [ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("10.0.0.0/8")])
    assert guard.why_not("192.0.2.1") is None
    assert guard.why_not("::ffff:192.0.2.1") is None
    assert guard.why_not("10.0.0.1") == "denied"
    for address in ("192.0.3.1", "2001:db8::1", "2002:c000:201::1"):
        assert guard.why_not(address) == "it lies in no network of http_store_allowed_networks"


@pytest.mark.parametrize(
    "host", ["10.1.2.3", "10.66051", "0xa010203", "012.1.2.3", "167838211", "[fd00::1]", "127.1", "10.1.2.3."]
)
def test_written_addresses(host):
    """Resolvers take many forms for an address."""
    with pytest.raises(errors.ForeignLocation, match="denied"):
        Guard(DENIED, []).check_written(host)


@pytest.mark.parametrize("host", ["images.example.org", "192.0.2.1", "10.example.org", "[2001:db8::1]", "ü.example"])
def test_written_names(host):
    """Names pass: their addresses are looked at when they are known."""
    Guard(DENIED, []).check_written(host)


@pytest.mark.parametrize(
    ("options", "option", "told"),
    [
        ({"http_store_denied_networks": "10.0.0.0/8,ten"}, "http_store_denied_networks", "'ten' is no network"),
        ({"http_store_allowed_networks": "169.254.1.0/24"}, "http_store_allowed_networks", "link-local"),
        ({"http_store_user": "joe"}, "http_store_auth_origins", "no server to send it to"),
        ({"http_store_auth_origins": "https://a.example.org"}, "http_store_user", "no user"),
        (
            {"http_store_user": "j:oe", "http_store_auth_origins": "https://a.example.org"},
            "http_store_user",
            "it holds a colon",
        ),
        (
            {"http_store_user": "joe", "http_store_auth_origins": "a.example.org"},
            "http_store_auth_origins",
            "one of them is no server",
        ),
        (
            {"http_store_user": "joe", "http_store_auth_origins": "https://a.example.org/path"},
            "http_store_auth_origins",
            "one of them is no server",
        ),
        ({"https_ca_certificates_file": "/nowhere"}, "https_ca_certificates_file", "No such file"),
        ({"https_ca_certificates_file": "/proc/self/status"}, "https_ca_certificates_file", "is of no use"),
        ({"http_proxy_information": "ftp:proxy:1"}, "http_proxy_information", "'ftp' is no scheme"),
        ({"http_proxy_information": "http:socks5://S3CRET@p:1"}, "http_proxy_information", "no URL of a proxy"),
        ({"http_proxy_information": "http:proxy:port"}, "http_proxy_information", "no URL of a proxy"),
        ({"http_store_probe_url": "images.example.org"}, "http_store_probe_url", "no http or https URL"),
        ({"http_store_probe_url": "http://joe:S3CRET@host/"}, "http_store_probe_url", "user or password"),
        ({"http_store_max_redirects": "many"}, "http_store_max_redirects", "not valid"),
    ],
)
def test_mistakes(make_stores, options, option, told):
    """Are told with their option, without any secret."""
    lines = ["[DEFAULT]", "enabled_backends = it:http", "[it]", *(f"{name} = {options[name]}" for name in options)]
    with pytest.raises(errors.ConfigurationError) as caught:
        make_stores("\n".join(lines))
    (mistake,) = caught.value.mistakes
    assert (mistake.store, mistake.option) == ("it", option)
    assert told in mistake.problem
    assert mistake.mend
    assert "S3CRET" not in str(caught.value)


def test_what_glance_store_had_is_read(make_stores):
    """Names and forms of the peer's options; proxies without a scheme too."""
    store = make_stores(
        "[DEFAULT]\nenabled_backends = it:http\n[it]\nhttps_insecure = true\n"
        "http_proxy_information = http:10.0.0.1:3128, https:10.0.0.1:1080\n"
    )["it"]
    rules = store._driver._rules
    assert rules.insecure
    assert {scheme: proxy.url for scheme, proxy in rules.proxies.items()} == {
        "http": "http://10.0.0.1:3128",
        "https": "http://10.0.0.1:1080",
    }


def test_certificates_are_verified_unless_somebody_says_otherwise(make_stores):
    """The peer's default was unsafe."""
    assert not make_stores("[DEFAULT]\nenabled_backends = it:http\n")["it"]._driver._rules.insecure
