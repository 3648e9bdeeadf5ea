"""The guest as a host of block devices: what the tests share of all protocols that bring them there."""

import contextlib
import importlib.util
import os
import pathlib
import subprocess
import threading

import pytest

from store_lib.tests.support import until

PARTS = pathlib.Path(__file__).resolve().parents[4] / "tools/guest.d"
#: Seconds that a test may take, and anything with a Cinder: a command takes that seconds here.
LIMIT = 600
#: Seconds for what takes some on a busy machine.
PATIENCE = 120


def in_the_guest_alone(conftest, items, of_long=LIMIT):
    """Have the tests beside a conftest run in the guest alone, and end after LIMIT, or `of_long`, seconds."""
    for item in items:
        if pathlib.Path(conftest).parent in item.path.parents:
            if "GUEST" not in os.environ:
                item.add_marker(pytest.mark.skip(reason="runs in the guest: tools/guest"))
            item.add_marker(pytest.mark.timeout(of_long if item.get_closest_marker("long") else LIMIT))


def tool(action):
    """Have the guest become a host of block devices."""
    # Daemons keep what they inherit.
    subprocess.run([PARTS / "block-host", action], check=True, stdin=subprocess.DEVNULL, timeout=LIMIT)


@contextlib.contextmanager
def quick_commands():
    """Have os-brick's commands be started by a small process for the time of ``with``: tools/guest.d/commands.py."""
    from oslo_concurrency import processutils  # a part of the extra, which is asked for only here

    found = importlib.util.spec_from_file_location("commands", PARTS / "commands.py")
    assert found
    assert found.loader
    commands = importlib.util.module_from_spec(found)
    found.loader.exec_module(commands)
    starter = commands.start()
    commands.use(processutils, starter)
    yield
    commands.stop(starter)


@contextlib.contextmanager
def silence(portal):
    """Have nothing come to an address any more, be it with a port: connections to it stay, and are dumb."""
    route = ["blackhole", f"{portal.partition(':')[0]}/32", "table", "local"]
    subprocess.run(["ip", "route", "add", *route], check=True, timeout=60)
    try:
        yield
    finally:
        subprocess.run(["ip", "route", "del", *route], check=True, timeout=60)


def in_time(step):
    """Return what a step returns, or fail as it fails, though not later than a device may hang."""
    results, problems = [], []

    def run():
        try:
            results.append(step())
        except BaseException as error:
            problems.append(error)

    threading.Thread(target=run, daemon=True).start()
    until(lambda: results or problems, PATIENCE)
    if problems:
        raise problems[0]
    return results[0]


def attempt_each(*steps):
    """Do all of them, whatever the kernel says to one."""
    for step in steps:
        with contextlib.suppress(OSError):
            step()
