"""Permissions of image files and of their directory."""

import contextlib
import os
import stat

import pytest

from store_lib import errors
from store_lib.tests import support


def _mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@contextlib.contextmanager
def _umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(("written", "mode"), [("640", 0o640), ("0644", 0o644), ("400", 0o400), ("777", 0o777)])
@pytest.mark.parametrize("mask", [0o077, 0o000])
def test_written_permissions(make_file_store, tmp_path, temporary, written, mode, mask):
    """Sets filesystem_store_file_perm: octal as written, whatever the umask."""
    store = make_file_store(filesystem_store_file_perm=written)
    with _umask(mask):
        store.add("one", b"data")
    assert _mode(tmp_path / "images" / "one") == mode


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_without_a_setting_the_umask_decides(store, tmp_path, temporary, mask):
    """Leaves the option out."""
    with _umask(mask):
        store.add("one", b"data")
    assert _mode(tmp_path / "images" / "one") == 0o666 & ~mask


@pytest.mark.parametrize(
    ("written", "before", "after"),
    [
        ("600", 0o700, 0o700),
        ("640", 0o700, 0o710),
        ("644", 0o700, 0o711),
        ("604", 0o700, 0o701),
        ("644", 0o755, 0o755),
        ("0", 0o700, 0o700),
    ],
)
def test_those_who_may_read_may_enter(make_file_store, tmp_path, written, before, after):
    """Adds the search bits to the directory that the file permissions need, and no others."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images").chmod(before)
    make_file_store(filesystem_store_file_perm=written).add("one", b"data")
    assert _mode(tmp_path / "images") == after


def test_directories_that_are_only_read_keep_their_permissions(make_file_store, tmp_path):
    """Reads from a further directory: its permissions are not touched."""
    (tmp_path / "old").mkdir(mode=0o700)
    (tmp_path / "old" / "one").write_bytes(b"data")
    store = make_file_store(filesystem_store_file_perm="644", filesystem_store_read_datadirs=[tmp_path / "old"])
    assert support.content(store, f"file://{tmp_path}/old/one") == b"data"
    assert _mode(tmp_path / "old") == 0o700


@pytest.mark.root
def test_another_user_reads_what_the_permissions_say(make_file_store, open_folder):
    """Reads as another user: 644 lets them in, 640 does not."""

    def read(uri):
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            with open(uri.removeprefix("file://"), "rb") as file:
                return file.read().decode()
        except PermissionError:
            return "refused"

    store = make_file_store(filesystem_store_datadir=open_folder / "images", filesystem_store_file_perm="644")
    closed = make_file_store(filesystem_store_datadir=open_folder / "closed", filesystem_store_file_perm="640")
    assert support.in_child(read, store.add("one", b"data").location.uri) == "data"
    assert support.in_child(read, closed.add("one", b"data").location.uri) == "refused"


@pytest.mark.parametrize("written", ["888", "-1", "1000", "040", "200", "rw-r--r--"])
def test_impossible_permissions(make_file_store, written):
    """Sets permissions that are none, or that keep the owner out: told when the configuration is read."""
    with pytest.raises(errors.ConfigurationError, match="file_perm"):
        make_file_store(filesystem_store_file_perm=written)


def test_nothing_is_touched_before_the_first_use(make_file_store, tmp_path):
    """Makes the store and does not use it: no directory is made."""
    store = make_file_store()
    assert isinstance(store.describe(), dict)
    assert not (tmp_path / "images").exists()
