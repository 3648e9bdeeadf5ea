"""The list of behaviours, the class made from it, the documentation, the options of pytest."""

import pathlib
import re
import subprocess
import sys

import pytest

import store_lib
from store_lib.conformance import Conformance, behaviours
from store_lib.conformance.__main__ import document
from store_lib.conformance.behaviour import NotOffered, behaviour

TOP = pathlib.Path(store_lib.__file__).parent.parent


def test_each_behaviour_has_one_test_named_with_its_number():
    tests = sorted(name for name in vars(Conformance) if name.startswith("test_"))
    assert tests == sorted(each.test for each in behaviours())
    assert all(re.fullmatch(r"test_\d{3}_[a-z_]+", name) for name in tests)


def test_each_behaviour_is_told_in_sentences_and_named_once():
    assert len(behaviours()) >= 90
    assert len({each.name for each in behaviours()}) == len(behaviours())
    for each in behaviours():
        assert each.text.endswith("."), each.name


def test_a_number_is_used_once():
    with pytest.raises(ValueError, match="behaviour 10 is there twice"):
        behaviour(10)(lambda place: None)


@pytest.mark.skipif(not (TOP / "doc").is_dir(), reason="not offered: installed without the documentation")
def test_the_documentation_lists_the_behaviours():
    page = (TOP / "doc/source/contributor/behaviours.rst").read_text()
    assert page == document(), "write it anew: python -m store_lib.conformance"


def run(*arguments):
    """Run pytest on the suite of the package."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "store_lib.conformance"]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, cwd="/")
    return done.returncode, done.stdout + done.stderr


def test_the_suite_runs_on_a_configured_store(tmp_path):
    config = tmp_path / "stores.conf"
    config.write_text("[DEFAULT]\nenabled_backends = mine:memory, more:memory\n")
    arguments = ("--store-config", config, "--store", "mine", "--store-other", "more")
    code, told = run(*arguments, "-k", "010 or 134 or 086")
    assert (code, "2 passed, 1 skipped" in told) == (0, True), told
    code, told = run("--store-config", config, "--store", "yours", "-k", "010")
    assert code != 0
    assert "there is no store 'yours'; there are: mine, more" in told


def test_without_options_everything_is_skipped():
    code, told = run("-k", "010 or 134")
    assert (code, "2 skipped" in told) == (0, True), told


def test_the_options_import_nothing_but_pytest():
    code = (
        "import sys, store_lib.conformance.plugin; "
        "print(*[name for name in sys.modules if name.startswith(('store_lib', 'oslo', 'stevedore'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["store_lib", "store_lib.conformance", "store_lib.conformance.plugin"]


def test_what_is_not_offered_is_skipped_with_the_reason():
    class Place:
        def store(self):
            return self

        features = store_lib.Feature(0)

        def tidy(self):
            """Do nothing."""

    needy = next(each for each in behaviours() if each.needs)
    with pytest.raises(NotOffered, match="the store does not declare write"):
        needy.run(Place())  # type: ignore[arg-type]
