"""Finding drivers: what is not asked for is not imported."""

import subprocess
import sys

import pytest

from store_lib import errors
from store_lib.drivers.memory import MemoryDriver
from store_lib.registry import DriverRegistry, list_opts


def test_the_drivers_of_other_packages_are_found(installed):
    names = DriverRegistry({"mine": MemoryDriver}).names()
    assert {"file", "memory", "mine", "broken", "needy", "nothing", "absent"} <= set(names)
    assert names == sorted(names)
    assert "broken_driver" not in sys.modules


def test_a_driver_is_loaded_by_name():
    assert DriverRegistry().load("memory") is MemoryDriver


def test_a_driver_that_is_given_wins():
    class Mine(MemoryDriver):
        pass

    assert DriverRegistry({"memory": Mine}).load("memory") is Mine


@pytest.mark.parametrize(
    ("name", "problem", "mend"),
    [
        ("memmory", "no driver 'memmory' is installed", "did you mean 'memory'?"),
        ("xyz", "no driver 'xyz' is installed", "use one of"),
        ("broken", "on import", "mend the package"),
        ("needy", "no_such_client_library", "pip install store_lib[needy]"),
        ("nothing", "no class derived", "ask its author"),
        ("absent", "cannot be loaded", "mend the package"),
    ],
)
def test_a_driver_that_does_not_load_names_the_mend(installed, name, problem, mend):
    with pytest.raises(errors.DriverLoadError) as raised:
        DriverRegistry().load(name, "fast")
    (mistake,) = raised.value.mistakes
    assert mistake.store == "fast"
    assert problem in mistake.problem
    assert mend in mistake.mend


def test_the_options_of_all_drivers_are_listed_once_though_some_do_not_load(installed):
    groups = dict(list_opts())
    names = [option.name for option in groups["backend_defaults"]]
    assert len(names) == len(set(names))
    assert {"weight", "memory_store_size", "filesystem_store_datadir"} <= set(names)
    assert [option.name for option in groups["DEFAULT"]] == ["enabled_backends"]
    assert [option.name for option in groups["glance_store"]] == ["default_backend"]


def test_the_command_of_oslo_config_writes_a_sample():
    done = subprocess.run(
        [sys.executable, "-c", "from oslo_config.generator import main; main()", "--namespace", "store_lib"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "#memory_store_size = 268435456" in done.stdout
