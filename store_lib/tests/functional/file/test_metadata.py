"""What services are told about the place of an image."""

import json

import pytest

from store_lib import errors


@pytest.fixture
def make(make_file_store, tmp_path):
    """Return a function that makes a store with the entries of a metadata file."""

    def make(entries, **options):
        path = tmp_path / "metadata.json"
        path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
        return make_file_store(filesystem_store_metadata_file=path, **options)

    return make


def test_one_object(make, tmp_path):
    """Writes a single object: it comes with the location, other keys included."""
    entry = {"id": "share", "mountpoint": str(tmp_path), "more": {"deep": [1]}}
    assert make(entry).add("one", b"x").location.metadata == entry


def test_no_file(store):
    """Leaves the option out."""
    assert store.add("one", b"x").location.metadata == {}


def test_each_location_has_its_own(make, tmp_path):
    """Changes the metadata of one image: the next one's is not affected."""
    entry = {"id": "share", "mountpoint": str(tmp_path), "more": {"deep": [1]}}
    store = make([entry])
    first = store.add("one", b"x").location.metadata
    first["id"] = "changed"
    first["more"]["deep"].append(2)
    assert store.add("two", b"x").location.metadata == entry


@pytest.mark.parametrize(
    ("mountpoints", "chosen"),
    [
        (["{top}/im", "{top}/images2"], None),  # neither holds the path, though the text begins alike
        (["{top}/images"], 0),
        (["{top}/images/"], 0),
        (["{top}", "{top}/images", "/"], 1),  # the longest
        (["{top}/images", "{top}"], 0),
        (["/"], 0),
        (["{top}/images/one"], 0),
        (["{top}/images/../images"], 0),
        (["images"], None),
    ],
)
def test_which_object(make, tmp_path, mountpoints, chosen):
    """Writes several objects: the one whose mount point holds the path by whole names, the longest of several."""
    entries = [{"id": str(number), "mountpoint": each.format(top=tmp_path)} for number, each in enumerate(mountpoints)]
    found = make(entries).add("one", b"x").location.metadata
    assert found == ({} if chosen is None else entries[chosen])


def test_several_directories(make, tmp_path):
    """Tells each directory's own object."""
    entries = [{"id": "a", "mountpoint": f"{tmp_path}/a"}, {"id": "b", "mountpoint": f"{tmp_path}/b"}]
    store = make(entries, filesystem_store_datadirs=[f"{tmp_path}/b:2", f"{tmp_path}/a:1"])
    assert store.add("one", b"x").location.metadata["id"] == "b"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        '"text"',
        '{"id": "a"}',
        '{"mountpoint": "/"}',
        '{"id": 1, "mountpoint": "/"}',
        "[[]]",
        "\xff\xfe",
    ],
)
def test_files_of_no_use(make, text):
    """Writes something else into the file: told when the configuration is read."""
    with pytest.raises(errors.ConfigurationError, match="metadata_file"):
        make(text)


def test_a_missing_file(make_file_store):
    """Names a file that does not exist."""
    with pytest.raises(errors.ConfigurationError, match="metadata_file"):
        make_file_store(filesystem_store_metadata_file="/nowhere/metadata.json")
