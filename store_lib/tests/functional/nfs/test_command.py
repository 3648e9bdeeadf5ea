"""The command, on a share."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from store_lib.tests.functional.nfs.conftest import mount, unmount


@pytest.mark.long
def test_the_command_prepares_a_share_and_tells_its_state(make_share, tmp_path):
    share, point, config = make_share(), tmp_path / "mnt", tmp_path / "store.conf"
    point.mkdir()
    mount(share, point)
    config.write_text(
        f"[DEFAULT]\nenabled_backends = it:nfs\n[it]\nnfs_host = 127.0.0.1\nnfs_export = {share.export}\n"
        f"nfs_mount = false\nnfs_mount_point_base = {point}\nprobe_timeout = 60\n"
    )

    def ask(*arguments, code=0):
        done = subprocess.run(
            [pathlib.Path(sys.executable).with_name("store-lib"), *arguments, "-f", "json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "HOME": str(tmp_path), "STORE_LIB_CONFIG": str(config)},
            timeout=100,
        )
        print(done.stdout.decode(), done.stderr.decode())
        assert done.returncode == code
        return json.loads(done.stdout)

    (row,) = ask("store", "probe", code=6)
    assert (row["status"], row["details"]["server"]) == ("down", "up")
    assert "store init" in row["reason"]
    assert "marked" in ask("store", "init", "it")["result"]
    (row,) = ask("store", "probe")
    assert row["status"] == "up"
    assert row["details"]["mounted_at"] == str(point)
    assert ask("store", "show", "it")["backend"] == f"nfs:127.0.0.1:{share.export}"
    unmount(point)
    (row,) = ask("store", "probe", code=6)
    assert "is not mounted" in row["reason"]
    assert os.listdir(point) == []
