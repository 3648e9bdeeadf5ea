"""Fixtures: a service's configuration, and the surface empty before and after each test."""

import pytest
import stevedore
from oslo_config import cfg

from store_lib.compat import _making, backend, location, multi_backend
from store_lib.tests.unit.compat import drivers

RESERVED = {"os_glance_staging_store": "file", "os_glance_tasks_store": "file"}


@pytest.fixture(autouse=True)
def _empty(monkeypatch):
    """Have no stores before the test, and close those that it made."""
    current = _making._Current()
    monkeypatch.setattr(_making, "_CURRENT", current)
    monkeypatch.setattr(location, "SCHEME_TO_CLS_MAP", {})
    monkeypatch.setattr(location, "SCHEME_TO_CLS_BACKEND_MAP", {})
    yield
    for generation in (current.single, current.multi):
        if generation is not None:
            generation._active = 0
            generation.retire()


@pytest.fixture
def conf(monkeypatch):
    """Return the service's own configuration, as good as the global one."""
    made = cfg.ConfigOpts()
    for module in (backend, multi_backend, location):
        monkeypatch.setattr(module, "CONF", made)
    made.register_opts([cfg.DictOpt("enabled_backends")])  # the service does
    return made


@pytest.fixture
def configure(conf, tmp_path):
    """Return a function that reads the text of a configuration file; ``{path}`` in it is the test's folder."""

    def read(text):
        path = tmp_path / "service.conf"
        path.write_text(text.format(path=tmp_path))
        conf(["--config-file", str(path)], project="service", default_config_files=[], default_config_dirs=[])
        return conf

    return read


@pytest.fixture
def serve(configure):
    """Return a function that starts a service with the stores of a configuration text, as services do."""

    def start(text, reserved=None):
        conf = configure(text)
        multi_backend.register_store_opts(conf, reserved_stores=reserved)
        multi_backend.create_multi_stores(conf, reserved_stores=reserved)
        return conf

    return start


@pytest.fixture
def two(serve, tmp_path):
    """Start a service with two file stores and one in memory; return its configuration."""
    return serve(
        "[DEFAULT]\nenabled_backends = fast:file, cheap:file, memo:memory\n"
        "[glance_store]\ndefault_backend = fast\n"
        "[fast]\nfilesystem_store_datadir = {path}/fast\nweight = 7\n"
        "[cheap]\nfilesystem_store_datadir = {path}/cheap\n"
    )


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    """Install the drivers of this folder; return the class whose failures a test sets."""
    info = tmp_path / "site" / "scripted-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: scripted\nVersion: 1.0\n")
    names = ("Scripted", "Nameless", "Talkative", "Forward")
    lines = [f"{name.lower()} = {drivers.__name__}:{name}" for name in names]
    (info / "entry_points.txt").write_text("\n".join(["[store_lib.drivers]", *lines]) + "\n")
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.setattr(stevedore.ExtensionManager, "ENTRY_POINT_CACHE", {})
    monkeypatch.setattr(drivers.Scripted, "failures", {})
    monkeypatch.setattr(drivers.Scripted, "told", [])
    return drivers.Scripted


@pytest.fixture
def it(serve, scripted):
    """Start a service whose one store ``it`` is scripted; return the class of its driver."""
    serve(
        "[DEFAULT]\nenabled_backends = it:scripted\n[glance_store]\ndefault_backend = it\n"
        "[it]\nretry_attempts = 1\nprobe_interval = 0\n"
    )
    return scripted
