"""Memory stays what the buffers take, however large an image is: the command reads it from a pipe."""

import os
import pathlib
import subprocess
import sys

import pytest

from store_lib.checking import needs
from store_lib.tests.functional.swift.support import MIB, client, opened, own_account
from store_lib.tests.support import payload


def added(folder, image_id, size):
    """Add an image of `size` bytes by the command, which is not told the size; return its peak memory in bytes."""
    (conf,) = folder.glob("*.conf")
    command = [pathlib.Path(sys.executable).with_name("store-lib"), "image", "add", "--id", image_id, "-"]
    environment = {**os.environ, "STORE_LIB_CONFIG": str(conf)}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment)
    assert process.stdin is not None
    piece = payload(MIB)
    with process.stdin as pipe:
        for start in range(0, size, MIB):
            pipe.write(piece[: size - start])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_an_image_of_unknown_size(server, container, tmp_path):
    """It takes what ``store-lib store check-config`` tells beyond what one of a byte takes, and little more."""
    lines = own_account(server, container=container, operation_timeout=120).splitlines(keepends=True)
    with opened(tmp_path, "".join(line for line in lines if "large_object" not in line)) as stores:
        more = added(tmp_path, "large", 1024 * MIB + 1) - added(tmp_path, "small", 1)
        print(f"{more / MIB:.0f} MiB")
        assert more < needs(stores["it"]).transfer_memory + 32 * MIB
        assert client(server).head_object(container, "large")["content-length"] == str(1024 * MIB + 1)
        for image_id in ("large", "small"):
            stores["it"].delete(f"swift+config://ref1/{container}/{image_id}")
