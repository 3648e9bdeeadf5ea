"""Taking the peer's name in a process: imports, commands, the stand-in distribution."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[4]
STAND_IN = TOP / "tools" / "glance-store-standin"


def run(*arguments, cwd=None, **environment):
    """Run Python and return what it printed, by lines."""
    path = os.pathsep.join(filter(None, [str(TOP), environment.pop("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **environment},
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def code(text, **environment):
    return run("-c", text, **environment)


def test_modules_of_the_peer_are_those_of_store_lib():
    modules = ("backend", "multi_backend", "location", "exceptions", "driver", "capabilities", "common.utils")
    drivers = ("filesystem", "http", "rbd", "s3", "swift", "cinder")
    names = [*modules, *(f"_drivers.{each}" for each in drivers)]
    lines = code(
        "import importlib\n"
        "from store_lib.compat import install\n"
        "install(); install()\n"
        "import glance_store\n"
        f"for name in {names!r}:\n"
        "    theirs = importlib.import_module('glance_store.' + name)\n"
        "    ours = importlib.import_module('store_lib.compat.' + name)\n"
        "    assert theirs is ours, name\n"
        "    assert ours.__spec__.name == ours.__name__ == 'store_lib.compat.' + name\n"
        "from glance_store import backend, exceptions, location\n"
        "from glance_store._drivers import filesystem\n"
        "assert glance_store.NotFound is exceptions.NotFound and glance_store.backend is backend\n"
        "print(glance_store.__name__)\n"
        "try:\n    import glance_store.nonsense\nexcept ImportError as error:\n    print(error)\n"
    )
    assert lines == ["store_lib.compat", "No module named 'glance_store.nonsense'"]


def test_the_installed_package_is_found_by_tools():
    lines = code(
        "import importlib.metadata as metadata\n"
        "from store_lib.compat import install\n"
        "install()\n"
        "print(metadata.version('glance_store'), metadata.version('glance-store'))\n"
        "print(metadata.distribution('glance-store').metadata['Name'])\n"
        "print([each for each in metadata.distributions() if each.metadata['Name'] == 'glance_store'])\n"
    )
    assert lines == ["5.7.0 5.7.0", "glance_store", "[]"]


def test_a_peer_that_is_imported_already(tmp_path):
    (tmp_path / "glance_store").mkdir()
    (tmp_path / "glance_store" / "__init__.py").write_text("")
    lines = code(
        "import glance_store, store_lib.compat\n"
        "try:\n    store_lib.compat.install()\nexcept RuntimeError as error:\n    print(error)\n",
        PYTHONPATH=str(tmp_path),
    )
    assert lines == ["glance_store is imported already; call store_lib.compat.install() before the service"]


def test_a_peer_that_is_installed_as_well_is_not_used(tmp_path):
    (tmp_path / "glance_store").mkdir()
    (tmp_path / "glance_store" / "__init__.py").write_text("print('the peer')")
    lines = code(
        "import store_lib.compat; store_lib.compat.install(); import glance_store; print(glance_store.__name__)",
        PYTHONPATH=str(tmp_path),
    )
    assert lines == ["store_lib.compat"]


# -- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def service(tmp_path):
    """Install a service with a console script; return what PYTHONPATH needs."""
    info = tmp_path / "service-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: service\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nservice-manage = service_command:main\n")
    (tmp_path / "service_command.py").write_text(
        "import sys\nimport glance_store\n\n\ndef main():\n"
        "    print(glance_store.__name__, sys.argv)\n    return int(sys.argv[1])\n"
    )
    (tmp_path / "script.py").write_text(
        "import service_command\n\nif __name__ == '__main__':\n    service_command.main()\n"
    )
    return str(tmp_path)


def test_a_command_runs_on_store_lib(service):
    lines = run("-m", "store_lib.compat", "service-manage", "0", "--flag", PYTHONPATH=service)
    assert lines == ["store_lib.compat ['service-manage', '0', '--flag']"]
    assert run("-m", "store_lib.compat", f"{service}/script.py", "0") == [
        f"store_lib.compat ['{service}/script.py', '0']"
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["service-manage", "7"], 7, ""),
        (["no-such-command"], 127, "no console script 'no-such-command'"),
        ([], 2, "usage: "),
        (["--help"], 0, "usage: "),
    ],
)
def test_exit_codes_of_commands(service, arguments, status, told):
    done = subprocess.run(
        [sys.executable, "-m", "store_lib.compat", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TOP), service])},
        timeout=100,
    )
    assert done.returncode == status
    assert told in done.stderr


# -- the stand-in -----------------------------------------------------------------------------------------------------


def test_the_stand_in_serves_store_lib():
    lines = code(
        "from glance_store import backend\nimport glance_store, glance_store.exceptions\n"
        "from glance_store._drivers import swift\n"
        "import store_lib.compat\nstore_lib.compat.install()\n"
        "assert glance_store is store_lib.compat and backend is store_lib.compat.backend\n"
        "print(glance_store.__name__, glance_store.exceptions.__name__)\n",
        PYTHONPATH=str(STAND_IN),
    )
    assert lines == ["store_lib.compat store_lib.compat.exceptions"]


@pytest.mark.slow
def test_the_stand_in_satisfies_the_requirement(tmp_path):
    source, wheels, site = tmp_path / "source", tmp_path / "wheels", tmp_path / "site"
    shutil.copytree(STAND_IN, source)  # building writes beside what is built
    run("-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "--no-index", "-w", str(wheels), str(source))
    (wheel,) = map(str, wheels.iterdir())
    run("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), wheel)
    asked = ("-m", "pip", "install", "--dry-run", "--no-deps", "--no-index", "glance-store>=5.3.0")
    assert any("already satisfied: glance-store>=5.3.0" in line for line in run(*asked, PYTHONPATH=str(site)))
    told = code(
        "import glance_store, importlib.metadata as m; print(glance_store.__name__, m.version('glance_store'))",
        PYTHONPATH=str(site),
    )
    assert told == ["store_lib.compat 5.7.0"]


def test_the_samples_of_the_service_find_the_options():
    lines = run("-m", "oslo_config.generator", "--namespace", "glance.store", "--namespace", "glance.multi_store")
    assert {"[glance_store]", "[file]", "#default_store = file", "#default_backend = <None>"} <= set(lines)
    assert lines.count("#filesystem_store_datadir = /var/lib/glance/images") == 2
