"""Options of the S3 store: what they come to, and the mistakes that they can hold."""

import base64

import pytest
from oslo_config import cfg

from store_lib import Stores, errors
from store_lib.interface import GIB, MIB, Feature
from store_lib.tests.support import payload

GOOD = {"s3_store_host": "https://s3.example.org", "s3_store_bucket": "images"}
KEYS = {"s3_store_access_key": "AKID", "s3_store_secret_key": "thesecret"}
KEY = base64.b64encode(payload(32)).decode()


@pytest.fixture
def make(make_stores):
    """Return a function that makes a store from its options; nothing is connected."""

    def make_store(**options):
        lines = [f"{name} = {value}" for name, value in {**GOOD, **options}.items() if value is not None]
        return make_stores("\n".join(["[DEFAULT]", "enabled_backends = it:s3", "[it]", *lines]))["it"]

    return make_store


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"s3_store_host": None}, "s3_store_host"),
        ({"s3_store_host": "ftp://s3.example.org"}, "s3_store_host"),
        ({"s3_store_host": "https://user:word@s3.example.org"}, "s3_store_host"),
        ({"s3_store_host": "https://s3.example.org:port"}, "s3_store_host"),
        ({"s3_store_host": "https://s3.example.org/?query"}, "s3_store_host"),
        ({"s3_store_bucket": None}, "s3_store_bucket"),
        ({"s3_store_bucket": "a/b"}, "s3_store_bucket"),
        ({"s3_store_key_prefix": "/images"}, "s3_store_key_prefix"),
        ({"s3_store_key_prefix": "images//"}, "s3_store_key_prefix"),
        ({"s3_store_key_prefix": ".store_lib/"}, "s3_store_key_prefix"),
        ({"s3_store_access_key": "AKID"}, "s3_store_secret_key"),
        ({"s3_store_secret_key": "thesecret"}, "s3_store_access_key"),
        ({"s3_store_profile": "p", **KEYS}, "s3_store_profile"),
        ({"s3_store_session_token": "t"}, "s3_store_session_token"),
        ({"s3_store_web_identity_token_file": "/dev/null"}, "s3_store_web_identity_token_file"),
        ({"s3_store_cacert": "/nowhere/ca.pem"}, "s3_store_cacert"),
        ({"s3_store_encryption": "customer"}, "s3_store_encryption_customer_key"),
        (
            {"s3_store_encryption": "customer", "s3_store_encryption_customer_key": "dGhlc2VjcmV0"},
            "s3_store_encryption_customer_key",
        ),
        ({"s3_store_encryption_customer_key": KEY}, "s3_store_encryption_customer_key"),
        (
            {
                "s3_store_encryption": "customer",
                "s3_store_encryption_customer_key": KEY,
                "s3_store_host": "http://s3.example.org",
            },
            "s3_store_host",
        ),
        ({"s3_store_encryption_kms_key": "id"}, "s3_store_encryption_kms_key"),
        ({"s3_store_bucket_url_format": "wrong"}, "s3_store_bucket_url_format"),
        ({"s3_store_server": "nobody"}, "s3_store_server"),
        ({"s3_store_large_object_chunk_size": 4}, "s3_store_large_object_chunk_size"),
        ({"s3_store_sts_host": "nowhere at all"}, "s3_store_sts_host"),
    ],
)
def test_a_mistake_is_told_with_its_option(make, options, option):
    """And without a secret."""
    with pytest.raises(errors.ConfigurationError) as raised:
        make(**options)
    assert option in [each.option for each in raised.value.mistakes]
    for secret in ("thesecret", KEY, "user:word"):
        assert secret not in str(raised.value)


def test_without_the_sdk(make, monkeypatch):
    """The mistake says how to install it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(errors.ConfigurationError, match=r"pip install store_lib\[s3\]"):
        make()


@pytest.mark.parametrize(
    ("host", "prefix"),
    [
        ("https://s3.example.org", "s3+https://s3.example.org/images/"),
        ("s3.example.org", "s3+https://s3.example.org/images/"),
        ("http://s3.example.org:8080/", "s3://s3.example.org:8080/images/"),
        ("https://S3.Example.org:443/base", "s3+https://s3.example.org/base/images/"),
    ],
)
def test_hosts(make, host, prefix):
    """TLS unless http is written; the usual port is left out."""
    store = make(s3_store_host=host)
    assert store.prefix() == prefix
    assert store.image_id(f"{prefix}it") == "it"


def test_old_locations_after_a_change_to_tls(make):
    """Host, bucket and key tell the place; whether it was TLS then does not."""
    store = make(s3_store_key_prefix="glance/")
    for uri in (
        "s3://AKID:sec/ret@s3.example.org/images/glance/it",
        "s3+http://s3.example.org:80/images/glance/it",
        "s3+https://S3.EXAMPLE.ORG:443/images/glance/it",
    ):
        assert store.image_id(uri) == "it"
    for uri in ("s3://s3.example.org/images/it", "s3://s3.example.org/images/glance/more/it", "s3://other/images/it"):
        assert not store.owns(uri)


def test_limits(make):
    """The peer's options act where an operator wrote them, in MiB; else what serves."""
    usual = make().limits
    assert (usual.part_size, usual.whole_max, usual.parallel, usual.max_parts) == (8 * MIB, 16 * MIB, 10, 10_000)
    assert (usual.min_part, usual.max_part) == (5 * MIB, 5 * GIB), "no server takes others"
    written = make(s3_store_large_object_size=50, s3_store_large_object_chunk_size=20, s3_store_thread_pools=3).limits
    assert (written.part_size, written.parallel) == (20 * MIB, 3)
    assert written.whole_max == 50 * MIB - 1
    assert make(s3_store_large_object_size=0).limits.whole_max == 0
    assert make(s3_store_server="r2").limits.equal_parts


@pytest.mark.parametrize(
    ("options", "digest"),
    [
        ({}, None),
        ({"s3_store_server": "basic"}, None),
        ({"s3_store_host": "http://s3.example.org"}, "md5"),
        ({"s3_store_host": "http://s3.example.org", "s3_store_server": "moto"}, "md5"),
        ({"s3_store_host": "http://s3.example.org", "s3_store_server": "ceph-rgw"}, None),
        ({"s3_store_content_md5": True}, "md5"),
        ({"s3_store_host": "http://s3.example.org", "s3_store_content_md5": False}, None),
    ],
)
def test_parts_carry_a_digest_where_nothing_else_guards_them(make, options, digest):
    """Neither TLS nor a signed digest that the server compares; what an operator wrote wins."""
    assert make(**options).limits.part_digest == digest


def test_features(make):
    """What a named server cannot do is not declared."""
    assert Feature.EXCLUSIVE in make().features
    assert Feature.CAPACITY not in make().features
    assert Feature.CAPACITY in make(s3_store_server="ceph-rgw").features
    assert Feature.EXCLUSIVE not in make(s3_store_server="s3api").features
    customer = make(s3_store_encryption="customer", s3_store_encryption_customer_key=KEY)
    assert Feature.SIGNED_URLS not in customer.features


def test_secrets_are_masked(make):
    """Wherever options are shown."""
    secrets = {
        **KEYS,
        "s3_store_session_token": "thetoken",
        "s3_store_external_id": "theid",
        "s3_store_proxy": "http://u:theword@proxy:1",
        "s3_store_encryption": "customer",
        "s3_store_encryption_customer_key": KEY,
    }
    shown = str(make(**secrets).options())
    for secret in ("AKID", "thesecret", "thetoken", "theid", "theword", KEY):
        assert secret not in shown


def test_making_a_store_imports_no_sdk(tmp_path):
    """That is left to the first request."""
    import subprocess
    import sys

    lines = [f"{name} = {value}" for name, value in GOOD.items()]
    path = tmp_path / "conf"
    path.write_text("\n".join(["[DEFAULT]", "enabled_backends = it:s3", "[it]", *lines]))
    program = (
        "import sys; from store_lib import Stores; stores = Stores.from_file(sys.argv[1]);"
        "stores['it'].prefix(); print('botocore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr


def test_the_names_of_the_peer_are_there():
    """With its defaults."""
    conf = cfg.ConfigOpts()
    conf([], project="store_lib", default_config_files=[], default_config_dirs=[])
    conf.register_opt(cfg.DictOpt("enabled_backends", default={"it": "s3"}))
    with pytest.raises(errors.ConfigurationError):
        Stores.from_config(conf)
    defaults = {
        "region_name": "",
        "create_bucket_on_put": False,
        "bucket_url_format": "auto",
        "large_object_size": 100,
        "large_object_chunk_size": 10,
        "thread_pools": 10,
        "cacert": "",
        "enable_data_integrity_protection": False,
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    assert {name: conf["it"][f"s3_store_{name}"] for name in defaults} == defaults
