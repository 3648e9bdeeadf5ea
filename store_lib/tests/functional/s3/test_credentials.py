"""Where credentials come from when the options hold no keys; on moto, which has the server that roles are asked of."""

import datetime
import http.server
import json
import threading
from typing import ClassVar

import pytest

from store_lib import errors
from store_lib.tests.functional.s3.conftest import USUAL
from store_lib.tests.support import content, payload


@pytest.fixture
def anywhere(moto, make_stores, monkeypatch, tmp_path):
    """Return a function that makes a store without keys, where the environment has none either."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ENDPOINT_URL_STS"):
        monkeypatch.delenv(name, raising=False)
    with moto.bucket() as bucket:

        def make(**options):
            keys = {"s3_store_access_key": None, "s3_store_secret_key": None}
            section = moto.section("it", bucket.name, **{**USUAL, **keys, **options})
            return make_stores(f"[DEFAULT]\nenabled_backends = it:s3\n{section}")["it"]

        yield make


def works(store):
    """See that an image goes in and comes out."""
    record = store.add("it", payload(1000))
    assert content(store, record.location) == payload(1000)
    store.delete(record.location)


def used(store):
    """Return the credentials that the store's requests are signed with."""
    return store._driver._connections.get()._session.get_credentials()


def test_none(anywhere):
    """The store is down, and says that there are none."""
    health = anywhere().probe()
    assert health.status.value == "down"
    assert "credentials" in health.reason


def test_environment(anywhere, monkeypatch):
    """As every tool of AWS has it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-the-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    store = anywhere()
    works(store)
    assert used(store).access_key == "from-the-environment"


def test_profile(anywhere, tmp_path):
    """A profile of the configuration files; one that is not there is told."""
    lines = "[images]\naws_access_key_id = from-the-profile\naws_secret_access_key = secret\n"
    (tmp_path / "credentials").write_text(lines)
    store = anywhere(s3_store_profile="images")
    works(store)
    assert used(store).access_key == "from-the-profile"
    health = anywhere(s3_store_profile="nowhere").probe()
    assert "s3_store_profile" in health.reason


def test_role(moto, anywhere, monkeypatch):
    """A role is assumed with the keys, and again before its credentials end."""
    keys = {"s3_store_access_key": "source", "s3_store_secret_key": "secret", "s3_store_external_id": "someone"}
    role = "arn:aws:iam::123456789012:role/images"
    store = anywhere(s3_store_role_arn=role, s3_store_sts_host=moto.endpoint, **keys)
    works(store)
    first = used(store).get_frozen_credentials()
    assert first.access_key not in ("source", None)
    assert first.token
    nearly_an_hour_later(store, monkeypatch)
    works(store)
    assert used(store).get_frozen_credentials().access_key != first.access_key


def nearly_an_hour_later(store, monkeypatch):
    """Have the SDK believe that it is shortly before the end of credentials that were just made: they last an hour."""
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=55)
    monkeypatch.setattr("botocore.credentials._local_now", lambda: later)
    monkeypatch.setattr(used(store), "_time_fetcher", lambda: later)


@pytest.mark.parametrize("told", ["options", "environment"])
def test_web_identity(moto, anywhere, tmp_path, monkeypatch, told):
    """A role is assumed with a token from a file, without any keys, and again before its credentials end."""
    token = tmp_path / "token"
    token.write_text("a.web.identity")
    role = "arn:aws:iam::123456789012:role/images"
    options = {
        "s3_store_role_arn": role,
        "s3_store_web_identity_token_file": token,
        "s3_store_sts_host": moto.endpoint,
    }
    if told == "environment":  # as Kubernetes tells it to the pods of a cluster
        monkeypatch.setenv("AWS_ROLE_ARN", role)
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto.endpoint)
        options = {}
    store = anywhere(**options)
    works(store)
    first = used(store).get_frozen_credentials()
    assert first.token
    nearly_an_hour_later(store, monkeypatch)
    works(store)
    assert used(store).get_frozen_credentials().access_key != first.access_key


class Instance(http.server.BaseHTTPRequestHandler):
    """The metadata service of a machine in the cloud, with a role whose credentials last an hour."""

    given: ClassVar[list[str]] = []

    def do_PUT(self):
        self.tell("token")

    def do_GET(self):
        if self.headers.get("x-aws-ec2-metadata-token") != "token":
            self.send_error(401)
        elif self.path == "/latest/meta-data/iam/security-credentials/":
            self.tell("images")
        elif self.path == "/latest/meta-data/iam/security-credentials/images":
            self.given.append(f"ASIAINSTANCE{len(self.given)}")
            end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
            keys = {"AccessKeyId": self.given[-1], "SecretAccessKey": "secret", "Token": "session"}
            self.tell(json.dumps({"Code": "Success", "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"), **keys}))
        else:
            self.send_error(404)

    def tell(self, text):
        """Answer with a text."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format, *args):
        """Be quiet."""


@pytest.fixture
def instance(monkeypatch):
    """Return the keys that the metadata service of this machine gave out."""
    Instance.given.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Instance) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield Instance.given
        server.shutdown()
        thread.join()


def test_the_role_of_the_instance(anywhere, instance, monkeypatch):
    """The metadata service is asked, and asked again before its credentials end."""
    store = anywhere()
    works(store)
    assert used(store).get_frozen_credentials().token == "session"
    assert used(store).access_key == instance[0]
    nearly_an_hour_later(store, monkeypatch)
    works(store)
    assert used(store).access_key == instance[-1] != instance[0]


def test_role_that_nobody_hands_out(anywhere):
    """The server of roles is not there: the store is down, and no key is told."""
    keys = {"s3_store_access_key": "sourcekey", "s3_store_secret_key": "sourcesecret"}
    role = "arn:aws:iam::123456789012:role/images"
    store = anywhere(s3_store_role_arn=role, s3_store_sts_host="http://127.0.0.1:1", **keys)
    health = store.probe()
    assert health.status.value == "down"
    with pytest.raises(errors.StoreUnavailable) as raised:
        store.stat(f"{store.prefix()}it")
    for text in (health.reason, str(raised.value), str(store.options())):
        assert "sourcesecret" not in text
