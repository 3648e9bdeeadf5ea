"""Fixtures of the unit tests: stores whose driver is a fake."""

import functools
import logging
import signal
import sys

import pytest
import stevedore

from store_lib.tests import fakes, support


@pytest.fixture
def make_store(make_stores):
    """Return a function that makes one store ``it`` of a fake driver; keyword arguments are its options.

    After the test all its memory must be free, no thread may be stuck, and the engine must have kept the limits.
    """
    made = []

    def make(driver=None, *, threads=None, clock=None, stuck=False, **options):
        driver = driver or fakes.fake()
        options = {"probe_interval": 0, **options}
        lines = ["[DEFAULT]", "enabled_backends = it:fake", "[it]", *(f"{key} = {options[key]}" for key in options)]
        stores = make_stores("\n".join(lines), drivers={"fake": driver}, threads=threads, clock=clock or QUICK)
        made.append((stores, driver, stuck))
        return stores["it"]

    yield make
    for stores, driver, stuck in made:
        store = stores["it"]
        driver.script.release()
        runtime = store._runtime
        for pool in (runtime.pool, runtime.probe_pool, runtime.abort_pool):
            support.until(functools.partial(_came_back, pool, stuck))
        assert store._runtime.budget.used == 0, "a transfer kept its memory"
        assert stuck or not stores.close(5), "a thread did not come back"
        assert driver.script.violations == []


def _came_back(pool, stuck):
    return stuck or not pool.stuck()


QUICK = fakes.QuickClock()


@pytest.fixture
def logged(caplog):
    """Return a function that returns the messages of a level and above."""
    caplog.set_level(logging.DEBUG, "store_lib")

    def messages(level=logging.WARNING):
        return [record.getMessage() for record in caplog.records if record.levelno >= level]

    return messages


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a package with the drivers ``broken``, ``needy``, ``nothing`` and ``absent``."""
    (tmp_path / "broken_driver.py").write_text("raise RuntimeError('on import')\n")
    (tmp_path / "needy_driver.py").write_text("import no_such_client_library\n")
    (tmp_path / "nothing_driver.py").write_text("Driver = 'no class'\n")
    info = tmp_path / "thirdparty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[store_lib.drivers]\nbroken = broken_driver:Driver\nneedy = needy_driver:Driver\n"
        "nothing = nothing_driver:Driver\nabsent = nothing_driver:Other\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(stevedore.ExtensionManager, "ENTRY_POINT_CACHE", {})
    yield
    for name in ("broken_driver", "needy_driver", "nothing_driver"):
        sys.modules.pop(name, None)


@pytest.fixture
def default_hangup():
    """Have a hang-up end processes, of which they take no notice where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
