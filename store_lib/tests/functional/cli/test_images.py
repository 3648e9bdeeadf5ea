"""The image commands, run as a user runs them."""

import datetime
import hashlib
import os
import pty
import signal
import termios
import time

import pytest

pytestmark = pytest.mark.functional

FIELDS = ["id", "store", "uri", "size", "digests", "verified_by", "backend_checksum", "written_at", "seconds"]


def test_add_tells_the_record(cli, image):
    record = cli.json("image", "add", image, "--id", "disk-1", "--digest", "md5", "--digest", "sha256")
    data = image.read_bytes()
    assert list(record) == FIELDS
    assert record["id"] == "disk-1"
    assert record["store"] == "fast"
    assert record["uri"] == f"file://{cli.root}/fast/disk-1"
    assert record["size"] == len(data)
    assert record["digests"] == {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
    assert record["verified_by"] == "size"
    assert datetime.datetime.fromisoformat(record["written_at"]).utcoffset() == datetime.timedelta(0)
    assert record["seconds"] > 0
    assert (cli.root / "fast" / "disk-1").read_bytes() == data


def test_add_makes_an_id_and_takes_the_named_store(cli, image):
    record = cli.json("image", "add", image, "--store", "cheap")
    assert cli.files("cheap") == [record["id"]]
    assert cli.files("fast") == []
    assert list(record["digests"]) == ["md5", "sha512"]


def test_round_trip(cli, image):
    record = cli.json("image", "add", image)
    uri, sha512 = record["uri"], record["digests"]["sha512"]
    cli("image", "get", uri, cli.root / "back", "--verify", f"sha512:{sha512}")
    assert (cli.root / "back").read_bytes() == image.read_bytes()
    assert cli.json("image", "verify", uri, f"sha512:{sha512}")["verified"] is True
    assert cli.json("image", "hash", uri, "--digest", "sha1")["digests"] == {
        "sha1": hashlib.sha1(image.read_bytes()).hexdigest()
    }
    shown = cli.json("image", "show", uri)
    assert (shown["id"], shown["store"], shown["size"]) == (record["id"], "fast", record["size"])
    assert cli.json("image", "list") == [{"id": record["id"], "store": "fast", "uri": uri, "size": record["size"]}]
    assert cli.json("image", "list", "--store", "cheap") == []
    assert cli.json("image", "delete", uri)["result"] == "deleted"
    assert cli.files() == []


def test_add_from_standard_input(cli, image):
    record = cli.json("image", "add", "-", stdin=image.read_bytes())
    assert record["digests"]["md5"] == hashlib.md5(image.read_bytes()).hexdigest()
    assert cli.json("image", "add", "-", "--size", 3, stdin=b"abc")["size"] == 3
    assert cli.json("image", "add", "-", stdin=b"")["size"] == 0


def test_get_writes_a_range_to_standard_output(cli, image):
    uri = cli.json("image", "add", image)["uri"]
    done = cli("image", "get", uri, "-", "--offset", 5_000_000, "--length", 1234)
    assert done.stdout == image.read_bytes()[5_000_000:5_001_234]
    assert done.stderr == b""


def test_get_keeps_holes(cli):
    sparse = cli.root / "sparse.img"
    with open(sparse, "wb") as file:
        file.write(b"begin")
        file.seek(64 * 1024 * 1024)
        file.write(b"end")
        file.truncate(100 * 1024 * 1024)
    uri = cli.json("image", "add", sparse)["uri"]
    cli("image", "get", uri, cli.root / "back")
    assert (cli.root / "back").read_bytes() == sparse.read_bytes()
    for path in (cli.root / "back", cli.root / "fast" / uri.rpartition("/")[2]):
        assert path.stat().st_blocks * 512 < 1024 * 1024


def test_get_that_fails_leaves_the_old_file(cli, image):
    uri = cli.json("image", "add", image)["uri"]
    target = cli.root / "target"
    target.write_bytes(b"old")
    before = sorted(os.listdir(cli.root))
    cli("image", "get", uri, target, "--verify", "md5:" + "0" * 32, code=5)
    assert target.read_bytes() == b"old"
    assert sorted(os.listdir(cli.root)) == before
    cli("image", "get", uri, target)
    assert target.read_bytes() == image.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["image", "add", "MISSING"], 1, "No such file"),
        (["image", "add", "IMAGE", "--id", "../x"], 2, "cannot name an image"),
        (["image", "add", "IMAGE", "--digest", "crc7"], 2, "crc7"),
        (["image", "add", "IMAGE", "--size", "many"], 2, "no number of bytes"),
        (["image", "add", "IMAGE", "--store", "nowhere"], 2, "there is no store 'nowhere'; there are: fast, cheap"),
        (["image", "add"], 2, "FILE"),
        (["image", "show", "file://ROOT/fast/none"], 3, "there is no image none"),
        (["image", "delete", "file://ROOT/fast/none"], 3, "there is no image none"),
        (["image", "get", "file://ROOT/fast/none", "OUT"], 3, "there is no image none"),
        (["image", "add", "IMAGE", "--id", "taken"], 4, "is there already"),
        (["image", "verify", "file://ROOT/fast/taken", "md5:" + "0" * 32], 5, "not 00000000"),
        (["image", "verify", "file://ROOT/fast/taken", "md5:123"], 2, "no md5 in hexadecimal"),
        (["image", "show", "file:///etc/passwd"], 2, "no store has the location"),
        (["image", "add", "IMAGE", "--size", "5"], 1, "longer than the declared 5 bytes"),
        (["image", "get", "file://ROOT/fast/taken", "OUT", "--offset", "999999999"], 2, "do not lie inside"),
        (["--config-file", "MISSING", "store", "list"], 8, "find some config files"),
        (["nonsense"], 2, ""),
    ],
)
def test_exit_codes(cli, image, arguments, code, text):
    (cli.root / "fast").mkdir()
    (cli.root / "fast" / "taken").write_bytes(b"taken")
    names = {"IMAGE": str(image), "MISSING": str(cli.root / "missing"), "OUT": str(cli.root / "out")}
    done = cli(*[names.get(word, word.replace("ROOT", str(cli.root))) for word in arguments], code=code)
    assert text in done.stderr.decode()
    assert cli.files() == ["taken"]
    assert not (cli.root / "out").exists()


def test_a_store_that_is_down_ends_with_6(cli, image):
    (cli.root / "fast").write_text("a file where a directory should be")
    done = cli("image", "add", image, code=6)
    assert b"cannot be used" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_leaves_nothing(cli, number, code):
    process = cli.start("image", "add", "-", stdin=-1, stdout=-1, stderr=-1)
    process.stdin.write(os.urandom(12 * 1024 * 1024))  # more than a part, then it stalls
    process.stdin.flush()
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(number)
    began = time.monotonic()
    assert process.wait(20) == code
    assert time.monotonic() - began < 5
    assert cli.files() == []
    assert b"Traceback" not in process.stderr.read()
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()


def test_progress_bar_on_a_terminal_only(cli, image):
    main, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    try:
        process = cli.start("image", "add", str(image), "--id", "seen", "-f", "json", stdout=-1, stderr=terminal)
        out, _ = process.communicate(timeout=60)
        os.set_blocking(main, False)
        shown = os.read(main, 100_000).decode()
    finally:
        os.close(main)
        os.close(terminal)
    assert process.returncode == 0
    assert b"%" not in out
    assert image.name in shown
    assert "100%" in shown
    assert cli("image", "add", image).stderr == b""
