"""Fixtures: one configuration file, served by glance_store in a process of its own and by store_lib in this one.

A kind of storage joins with one row of `KINDS`.
"""

import base64
import contextlib
import json
import pathlib
import subprocess
import uuid
from typing import Any

import pytest
from oslo_config import cfg

import store_lib.compat
from store_lib.compat import _making, location

TOP = pathlib.Path(__file__).resolve().parents[4]
PEER = TOP / ".venv-peer/bin/python"
PROGRAM = pathlib.Path(__file__).with_name("serving.py")


class PeerError(Exception):
    """What glance_store raised: name of the class and text."""


class Peer:
    """glance_store on a configuration file."""

    def __init__(self, path):
        self._process: Any = subprocess.Popen(
            [PEER, PROGRAM, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __getattr__(self, name):
        def call(*arguments):
            self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
            line = self._process.stdout.readline()
            assert line, "the peer's process ended"
            kind, *told = json.loads(line)
            if kind == "error":
                raise PeerError(*told)
            return told[0]

        return call

    def add(self, store, image_id, data, size, project=None):
        """Add an image, on behalf of a project; return location, size, md5, sha512 and metadata."""
        return self.__getattr__("add")(store, image_id, base64.b64encode(data).decode(), size, project)

    def read(self, uri, store, offset=0, length=None):
        """Return the bytes of an image."""
        return base64.b64decode(self.__getattr__("read")(uri, store, offset, length))

    def close(self):
        """End the process."""
        self._process.stdin.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


#: ``{kind of storage: a function that returns its group's options, by pytest's request}``; a kind that needs a server
#: asks for a fixture.  ``{path}`` is a folder of the test.
KINDS = {
    "file": lambda request: "filesystem_store_datadir = {path}/images\n",
    "s3": lambda request: request.getfixturevalue("bucket"),
}


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    """Start moto; return what it tells of itself."""
    folder = tmp_path_factory.mktemp("moto")
    tool = TOP / "tools/services/moto"
    subprocess.run([tool, "start", folder], check=True, timeout=600)
    lines = (folder / "env").read_text().splitlines()
    yield {
        name.removeprefix("export "): value.strip("'\"") for name, _, value in (each.partition("=") for each in lines)
    }
    subprocess.run([tool, "stop", folder], check=True, timeout=60)


@pytest.fixture
def bucket(gateway):
    """Make a bucket; return the options of a store in it."""
    import boto3

    name = f"b-{uuid.uuid4().hex[:12]}"
    keys = {"aws_access_key_id": gateway["S3_ACCESS_KEY"], "aws_secret_access_key": gateway["S3_SECRET_KEY"]}
    client = boto3.client("s3", endpoint_url=gateway["S3_ENDPOINT"], region_name="us-east-1", **keys)
    with contextlib.closing(client):
        client.create_bucket(Bucket=name)
    return (
        f"s3_store_host = {gateway['S3_ENDPOINT']}\ns3_store_access_key = {gateway['S3_ACCESS_KEY']}\n"
        f"s3_store_secret_key = {gateway['S3_SECRET_KEY']}\ns3_store_bucket = {name}\n"
        "s3_store_bucket_url_format = path\n"
    )


@pytest.fixture(scope="session", autouse=True)
def _environment():
    subprocess.run([TOP / "tools/peer"], check=True, timeout=900)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return a function that serves a configuration by both libraries; it returns the peer and the configuration."""
    with contextlib.ExitStack() as stack:

        def begin(text):
            path = tmp_path / "service.conf"
            path.write_text(text.format(path=tmp_path))
            conf = cfg.ConfigOpts()
            conf.register_opts([cfg.DictOpt("enabled_backends")])
            conf(["--config-file", str(path)], project="ours", default_config_files=[], default_config_dirs=[])
            store_lib.compat.register_store_opts(conf)
            store_lib.compat.create_multi_stores(conf)
            made = _making._CURRENT.multi
            assert made is not None
            stack.callback(made.retire)
            return stack.enter_context(contextlib.closing(Peer(path))), conf

        monkeypatch.setattr(_making, "_CURRENT", _making._Current())
        monkeypatch.setattr(location, "SCHEME_TO_CLS_BACKEND_MAP", {})
        yield begin


@pytest.fixture(params=sorted(KINDS))
def both(request, start):
    """Return the peer and our configuration on one store ``it`` of each kind in turn."""
    return start(
        f"[DEFAULT]\nenabled_backends = it:{request.param}\n[glance_store]\ndefault_backend = it\n"
        f"[it]\n{KINDS[request.param](request)}"
    )
