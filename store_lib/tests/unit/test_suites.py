"""``make test``: which tests each suite runs, what is counted, what is run again, and what makes it fail."""

import os
import pathlib
import signal
import sys
import types
from importlib.machinery import SourceFileLoader

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[3] / "tools" / "run-tests"

PASSES = "def test_passes(): pass\n"
FAILS = "def test_fails(): assert False\n"
OFFERS_NOT = "import pytest\ndef test_skips(): pytest.skip('not offered: ranges')\n"
LEAVES_OUT = "import pytest\ndef test_skips(): pytest.skip('no such program')\n"
#: It fails once: the second process finds the file that the first has made.
WAVERS = """
import pathlib
def test_wavers():
    seen = pathlib.Path(__file__).with_suffix('.seen')
    before = seen.exists()
    seen.touch()
    assert before
"""
HANGS = "import time\ndef test_hangs(): time.sleep(60)\n"


@pytest.fixture
def suites(tmp_path, monkeypatch, capfd):
    """Return a function that runs suites, made of one module each, and returns exit code and what was printed."""
    loader = SourceFileLoader("run_tests", str(SCRIPT))
    module = types.ModuleType("run_tests")
    module.__file__ = str(SCRIPT)
    monkeypatch.setitem(sys.modules, "run_tests", module)  # dataclasses look it up
    loader.exec_module(module)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for name in [name for name in os.environ if name.startswith(("PYTEST_", "CI"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # starts in half the time

    def run(*words, minutes=1.0, **texts):
        rows = []
        for name, text in texts.items():
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            (folder / f"test_{name}.py").write_text(text)
            rows.append(module.Suite(name, (name,), minutes))
        (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = long\n")
        monkeypatch.setattr(module, "SUITES", tuple(rows))
        monkeypatch.setattr(module, "TOP", tmp_path)
        monkeypatch.setattr(sys, "argv", ["run-tests", "--python", sys.executable, *words])
        code = module.main()
        return code, capfd.readouterr().out

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


def row(printed, name, verdict="within"):
    """Return what the table tells of a suite: passed, failed, skipped."""
    line = next(line for line in printed.splitlines() if line.startswith(f"{name} ") and line.endswith(verdict))
    return tuple(int(word) for word in line.split()[1:4])


def test_each_suite_runs_its_own_tests_and_no_others(suites):
    code, printed = suites(first=PASSES, second=PASSES, third=OFFERS_NOT)
    assert code == 0
    assert [row(printed, name) for name in ("first", "second", "third")] == [(1, 0, 0), (1, 0, 0), (0, 0, 1)]
    assert printed.splitlines()[-1] == "2 passed, 0 failed, 1 skipped"
    assert printed.count("test_first.py") == 1


def test_chosen_suites_only(suites):
    code, printed = suites("second", first=FAILS, second=PASSES)
    assert code == 0
    assert printed.splitlines()[-1] == "1 passed, 0 failed, 0 skipped"


def test_what_fails_twice_has_failed(suites):
    code, printed = suites(first=FAILS, second=PASSES)
    assert code == 1
    assert row(printed, "first") == (0, 1, 0)
    assert row(printed, "second") == (1, 0, 0)
    assert "first: FAILED first.test_first::test_fails" in printed


def test_what_passes_by_itself_is_named(suites):
    code, printed = suites(first=WAVERS + PASSES, second=PASSES)
    assert code == 0
    assert row(printed, "first") == (2, 0, 0)
    assert row(printed, "second") == (1, 0, 0)
    assert "UNSTABLE first.test_first::test_wavers" in printed


def test_nothing_is_left_out_where_all_must_run(suites, monkeypatch):
    assert suites(first=LEAVES_OUT)[0] == 0
    monkeypatch.setenv("CI", "true")
    code, printed = suites(first=LEAVES_OUT, second=OFFERS_NOT)
    assert code == 1
    assert "nothing may be skipped, but something was in: first\n" in printed


def test_one_that_hangs_is_stopped_and_the_next_runs(suites):
    code, printed = suites(minutes=0.01, first=HANGS, second=PASSES)
    assert code == 1
    assert "stopped after 4 times its budget" in printed
    assert row(printed, "second", "") == (1, 0, 0)


def test_a_suite_without_tests_fails(suites):
    code, printed = suites(first="")
    assert code == 1
    assert "first: FAILED: it holds no test" in printed
