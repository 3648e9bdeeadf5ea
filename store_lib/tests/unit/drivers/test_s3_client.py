"""What the options of an S3 store make of the SDK's client; nothing is connected."""

import pytest

from store_lib.drivers._s3_client import Connection


@pytest.fixture
def make(make_stores, monkeypatch):
    """Return a function that makes the connection of a store from its options."""
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    made = []

    def make_connection(**options):
        usual = {
            "s3_store_host": "https://s3.example.org",
            "s3_store_bucket": "images",
            "s3_store_access_key": "AKID",
            "s3_store_secret_key": "secret",
        }
        lines = [f"{name} = {value}" for name, value in {**usual, **options}.items()]
        store = make_stores("\n".join(["[DEFAULT]", "enabled_backends = it:s3", "[it]", *lines]))["it"]
        connection = Connection(store.settings, store._driver.place)
        made.append(connection)
        return connection

    yield make_connection
    for connection in made:
        connection.close()


def url(connection):
    """Return the URL of an object."""
    return connection.client.generate_presigned_url("get_object", Params={"Bucket": "images", "Key": "it"})


def config(connection):
    """Return the SDK's settings."""
    return connection.client.meta.config


def test_addressing(make):
    """The bucket stands where the option wants it."""
    assert url(make(s3_store_bucket_url_format="path")).startswith("https://s3.example.org/images/it?")
    assert url(make(s3_store_bucket_url_format="virtual")).startswith("https://images.s3.example.org/it?")


@pytest.mark.parametrize(
    ("options", "region"),
    [
        ({}, "us-east-1"),
        ({"s3_store_host": "https://s3.eu-west-1.amazonaws.com"}, "eu-west-1"),
        ({"s3_store_host": "s3-ap-southeast-2.amazonaws.com"}, "ap-southeast-2"),
        ({"s3_store_host": "https://s3.dualstack.us-gov-east-1.amazonaws.com"}, "us-gov-east-1"),
        ({"s3_store_host": "https://s3.amazonaws.com"}, "us-east-1"),
        ({"s3_store_host": "https://s3.eu-west-1.amazonaws.com", "s3_store_region_name": "elsewhere"}, "elsewhere"),
    ],
)
def test_region(make, options, region):
    """It is the option's, else the host's."""
    assert make(**options).client.meta.region_name == region


def test_region_of_the_environment(make, monkeypatch):
    """It is taken where neither option nor host tell."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    assert make().client.meta.region_name == "eu-north-1"


def test_time_and_tries(make):
    """Time-outs are the store's, a probe's are shorter, and the SDK tries once."""
    connection = make(operation_timeout=33, connect_timeout=7, probe_timeout=2)
    # One second less: so long the SDK waits for the server's leave to send a body.
    assert (config(connection).connect_timeout, config(connection).read_timeout) == (7, 32)
    quick = connection.quick.meta.config
    assert (quick.connect_timeout, quick.read_timeout) == (2, 2)
    assert config(connection).retries["total_max_attempts"] == 1
    short = config(make(operation_timeout=3, connect_timeout=7))
    assert (short.connect_timeout, short.read_timeout) == (2, 2)
    unlimited = make(operation_timeout=0, probe_timeout=2)
    assert config(unlimited).read_timeout is None
    assert unlimited.quick.meta.config.read_timeout == 2


@pytest.mark.parametrize(
    ("options", "request_", "response"),
    [
        ({}, "when_required", "when_required"),
        ({"enable_data_integrity_protection": True}, "when_supported", "when_supported"),
        (
            {"enable_data_integrity_protection": True, "response_checksum_validation": "when_required"},
            "when_supported",
            "when_required",
        ),
        ({"request_checksum_calculation": "when_supported"}, "when_supported", "when_required"),
    ],
)
def test_checksums(make, options, request_, response):
    """What an operator wrote for one of the two wins over what is said for both."""
    found = config(make(**{f"s3_store_{name}": value for name, value in options.items()}))
    assert (found.request_checksum_calculation, found.response_checksum_validation) == (request_, response)


def test_proxy_and_user_agent(make):
    """Both are the options'."""
    found = config(make(s3_store_proxy="http://proxy.example.org:3128", s3_store_user_agent="my cloud/3"))
    assert set(found.proxies.values()) == {"http://proxy.example.org:3128"}
    assert found.user_agent_extra.startswith("store_lib/")
    assert found.user_agent_extra.endswith(" my cloud/3")


def test_bodies_are_signed_without_tls_only(make):
    """Over TLS another digest of every byte would prove nothing more."""
    assert config(make()).s3["payload_signing_enabled"] is False
    assert "payload_signing_enabled" not in config(make(s3_store_host="http://s3.example.org")).s3
