"""The store commands, and where the configuration comes from."""

import pytest

pytestmark = pytest.mark.functional


def test_list(cli):
    rows = cli.json("store", "list")
    assert [row["id"] for row in rows] == ["fast", "cheap"]  # the heavier first
    fast, cheap = rows
    assert (fast["type"], fast["default"], fast["read_only"], fast["weight"]) == ("file", True, False, 7)
    assert (fast["status"], cheap["status"]) == ("up", "up")
    assert cheap["default"] is False
    assert cheap["description"] == "the large one"
    assert fast["free"] > 0


@pytest.mark.parametrize(
    ("form", "text"),
    [("csv", '"fast","file",True'), ("value", "fast file True"), ("yaml", "id: fast"), ("table", "| fast")],
)
def test_list_in_every_form(cli, form, text):
    assert text in cli("store", "list", "-f", form).stdout.decode()


def test_list_shows_a_store_that_is_down(cli):
    (cli.root / "cheap").write_text("no directory")
    rows = {row["id"]: row for row in cli.json("store", "list")}
    assert rows["cheap"]["status"] == "down"
    assert rows["cheap"]["free"] is None
    assert rows["fast"]["status"] == "up"


def test_show_tells_settings_with_their_origin(cli):
    shown = cli.json("store", "show", "fast")
    assert shown["settings"]["weight"] == {"value": 7, "origin": "the store's group"}
    assert shown["settings"]["operation_timeout"] == {"value": 0, "origin": "the driver's default"}
    assert shown["settings"]["retry_attempts"]["origin"] == "the option's default"
    assert shown["health"]["status"] == "up"
    assert shown["schemes"] == ["file", "filesystem"]
    assert {"write", "delete", "ranges", "exclusive"} <= set(shown["features"])
    assert shown["prefix"] == f"file://{cli.root}/fast"
    assert shown["properties"]["datadirs"] == [f"{cli.root}/fast"]


def test_without_configuration_there_is_one_store_in_the_data_folder(cli, image):
    here = {"STORE_LIB_CONFIG": "", "XDG_DATA_HOME": str(cli.root / "data")}
    record = cli.json("image", "add", image, environment=here)
    assert record["store"] == "default"
    assert record["uri"] == f"file://{cli.root}/data/store_lib/images/{record['id']}"
    in_home = cli.json("image", "add", image, environment={"STORE_LIB_CONFIG": ""})
    assert in_home["uri"].startswith(f"file://{cli.root}/home/.local/share/store_lib/images/")


def test_several_files_the_last_one_wins(cli):
    more = cli.root / "more.conf"
    more.write_text("[fast]\nweight = 99\nstore_description = from the second file\n")
    rows = cli.json("--config-file", cli.root / "store_lib.conf", "--config-file", more, "store", "list")
    assert rows[0]["weight"] == 99
    assert rows[0]["description"] == "from the second file"


def test_the_file_of_an_image_service_works(cli, image):
    service = cli.root / "glance-api.conf"
    service.write_text(
        "[DEFAULT]\nbind_host = 127.0.0.1\nworkers = 4\nenabled_backends = one:file, two:file\nlog_file = glance.log\n"
        "[database]\nconnection = sqlite:///x\n[keystone_authtoken]\npassword = secret\n"
        "[glance_store]\ndefault_backend = two\n[backend_defaults]\nfilesystem_store_chunk_size = 131072\n"
        f"[one]\nfilesystem_store_datadir = {cli.root}/one\n[two]\nfilesystem_store_datadir = {cli.root}/two\n"
    )
    record = cli.json("--config-file", service, "image", "add", image)
    assert record["store"] == "two"
    shown = cli.json("--config-file", service, "store", "show", "two")
    assert shown["settings"]["filesystem_store_chunk_size"] == {"value": 131072, "origin": "[backend_defaults]"}


def test_every_mistake_is_told_at_once(cli):
    bad = cli.root / "bad.conf"
    bad.write_text(
        "[DEFAULT]\nenabled_backends = a:file, b:fiel, c:file\n[glance_store]\ndefault_backend = d\n"
        "[a]\nweight = heavy\nfilesystem_store_datadir = images\n[c]\nfilesystem_store_file_perm = 999\nparallel = 0\n"
    )
    text = cli("--config-file", bad, "store", "list", code=8).stderr.decode()
    for part in ("no store 'd'", "weight", "did you mean 'file'", "parallel", "at least 1"):
        assert part in text


def test_help_without_a_command(cli):
    text = cli().stdout.decode()
    assert "exit codes" in text
    assert "image add" in text
