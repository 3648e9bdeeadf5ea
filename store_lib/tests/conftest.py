"""Fixtures that all tests share."""

import gc
import os
import pathlib
import shutil
import subprocess
import tempfile

import hypothesis
import pytest
from oslo_config import cfg

from store_lib import Stores
from store_lib.tests import support

hypothesis.settings.register_profile("store_lib", deadline=None, database=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "store_lib"))


def pytest_collection_modifyitems(items):
    """Skip, with the reason, what this user cannot run."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root, for mounts or for another user"))


def pytest_collection_finish():
    """Have the many objects that tests are made of left alone when garbage is collected, which then is quick."""
    gc.collect()
    gc.freeze()


def pytest_runtest_logstart(nodeid):
    """Note which test begins, for who has to end a run that hangs: it leaves no report."""
    if journal := os.environ.get("STORE_LIB_TESTS_JOURNAL"):
        with open(journal, "a", encoding="utf-8") as file:
            file.write(f"{nodeid}\n")


@pytest.fixture
def no_leaks():
    """Count threads, descriptors and child processes before the test and after it: nothing may be left."""
    with support.nothing_left():
        yield


@pytest.fixture
def make_stores(tmp_path):
    """Return a function that makes `Stores` from the text of a configuration file and keyword arguments."""
    made: list[Stores] = []

    def make(text, **arguments):
        path = tmp_path / f"store_lib-{len(made)}.conf"
        path.write_text(text)
        conf = cfg.ConfigOpts()
        conf(["--config-file", str(path)], project="store_lib", default_config_files=[], default_config_dirs=[])
        made.append(Stores.from_config(conf, **arguments))
        return made[-1]

    yield make
    for stores in made:
        stores.close()


@pytest.fixture
def make_file_store(make_stores, tmp_path):
    """Return a function that makes one file store, by default in the folder ``images``.

    Its keyword arguments are options; a list stands for several values.  A request is sent once only, unless the test
    says otherwise, so that failing is quick.
    """

    def make(threads=None, **options):
        if "filesystem_store_datadirs" not in options:
            options.setdefault("filesystem_store_datadir", tmp_path / "images")
        options = {"retry_attempts": 1, "probe_interval": 0, **options}
        lines = ["[DEFAULT]", "enabled_backends = it:file", "[it]"]
        for name, values in options.items():
            lines += [f"{name} = {value}" for value in (values if isinstance(values, list) else [values])]
        return make_stores("\n".join(lines) + "\n", threads=threads)["it"]

    return make


@pytest.fixture
def store(make_file_store):
    """Return a file store whose directory is the folder ``images``."""
    return make_file_store()


@pytest.fixture(params=["unnamed", "named"])
def temporary(request, monkeypatch):
    """Run the test with both kinds of temporary files: those without a name, and hidden ones."""
    if request.param == "named":
        support.without_unnamed_files(monkeypatch)
    return request.param


@pytest.fixture
def mount_tmpfs(tmp_path):
    """Return a function that mounts a tmpfs of some bytes on a folder; all of them are unmounted after the test."""
    mounted = []

    def mount(path, size):
        path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "store_lib-test", path], check=True)
        mounted.append(path)
        return path

    yield mount
    for path in reversed(mounted):
        while os.path.ismount(path):
            subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture
def open_folder():
    """Return a folder that other users may enter."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="store_lib-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
