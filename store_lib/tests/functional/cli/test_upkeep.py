"""Commands for operators: looking a configuration over, sweeping, telling what there is; several images at once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store_lib.registry import list_opts

pytestmark = pytest.mark.functional


def test_check_config_tells_every_mistake_with_its_mend(cli):
    bad = cli.root / "bad.conf"
    bad.write_text(
        "[DEFAULT]\nenabled_backends = a:file, b:fiel, c:file\n[a]\nweight = heavy\nfilesystem_store_datadir = images\n"
        "[c]\nfilesystem_store_file_perm = 999\nparallel = 0\n"
    )
    done = cli("--config-file", bad, "store", "check-config", "-f", "json", code=8)
    rows = {(row["store"], row["option"]): row for row in json.loads(done.stdout)}
    assert set(rows) == {
        (None, "[glance_store] default_backend"),
        ("a", "weight"),
        ("a", "filesystem_store_datadir"),
        ("b", "enabled_backends"),
        ("c", "parallel"),
        ("c", "filesystem_store_file_perm"),
    }
    assert all(row["mend"] for row in rows.values())
    assert b"6 mistakes" in done.stderr
    assert not (cli.root / "images").exists()


def test_check_config_shows_what_the_limits_come_to(cli):
    good = cli.root / "good.conf"
    good.write_text(
        "[DEFAULT]\nenabled_backends = a:file\n[a]\nwieght = 1\nparallel = 2\n"
        f"filesystem_store_datadir = {cli.root}/a\npart_size = 8388608\nmemory_limit = 200000000\n"
    )
    done = cli("--config-file", good, "store", "check-config", "-f", "json")
    (row,) = json.loads(done.stdout)
    assert (row["part_size"], row["parallel"], row["memory_limit"]) == (8388608, 2, 200000000)
    assert row["transfer_memory"] == 5 * 8388608  # two on their way and three more
    assert row["side_by_side"] == 4
    assert b"did you mean weight?" in done.stderr
    assert not (cli.root / "a").exists()  # no storage is asked


def test_sweep(cli):
    process = cli.start("image", "add", "-", stdin=-1, stdout=-1, stderr=-1, hidden=True)
    process.stdin.write(os.urandom(12 * 1024 * 1024))
    process.stdin.flush()
    deadline = time.monotonic() + 20
    while not cli.files() and time.monotonic() < deadline:
        time.sleep(0.05)
    (name,) = cli.files()
    assert name.startswith(".store_lib-")
    (alive,) = cli.json("store", "sweep", "fast", "--older-than", "0")
    assert alive["result"] == "kept"  # somebody writes to it
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (found,) = cli.json("store", "sweep", "fast", "--dry-run")
    assert (found["result"], found["kind"], found["pid"]) == ("would be removed", "temporary file", process.pid)
    assert cli.files() == [name]
    assert cli.json("store", "sweep", "fast")[0]["result"] == "removed"
    assert cli.files() == []
    assert cli.json("store", "sweep", "fast") == []
    assert b"is no age" in cli("store", "sweep", "fast", "--older-than", "soon", code=2).stderr


def test_drivers_and_options(cli):
    rows = {row["name"]: row for row in cli.json("driver", "list")}
    assert rows["file"]["usable"] is True
    assert rows["file"]["schemes"] == ["file", "filesystem"]
    shown = cli.json("driver", "show", "file")
    assert shown["options"]["filesystem_store_datadir"]["default"] == "/var/lib/glance/images"
    assert "exclusive" in shown["features"]
    assert b"did you mean 'file'" in cli("driver", "show", "fil", code=8).stderr
    options = cli.json("option", "list")
    assert {"DEFAULT", "glance_store", "backend_defaults"} == {row["group"] for row in options}
    assert all(row["help"] for row in options)
    ours = cli.json("option", "list", "--driver", "file")
    assert all(row["name"].startswith("filesystem_") for row in ours)


def test_sample_configuration_is_complete_and_loads(cli):
    generator = str(Path(sys.executable).parent / "oslo-config-generator")
    sample = subprocess.run([generator, "--namespace", "store_lib"], capture_output=True, text=True, check=True).stdout
    for _, options in list_opts():
        for option in options:
            assert option.help
            assert f"\n#{option.dest} =" in sample
    file = cli.root / "sample.conf"
    file.write_text(
        sample.replace("#enabled_backends", "enabled_backends") + "\n[glance_store]\ndefault_backend = fast\n"
    )
    again = file.read_text().replace("fast:file, cheap:file", "fast:file")
    file.write_text(again + f"[fast]\nfilesystem_store_datadir = {cli.root}/fast\n")
    assert cli.json("--config-file", file, "store", "list")[0]["status"] == "up"


def test_several_images_at_once(cli):
    files = []
    for number in range(5):
        files.append(cli.root / f"disk-{number}.img")
        files[-1].write_bytes(os.urandom(5_000_000 + number))
    records = cli.json("image", "add", *files, "--jobs", "3", "--digest", "sha256")
    assert [record["size"] for record in records] == [5_000_000 + number for number in range(5)]
    (cli.root / "back").mkdir()
    cli("image", "get", *[record["uri"] for record in records], cli.root / "back")
    for record, file in zip(records, files, strict=True):
        assert (cli.root / "back" / record["id"]).read_bytes() == file.read_bytes()
    assert b"single image" in cli("image", "add", *files, "--id", "x", code=2).stderr
    assert b"go into a directory" in cli("image", "get", records[0]["uri"], records[1]["uri"], files[0], code=2).stderr


def test_one_of_several_that_fails_ends_the_others(cli, image):
    cli("image", "add", image, cli.root / "missing", "--jobs", "1", code=1)
    assert len(cli.files()) <= 1
    assert not any(name.startswith(".") for name in cli.files())


def test_completion_knows_the_commands(cli):
    assert b"check-config" in cli("complete").stdout
