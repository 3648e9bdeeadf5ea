"""The page 'write a driver': its code blocks, put together, are a driver that passes the conformance suite."""

import os
import subprocess
import sys
import textwrap

import pytest

from store_lib.conformance import behaviours
from store_lib.tests.documentation.blocks import TOP, blocks

DRIVER, TEST = "sqlite_driver.py", "test_sqlite_driver.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the files of the page."""
    folder = tmp_path_factory.mktemp("guide")
    files = {DRIVER: "", TEST: ""}
    for block in blocks("contributor/write-a-driver"):
        name, comma, _ = block.caption.partition(",")
        if name in files:
            files[name] += "\n" + (textwrap.indent(block.text, "    ") if comma else f"\n{block.text}")
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.timeout(300)
def test_the_driver_passes_the_suite(folder):
    """Runs what the page says to run; what is skipped is not offered, and most is offered."""
    command = [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", TEST]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert all("not offered: " in line for line in skipped), skipped
    passed = int(done.stdout.rpartition(" passed")[0].split()[-1].lstrip("="))
    assert passed > 0.8 * len(behaviours())


@pytest.mark.timeout(300)
def test_the_driver_is_well_typed(folder):
    """Somebody who copies it begins with code that a strict type checker takes."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--follow-imports=silent", DRIVER]
    environment = {**os.environ, "MYPYPATH": str(TOP)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
