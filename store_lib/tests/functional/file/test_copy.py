"""Copying and moving between file stores: what lies on the disk afterwards."""

import os
import stat
import subprocess

import pytest

from store_lib import errors
from store_lib.drivers import _posix_copy
from store_lib.tests import support

MIB = support.MIB


@pytest.fixture(params=["in this process", "in helpers"])
def two(request, make_stores, tmp_path):
    """Return a function that makes the file stores ``a`` and ``b`` in the folders of these names."""

    def make(a="", b="", folders=("a", "b")):
        place = f"filesystem_store_datadir = {tmp_path / folders[1]}\n"
        timeout = "filesystem_store_timeout = 60\n" if request.param == "in helpers" else ""
        return make_stores(
            "[DEFAULT]\nenabled_backends = a:file, b:file\n[glance_store]\ndefault_backend = a\n"
            f"[backend_defaults]\nretry_attempts = 1\nprobe_interval = 0\n{timeout}"
            f"[a]\nfilesystem_store_datadir = {tmp_path / folders[0]}\n{a}"
            f"[b]\n{b if 'datadirs' in b else place + b}"
        )

    return make


def seen(path):
    """Return what stat tells."""
    return os.stat(path, follow_symlinks=False)


@pytest.mark.parametrize("size", [0, 1, 100_000, 65 * MIB + 7])
def test_a_copy_is_a_file_of_its_own(two, tmp_path, size):
    stores = two()
    data = support.payload(size)
    location = stores["a"].add("one", data).location
    record = stores.copy(location, "b")
    assert (tmp_path / "b" / "one").read_bytes() == data
    assert seen(tmp_path / "a" / "one").st_ino != seen(tmp_path / "b" / "one").st_ino
    assert seen(tmp_path / "b" / "one").st_nlink == 1
    assert (record.location.uri, record.size) == (f"file://{tmp_path}/b/one", size)
    assert support.names(tmp_path / "b") == ["one"]


def test_changing_a_copy_leaves_the_source_alone(two, tmp_path):
    stores = two()
    data = support.payload(3 * MIB)
    location = stores["a"].add("one", data).location
    stores.copy(location, "b")
    with open(tmp_path / "b" / "one", "r+b") as file:
        file.write(b"changed")
    assert support.content(stores["a"], location) == data


def test_holes_stay_holes(two, tmp_path):
    stores = two()
    (tmp_path / "a").mkdir()
    with open(tmp_path / "a" / "one", "wb") as file:
        file.write(support.payload(MIB))
        file.seek(200 * MIB)
        file.write(support.payload(MIB))
        file.truncate(300 * MIB)
    record = stores.copy(f"file://{tmp_path}/a/one", "b", verify="read")
    assert (record.size, record.verified_by) == (300 * MIB, "read")
    assert seen(tmp_path / "b" / "one").st_blocks * 512 < 3 * MIB


def test_a_move_is_a_rename(two, tmp_path):
    stores = two(b="filesystem_store_file_perm = 640\n")
    data = support.payload(MIB)
    location = stores["a"].add("one", data).location
    before = seen(tmp_path / "a" / "one")
    record = stores.migrate(location, "b", delete_source=True)
    after = seen(tmp_path / "b" / "one")
    assert (after.st_ino, after.st_nlink) == (before.st_ino, 1)
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert support.names(tmp_path / "a") == []
    assert support.content(stores["b"], record.location) == data
    assert record.verified_by == "size"


def test_a_move_out_of_a_folder_below(two, tmp_path):
    stores = two()
    (tmp_path / "a" / "sub").mkdir(parents=True)
    (tmp_path / "a" / "sub" / "one").write_bytes(b"data")
    record = stores.migrate(f"file://{tmp_path}/a/sub/one", "b", delete_source=True)
    assert support.content(stores["b"], record.location) == b"data"
    assert support.names(tmp_path / "a" / "sub") == []


@pytest.mark.parametrize("delete", [True, False])
def test_a_taken_id_is_not_touched(two, tmp_path, delete):
    stores = two()
    location = stores["a"].add("one", b"one").location
    stores["b"].add("one", b"another")
    before = support.snapshot(tmp_path / "a", tmp_path / "b")
    with pytest.raises(errors.Duplicate):
        stores.migrate(location, "b", delete_source=delete)
    assert support.snapshot(tmp_path / "a", tmp_path / "b") == before


@pytest.mark.parametrize("delete", [True, False])
def test_two_stores_over_the_same_directory(two, tmp_path, delete):
    stores = two(folders=("a", "a"))
    location = stores["a"].add("one", b"one").location
    with pytest.raises(errors.Duplicate):
        stores.migrate(location, "b", delete_source=delete)
    assert (tmp_path / "a" / "one").read_bytes() == b"one"


@pytest.fixture
def bind(tmp_path):
    """Return a function that mounts a folder on another."""
    mounted = []

    def mount(source, target):
        for each in (source, target):
            each.mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", source, target], check=True)
        mounted.append(target)

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.root
def test_a_directory_that_is_mounted_twice(two, tmp_path, bind):
    """Moves a file to itself, by another way."""
    bind(tmp_path / "a", tmp_path / "b")
    stores = two()
    location = stores["a"].add("one", b"one").location
    for delete in (True, False):
        with pytest.raises(errors.Duplicate):
            stores.migrate(location, "b", delete_source=delete)
    assert (tmp_path / "a" / "one").read_bytes() == b"one"


def test_a_move_that_was_cut_short_is_completed(two, tmp_path):
    """Kills a move after its first half: the file has both names."""
    stores = two()
    location = stores["a"].add("one", b"one").location
    (tmp_path / "b").mkdir()
    os.link(tmp_path / "a" / "one", tmp_path / "b" / "one")
    stores.migrate(location, "b", delete_source=True)
    assert support.names(tmp_path / "a") == []
    assert (tmp_path / "b" / "one").read_bytes() == b"one"


def test_a_move_into_one_of_several_directories(two, tmp_path):
    stores = two(b=f"filesystem_store_datadirs = {tmp_path / 'b'}:1\nfilesystem_store_datadirs = {tmp_path / 'c'}:2\n")
    for name in ("one", "two"):
        stores["a"].add(name, name.encode())
    stores.migrate(f"file://{tmp_path}/a/one", "b", delete_source=True)
    assert (tmp_path / "c" / "one").read_bytes() == b"one"
    (tmp_path / "b" / "two").write_bytes(b"another")
    with pytest.raises(errors.Duplicate):
        stores.migrate(f"file://{tmp_path}/a/two", "b", delete_source=True)
    assert (tmp_path / "a" / "two").read_bytes() == b"two"
    assert not (tmp_path / "c" / "two").exists()


def test_an_image_that_is_not_there(two, tmp_path):
    stores = two()
    stores["a"].add("other", b"other")
    for delete in (True, False):
        with pytest.raises(errors.NotFound):
            stores.migrate(f"file://{tmp_path}/a/one", "b", delete_source=delete)
    assert support.names(tmp_path / "a") == ["other"]
    assert support.names(tmp_path / "b") == []


@pytest.mark.root
def test_another_file_system_gets_the_bytes(two, tmp_path, mount_tmpfs):
    mount_tmpfs(tmp_path / "b", 64 * MIB)
    stores = two()
    data = support.payload(9 * MIB)
    location = stores["a"].add("one", data).location
    record = stores.migrate(location, "b", delete_source=True)
    assert record.digests["sha512"] == support.sha512(data)
    assert (tmp_path / "b" / "one").read_bytes() == data
    assert support.names(tmp_path / "a") == []


class TestInThisProcess:
    """What is shown by failing calls of this process."""

    @pytest.fixture
    def stores(self, make_stores, tmp_path):
        """Return two file stores."""
        return make_stores(
            "[DEFAULT]\nenabled_backends = a:file, b:file\n[glance_store]\ndefault_backend = a\n"
            "[backend_defaults]\nretry_attempts = 1\nprobe_interval = 0\n"
            f"[a]\nfilesystem_store_datadir = {tmp_path / 'a'}\n[b]\nfilesystem_store_datadir = {tmp_path / 'b'}\n"
        )

    def test_the_order_of_a_durable_move(self, stores, tmp_path, monkeypatch):
        """Watches the calls: the new name, to the disk, then the old name goes, to the disk."""
        location = stores["a"].add("one", b"one").location
        stores["b"].probe()
        made = []

        def note(name, real):
            def noted(*arguments, **more):
                made.append(name)
                return real(*arguments, **more)

            return noted

        for name in ("link", "fsync", "unlink"):
            monkeypatch.setattr(os, name, note(name, getattr(os, name)))
        stores.migrate(location, "b", delete_source=True)
        assert made == ["link", "fsync", "unlink", "fsync"]

    @pytest.mark.parametrize("name", ["chmod", "fsync", "unlink"])
    def test_a_move_that_fails_in_the_middle_leaves_the_file_where_it_was(self, stores, tmp_path, monkeypatch, name):
        location = stores["a"].add("one", b"one").location
        stores["b"].probe()
        (tmp_path / "a" / "one").chmod(0o600)

        def fail(*arguments, **more):
            monkeypatch.undo()
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, name, fail)
        if name == "chmod":
            monkeypatch.setattr(stores["b"]._driver, "mode", 0o644)
        with pytest.raises(errors.StoreUnavailable):
            stores.migrate(location, "b", delete_source=True)
        assert (tmp_path / "a" / "one").read_bytes() == b"one"
        assert support.names(tmp_path / "b") == []

    def test_what_may_not_be_renamed_is_copied(self, stores, tmp_path, monkeypatch):
        """Refuses the second name to a file that belongs to another user, as protected_hardlinks does."""
        location = stores["a"].add("one", b"one").location
        before = seen(tmp_path / "a" / "one").st_ino
        real = os.link

        def refuse(name, *arguments, **more):
            if name == "one":
                raise PermissionError(1, "Operation not permitted")
            real(name, *arguments, **more)

        monkeypatch.setattr(os, "link", refuse)
        stores.migrate(location, "b", delete_source=True)
        assert (tmp_path / "b" / "one").read_bytes() == b"one"
        assert seen(tmp_path / "b" / "one").st_ino != before
        assert support.names(tmp_path / "a") == []

    def test_a_file_that_is_cut_off_while_it_is_copied(self, stores, tmp_path, monkeypatch):
        location = stores["a"].add("one", support.payload(3 * MIB)).location
        copied = _posix_copy.copy_range

        def cut(source, target, offset, length):
            os.truncate(tmp_path / "a" / "one", MIB)
            return copied(source, target, offset, length)

        monkeypatch.setattr(_posix_copy, "copy_range", cut)
        with pytest.raises(errors.StoreLibError):
            stores.copy(location, "b")
        assert support.names(tmp_path / "b") == []
