"""``make test``: which tests each suite runs, what is counted, what is run again, and what makes it fail."""

import os
import pathlib
import signal
import sys
import tempfile
import types
from importlib.machinery import SourceFileLoader

import pytest

from store_lib.tests.support import Child, ended, until

pytestmark = pytest.mark.usefixtures("default_hangup")

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
#: It has a server, which runs on when nobody ends it, and does something to this process.
SERVES = """
import os, pathlib, subprocess, sys, time
import pytest
HERE = pathlib.Path(__file__).parent
def start():
    command = [sys.executable, "-I", "-c", "import time; time.sleep(600)"]
    process = subprocess.Popen(command, start_new_session=True)
    (HERE / "new").write_text(str(process.pid))
    (HERE / "new").rename(HERE / "server")
    return process
@pytest.fixture(scope="session")
def server():
    process = start()
    yield
    process.kill()
    process.wait()
    (HERE / "stopped").touch()
def test_serves(server):
    {}
    time.sleep(60)
"""
FORGETS = SERVES.partition("@pytest.fixture")[0] + "def test_forgets(): start()\n"


@pytest.fixture
def suites(tmp_path, monkeypatch, capfd):
    """Return a function that runs suites, made of one module each, and returns exit code and what was printed.

    Its argument `short` names one whose budget is half a second.
    """
    loader = SourceFileLoader("run_tests", str(SCRIPT))
    module = types.ModuleType("run_tests")
    module.__file__ = str(SCRIPT)
    monkeypatch.setitem(sys.modules, "run_tests", module)  # dataclasses look it up
    loader.exec_module(module)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for name in [name for name in os.environ if name.startswith(("PYTEST_", "CI"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # starts in half the time
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def run(*words, short=None, long=(), **texts):
        rows = []
        for name, text in texts.items():
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            (folder / f"test_{name}.py").write_text(text)
            rows.append(module.Suite(name, (name,), 0.01 if name == short else 1.0, long=name in long))
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
    code, printed = suites(short="first", first=HANGS, second=PASSES)
    assert code == 1
    assert "stopped after 4 times its budget" in printed
    assert row(printed, "second") == (1, 0, 0)


def test_a_suite_without_tests_fails(suites):
    code, printed = suites(first="")
    assert code == 1
    assert "first: FAILED: it holds no test" in printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_in_the_middle_it_ends_its_servers_and_begins_nothing(suites, tmp_path, number):
    code, printed = suites(first=PASSES, second=SERVES.format(f"os.kill({os.getpid()}, {number:d})"), third=PASSES)
    assert code == 128 + number
    assert "\ninterrupted\n" in printed
    assert (tmp_path / "second/stopped").exists(), "the tests did not clean up"
    assert ended(int((tmp_path / "second/server").read_text()))
    assert row(printed, "first") == (1, 0, 0)
    assert "*** suite third" not in printed


def test_killed_in_the_middle_it_leaves_no_server(suites, tmp_path):
    with Child(lambda: suites(first=SERVES.format("pass"))) as runner:
        until((tmp_path / "first/server").exists, 60)
        runner.kill(signal.SIGKILL)
        until((tmp_path / "first/stopped").exists, 60)
    assert ended(int((tmp_path / "first/server").read_text()))


def test_what_a_suite_leaves_behind_is_told_and_ended(suites, tmp_path):
    code, printed = suites(first=FORGETS, second=PASSES)
    assert code == 0
    pid = (tmp_path / "first/server").read_text()
    assert f"first: LEAKY: what it left behind was ended: {pid} {sys.executable} -I -c import time" in printed
    assert ended(int(pid))
    assert "second: LEAKY" not in printed


def test_servers_of_a_kept_folder_go_on(suites, tmp_path, monkeypatch):
    monkeypatch.setenv("STORE_LIB_SERVICES", str(tmp_path / "services"))
    _, printed = suites(first=FORGETS)
    pid = int((tmp_path / "first/server").read_text())
    try:
        assert "LEAKY" not in printed
        assert not ended(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_suite_of_long_tests_runs_in_long_runs_alone(suites):
    texts = {"near": PASSES, "far": f"import pytest\npytestmark = pytest.mark.long\n{PASSES}"}
    code, printed = suites(long=["far"], **texts)
    assert (code, printed.splitlines()[-1]) == (0, "1 passed, 0 failed, 0 skipped")
    code, printed = suites("--long", long=["far"], **texts)
    assert (code, row(printed, "far", "-")) == (0, (1, 0, 0))
    with pytest.raises(SystemExit):
        suites("far", long=["far"], **texts)
