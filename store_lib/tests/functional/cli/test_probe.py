"""``store probe``, ``store init``, ``image url``, and health and room in ``store list`` and ``store show``."""

import os

import pytest

pytestmark = pytest.mark.functional


def test_probe_tells_one_store_made_unreachable_and_back(cli):
    rows = {row["id"]: row for row in cli.json("store", "probe")}
    assert {row["status"] for row in rows.values()} == {"up"}
    assert rows["fast"]["latency"] >= 0
    assert rows["fast"]["checked_at"].endswith("+00:00")
    assert 0 < rows["fast"]["details"]["free"] <= rows["fast"]["details"]["total"]
    os.rename(cli.root / "cheap", cli.root / "away")
    (cli.root / "cheap").write_text("no directory")
    rows = {row["id"]: row for row in cli.json("store", "probe", code=6)}
    assert (rows["fast"]["status"], rows["cheap"]["status"]) == ("up", "down")
    assert str(cli.root / "cheap") in rows["cheap"]["reason"]
    assert b"down: cheap" in cli("store", "probe", "cheap", "fast", code=6).stderr
    assert [row["id"] for row in cli.json("store", "probe", "fast")] == ["fast"]
    os.unlink(cli.root / "cheap")
    os.rename(cli.root / "away", cli.root / "cheap")
    assert {row["status"] for row in cli.json("store", "probe")} == {"up"}
    cli("store", "probe", "nowhere", code=2)


def test_list_shows_the_room_on_request(cli):
    assert "total" not in cli.json("store", "list")[0]
    row = cli.json("store", "list", "--capacity")[0]
    assert 0 < row["free"] <= row["total"]
    assert row["used"] == row["total"] - row["free"]


def test_list_without_asking_the_storage(cli):
    row = cli.json("store", "list", "--no-probe")[0]
    assert (row["id"], row["status"], row["free"]) == ("fast", "unknown", None)
    assert not (cli.root / "fast").exists()


def test_show_tells_limits_room_and_backend(cli):
    fast, cheap = (cli.json("store", "show", name) for name in ("fast", "cheap"))
    assert (fast["default"], cheap["default"]) == (True, False)
    assert fast["limits"]["parallel"] == 2
    assert 0 < fast["free"] <= fast["total"]
    assert fast["backend"] == cheap["backend"] is not None, "they are on one file system"
    assert "settings" in cli("store", "show", "fast").stdout.decode()


def test_what_a_store_does_not_offer_is_told(cli, image):
    uri = cli.json("image", "add", image)["uri"]
    assert b"does not offer" in cli("image", "url", uri, "--seconds", "60", code=1).stderr
    assert b"needs no preparation" in cli("store", "init", "fast", code=1).stderr
    cli("image", "url", uri, "--seconds", "soon", code=2)
