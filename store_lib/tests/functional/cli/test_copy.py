"""``image copy`` and ``image migrate``, run as a user runs them."""

import hashlib

import pytest

from store_lib.tests.functional.cli.test_images import FIELDS

pytestmark = pytest.mark.functional


def test_a_copy_is_told_and_the_source_stays(cli, image):
    uri = cli.json("image", "add", image, "--id", "disk-1")["uri"]
    record = cli.json("image", "copy", uri, "--to", "cheap")
    assert list(record) == FIELDS
    assert (record["id"], record["store"]) == ("disk-1", "cheap")
    assert record["uri"] == f"file://{cli.root}/cheap/disk-1"
    assert record["size"] == image.stat().st_size
    assert record["verified_by"] == "size"
    assert (cli.root / "cheap" / "disk-1").read_bytes() == image.read_bytes()
    assert cli.files("fast") == ["disk-1"]


def test_a_copy_under_another_id_that_is_read_back(cli, image):
    uri = cli.json("image", "add", image, "--id", "disk-1")["uri"]
    record = cli.json("image", "copy", uri, "--to", "fast", "--id", "disk-2", "--verify", "read")
    assert record["verified_by"] == "read"
    assert record["digests"]["sha512"] == hashlib.sha512(image.read_bytes()).hexdigest()
    assert cli.files("fast") == ["disk-1", "disk-2"]


@pytest.mark.parametrize("verify", ["none", "backend", "read"])
def test_a_migration_takes_the_source_away(cli, image, verify):
    uri = cli.json("image", "add", image, "--id", "disk-1")["uri"]
    record = cli.json("image", "migrate", uri, "--to", "cheap", "--delete-source", "--verify", verify)
    assert record["verified_by"] == {"none": "none", "backend": "size", "read": "read"}[verify]
    assert (cli.root / "cheap" / "disk-1").read_bytes() == image.read_bytes()
    assert cli.files("fast") == []


def test_a_table_for_people(cli, image):
    uri = cli.json("image", "add", image, "--id", "disk-1")["uri"]
    shown = cli("image", "copy", uri, "--to", "cheap").stdout.decode()
    assert "verified_by" in shown
    assert f"file://{cli.root}/cheap/disk-1" in shown


def test_what_goes_wrong_has_its_exit_code_and_leaves_the_source(cli, image):
    uri = cli.json("image", "add", image, "--id", "disk-1")["uri"]
    cli.json("image", "add", image, "--id", "disk-1", "--store", "cheap")
    done = cli("image", "migrate", uri, "--to", "cheap", "--delete-source", code=4)
    assert b"is there already" in done.stderr
    cli("image", "migrate", f"{uri}-other", "--to", "cheap", "--delete-source", code=3)
    cli("image", "migrate", uri, "--to", "nowhere", "--delete-source", code=2)
    cli("image", "copy", uri, code=2)
    cli("image", "copy", uri, "--to", "cheap", "--verify", "perhaps", code=2)
    assert cli.files("fast") == ["disk-1"]


def test_help_shows_examples(cli):
    for command in ("copy", "migrate"):
        shown = cli("image", command, "--help").stdout.decode()
        assert f"store-lib image {command} file:///" in shown
        assert "--delete-source" in shown
