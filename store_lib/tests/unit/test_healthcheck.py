"""The health check's backend, loaded by oslo.middleware in a small application."""

import json
import os
import shutil
import wsgiref.util

import oslo_middleware
import pytest
from oslo_config import cfg

from store_lib.tests.support import in_child

FIELDS = "[DEFAULT]\nenabled_backends = {enabled}\n[glance_store]\ndefault_backend = fast\n[healthcheck]\n{options}\n"


@pytest.fixture
def application(tmp_path):
    """Return a function that makes an application behind the health check; its stores are the folders fast and cheap.

    :param in_file: whether the options stand in the service's configuration, rather than in the paste file.
    """

    def make(enabled="fast:file, cheap:file", interval=0, in_file=False, **options):
        options = {"detailed": "true", "backends": "store_lib", **options}
        lines = [f"{name} = {value}" for name, value in options.items()] if in_file else []
        text = FIELDS.format(enabled=enabled, options="\n".join(lines))
        text += f"[backend_defaults]\nprobe_interval = {interval}\n"
        for name in ("fast", "cheap"):
            text += f"[{name}]\nfilesystem_store_datadir = {tmp_path / name}\n"
        path = tmp_path / "service.conf"
        path.write_text(text)
        conf = cfg.ConfigOpts()
        conf(["--config-file", str(path)], project="service", default_config_files=[], default_config_dirs=[])
        if in_file:
            return oslo_middleware.Healthcheck(None, conf)
        given = {"oslo_config_project": "service", "oslo_config_file": str(path), **options}
        return oslo_middleware.Healthcheck.app_factory({}, **given)

    return make


def ask(application):
    """Return the status code and what the backend says."""
    environ = {"HTTP_ACCEPT": "application/json", "PATH_INFO": "/healthcheck"}
    wsgiref.util.setup_testing_defaults(environ)
    codes = []
    body = b"".join(application(environ, lambda status, headers, error=None: codes.append(int(status[:3]))))
    (told,) = json.loads(body)["reasons"]
    return codes[0], told


def test_usable_stores(application):
    code, told = ask(application())
    assert code == 200
    assert told["reason"] == "OK"
    assert told["details"] == "fast: up; cheap: up"


@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize(
    ("fail_on", "gone", "code"),
    [
        ("default", "fast", 503),
        ("default", "cheap", 200),
        ("any", "cheap", 503),
        ("none", "fast", 200),
    ],
)
def test_a_store_that_is_down_and_back(application, tmp_path, fail_on, gone, code, in_file):
    it = application(fail_on=fail_on, in_file=in_file)
    assert ask(it)[0] == 200
    os.rename(tmp_path / gone, tmp_path / "away")
    found, told = ask(it)
    assert found == code
    assert told["reason"] == ("OK" if code == 200 else f"down: {gone}")
    assert f"{gone}: down (" in told["details"]
    os.rename(tmp_path / "away", tmp_path / gone)
    assert ask(it)[0] == 200


def test_the_last_answer_holds_for_the_interval(application, tmp_path):
    it = application(interval=1000)
    assert ask(it)[0] == 200
    shutil.rmtree(tmp_path / "fast")
    assert ask(it)[0] == 200


def test_a_store_that_cannot_be_made(application):
    code, told = ask(application(enabled="fast:file, cheap:nonsense", fail_on="any"))
    assert code == 503
    assert "cheap: not usable" in told["details"]
    assert ask(application(enabled="fast:file, cheap:nonsense"))[0] == 200


def test_without_a_usable_default(application):
    assert ask(application(enabled="fast:nonsense, cheap:file"))[0] == 503
    assert ask(application(enabled="fast:nonsense, cheap:file", fail_on="none"))[0] == 200


@pytest.mark.parametrize("in_file", [True, False])
def test_a_wrong_word_is_no_silent_yes(application, in_file):
    """A backend that raises when it is loaded would be left out."""
    code, told = ask(application(fail_on="perhaps", in_file=in_file))
    assert code == 503
    assert "perhaps" in told["details"]


def test_nothing_is_made_before_the_first_request(application, tmp_path):
    application()
    assert not (tmp_path / "fast").exists()


def test_a_service_that_forks(application):
    it = application()
    assert ask(it)[0] == 200
    assert in_child(lambda: ask(it)[0]) == 200
