"""What the tools start ends with them: ``tools/supervise``, and the servers of a folder that is gone."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from store_lib.tests.support import ended, until

pytestmark = pytest.mark.usefixtures("default_hangup")

TOOLS = pathlib.Path(__file__).resolve().parents[3] / "tools"
SUPERVISE = [sys.executable, str(TOOLS / "supervise")]

#: Notes its process and sleeps, as a daemon: in a session of its own, its parent gone.
DAEMON = """
import os, pathlib, signal, sys, time
def daemon(path, *ignored):
    if os.fork():
        while not path.exists(): time.sleep(0.01)
        return
    os.setsid()
    if os.fork(): os._exit(0)
    for number in ignored: signal.signal(number, signal.SIG_IGN)
    pathlib.Path(f"{path}.new").write_text(str(os.getpid()))
    os.rename(f"{path}.new", path)
    time.sleep(600)
    os._exit(0)
here = pathlib.Path(sys.argv[1])
"""
#: Waits for an interrupt and cleans up.
WAITS = """
daemon(here / "daemon")
try:
    (here / "ready").touch()
    time.sleep(600)
finally:
    (here / "cleaned").touch()
"""


@pytest.fixture
def folder(tmp_path):
    """Return a folder in which processes note themselves; none of them may be left, whatever happens."""
    yield tmp_path
    for path in tmp_path.glob("daemon*"):
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(path.read_text()), signal.SIGKILL)


def command(folder, program, *options):
    """Return the command that runs a program under supervision."""
    return [*SUPERVISE, *options, "--", sys.executable, "-I", "-c", DAEMON + program, str(folder)]


def supervised(folder, program, *options):
    """Run a program under supervision to its end; return the exit code and what was said."""
    with open(folder / "said", "w+") as said:  # a pipe would end only with a daemon that has it too
        code = subprocess.run(command(folder, program, *options), stderr=said, timeout=60).returncode
        said.seek(0)
        return code, said.read()


def gone(folder, name="daemon"):
    """Wait until a process is gone that noted itself."""
    until(lambda: ended(int((folder / name).read_text())), 60)


def test_the_exit_code_is_that_of_the_command(folder):
    report = folder / "report"
    assert supervised(folder, "sys.exit(7)", "--report", str(report)) == (7, "")
    assert supervised(folder, "os.kill(os.getpid(), signal.SIGKILL)") == (128 + signal.SIGKILL, "")
    assert not report.exists()
    done = subprocess.run([*SUPERVISE, "--", "/nowhere/program"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (127, "supervise: /nowhere/program: No such file or directory\n")


def test_what_is_left_behind_is_named_and_ended(folder):
    report = folder / "report"
    program = "daemon(here / 'daemon1'); daemon(here / 'daemon2', signal.SIGTERM, signal.SIGHUP); sys.exit(3)"
    code, said = supervised(folder, program, "--report", str(report))
    assert code == 3
    gone(folder, "daemon1")
    gone(folder, "daemon2")
    named = {int(line.split()[0]) for line in report.read_text().splitlines()}
    assert named == {int((folder / name).read_text()) for name in ("daemon1", "daemon2")}
    assert "ends what was left behind" in said


def test_what_ends_by_itself_is_not_named(folder):
    assert supervised(folder, "os.fork() or time.sleep(1)") == (0, "")


def test_what_is_to_be_kept_goes_on(folder):
    assert supervised(folder, "daemon(here / 'daemon')", "--keep") == (0, "")
    assert not ended(int((folder / "daemon").read_text()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_has_the_command_clean_up(folder, number):
    process = subprocess.Popen(command(folder, WAITS), stderr=subprocess.DEVNULL)
    until((folder / "ready").exists, 60)
    process.send_signal(number)
    assert process.wait(60) == 128 + signal.SIGINT
    assert (folder / "cleaned").exists()
    gone(folder)


@pytest.mark.parametrize(
    "program", ["signal.signal(signal.SIGINT, signal.SIG_IGN)", "os.kill(os.getpid(), signal.SIGSTOP)"]
)
def test_a_command_that_does_not_clean_up_in_time_is_killed(folder, program):
    waits = f"daemon(here / 'daemon'); (here / 'ready').touch(); {program}; time.sleep(600)"
    process = subprocess.Popen(command(folder, waits, "--grace", "0.5"), stderr=subprocess.DEVNULL)
    until((folder / "ready").exists, 60)
    process.terminate()
    assert process.wait(60) in (128 + signal.SIGKILL, 128 + signal.SIGINT)  # the latter if it came before the former
    gone(folder)


def test_a_hang_up_is_ignored_where_it_was_before(folder):
    program = "(here / 'ready').touch(); time.sleep(1); print('done')"
    process = subprocess.Popen(
        ["nohup", *command(folder, program)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    until((folder / "ready").exists, 60)
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=60)[0] == "done\n"
    assert process.returncode == 0


def test_when_the_starter_is_killed_the_command_cleans_up_and_all_ends(folder):
    words = command(folder, WAITS)
    program = f"import subprocess; subprocess.run({words!r}, start_new_session=True)"
    starter = subprocess.Popen([sys.executable, "-I", "-c", program], stderr=subprocess.DEVNULL)
    until((folder / "ready").exists, 60)
    starter.kill()
    starter.wait()
    until((folder / "cleaned").exists, 60)
    gone(folder)


def test_when_it_is_killed_itself_the_command_cleans_up(folder):
    process = subprocess.Popen(command(folder, WAITS), stderr=subprocess.DEVNULL)
    until((folder / "ready").exists, 60)
    process.kill()
    process.wait()
    until((folder / "cleaned").exists, 60)


# -- servers whose folder is gone -------------------------------------------------------------------------------------


@pytest.fixture
def processes(monkeypatch):
    """Return what the tools of servers share."""
    monkeypatch.syspath_prepend(str(TOOLS / "services"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield __import__("_processes")
    del sys.modules["_processes"]


def test_servers_are_found_and_ended_without_their_folder(folder, processes, capsys):
    mine, other = folder / "mine", folder / "other"
    sleeper = [sys.executable, "-I", "-c", "import time; time.sleep(600)"]
    servers = [
        subprocess.Popen(sleeper, env=processes.marked(tool, path), start_new_session=True)
        for tool, path in (("moto", mine), ("moto", mine), ("moto", other), ("swift", mine))
    ]
    try:
        os.kill(servers[1].pid, signal.SIGSTOP)
        processes.end_strays("moto", mine)
        assert [server.poll() for server in servers] == [-signal.SIGTERM, -signal.SIGTERM, None, None]
        told = capsys.readouterr().err
        assert told == f"moto: {mine} knew nothing of 2 of its processes; they are ended\n"
        processes.end_strays("moto", mine)
        assert capsys.readouterr().err == ""
    finally:
        for server in servers:
            server.kill()
            server.wait()
