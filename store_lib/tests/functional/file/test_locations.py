"""Which locations the file store writes and reads."""

import os

import pytest

from store_lib import Location, errors
from store_lib.tests import support

DATA = support.payload(100_000)


@pytest.fixture
def images(tmp_path):
    """Return the store's directory, with an image ``old`` that some other program put there."""
    path = tmp_path / "images"
    path.mkdir()
    (path / "old").write_bytes(DATA)
    return path


def test_what_is_written(store, images):
    """Adds an image: the location is file:// and the plain path."""
    record = store.add("new", DATA)
    assert record.location.uri == f"file://{images}/new"
    assert record.location.store == "it"
    assert store.prefix() == f"file://{images}"
    assert record.location.uri.startswith(store.prefix())


@pytest.mark.parametrize("scheme", ["file", "filesystem", "FILE", "FileSystem"])
def test_both_schemes_are_read(store, images, scheme):
    """Reads and deletes an old location by each scheme."""
    uri = f"{scheme}://{images}/old"
    assert support.content(store, uri) == DATA
    assert store.stat(uri).size == len(DATA)
    store.delete(uri)
    assert support.names(images) == []


@pytest.mark.parametrize("name", ["a%20b", "a b", "50%", "a?b#c", "ünïcode", "a+b=c&d", "x" * 255])
def test_nothing_is_quoted_either_way(store, images, name):
    """Reads files whose names an URI would quote: the path is taken as it stands, as the peer wrote it."""
    (images / name).write_bytes(DATA)
    assert support.content(store, f"file://{images}/{name}") == DATA


def test_an_image_in_a_nested_folder(store, images):
    """Reads and deletes an image some folders below the directory."""
    (images / "ab" / "cd").mkdir(parents=True)
    (images / "ab" / "cd" / "deep").write_bytes(DATA)
    uri = f"file://{images}/ab/cd/deep"
    assert support.content(store, uri) == DATA
    assert store.stat(uri).size == len(DATA)
    store.delete(uri)
    assert support.names(images / "ab" / "cd") == []
    with pytest.raises(errors.NotFound):
        store.stat(uri)
    with pytest.raises(errors.NotFound):
        store.stat(f"file://{images}/no/such/folder")


def test_the_directory_may_be_reached_by_a_link(make_file_store, images, tmp_path):
    """Configures a link to the directory: locations show the link, which is resolved once."""
    os.symlink(images, tmp_path / "link")
    store = make_file_store(filesystem_store_datadir=tmp_path / "link")
    record = store.add("new", DATA)
    assert record.location.uri == f"file://{tmp_path}/link/new"
    assert (images / "new").read_bytes() == DATA
    assert support.content(store, record.location) == DATA


def test_a_slash_at_the_end_changes_nothing(make_file_store, images):
    """Configures the directory with slashes at its end."""
    store = make_file_store(filesystem_store_datadir=f"{images}//")
    assert store.add("new", DATA).location.uri == f"file://{images}/new"


def test_directories_that_are_only_read(make_file_store, tmp_path, images):
    """Moves the store to another directory: the old one's images are read and deleted, none is written or listed."""
    store = make_file_store(filesystem_store_datadir=tmp_path / "now", filesystem_store_read_datadirs=[images])
    assert support.content(store, f"file://{images}/old") == DATA
    record = store.add("new", DATA)
    assert record.location.uri == f"file://{tmp_path}/now/new"
    assert [each.id for each in store.list()] == ["new"]
    store.delete(f"file://{images}/old")
    assert support.names(images) == []


def test_a_directory_that_is_only_read_is_not_made(make_file_store, tmp_path):
    """Reads from a configured directory that is missing: it is no proof that the image is gone."""
    store = make_file_store(filesystem_store_read_datadirs=[tmp_path / "gone"])
    with pytest.raises(errors.StoreUnavailable):
        store.stat(f"file://{tmp_path}/gone/x")
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("file://host{images}/old", errors.BadLocation),
        ("file:{images}/old", errors.BadLocation),
        ("file://{images}", errors.ForeignLocation),
        ("file://{images}/", errors.ForeignLocation),
        ("file://{images}-two/old", errors.ForeignLocation),
        ("file:///etc/passwd", errors.ForeignLocation),
        ("file://{images}/../images/old", errors.BadLocation),
        ("file://{images}//old", errors.BadLocation),
        ("file://{images}/./old", errors.BadLocation),
        ("file://{images}/old/", errors.BadLocation),
        ("file://{images}/.hidden", errors.BadLocation),
        ("rbd://pool/image", errors.ForeignLocation),
        ("{images}/old", errors.BadLocation),
        ("", errors.BadLocation),
    ],
)
def test_what_is_refused(store, images, uri, kind):
    """Gives locations that are malformed or of somewhere else: refused before anything is touched."""
    uri = uri.format(images=images)
    for verb in (store.stat, store.open, store.delete):
        with pytest.raises(kind) as caught:
            verb(uri)
        assert type(caught.value) is kind
        assert caught.value.store == "it"
    assert not store.owns(uri)


def test_a_location_of_another_store(store, images):
    """Gives a location that names another store: refused although the path is here."""
    with pytest.raises(errors.ForeignLocation):
        store.delete(Location(f"file://{images}/old", "other"))
    assert support.names(images) == ["old"]


def test_a_missing_image(store, images):
    """Asks for an image that is not there, in a directory that is."""
    for verb in (store.stat, store.open, store.delete):
        with pytest.raises(errors.NotFound):
            verb(f"file://{images}/none")
    assert store.delete(f"file://{images}/none", missing_ok=True) is None
