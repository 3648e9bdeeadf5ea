"""A migration in whose middle something breaks: the source stays, and nothing of the copy."""

import contextlib
import os
import shutil
import subprocess

import pytest

from store_lib import Stores, errors
from store_lib.drivers import _posix, _posix_copy
from store_lib.tests import support

MIB = support.MIB
SIZE = 12 * MIB + 3


@pytest.fixture
def config(tmp_path):
    """Return the path of a configuration of the file stores ``a`` and ``b`` in the folders of these names."""
    path = tmp_path / "two.conf"
    path.write_text(
        "[DEFAULT]\nenabled_backends = a:file, b:file\n[glance_store]\ndefault_backend = a\n"
        "[backend_defaults]\nretry_attempts = 1\nprobe_interval = 0\npart_size = 1048576\n"
        f"[a]\nfilesystem_store_datadir = {tmp_path / 'a'}\n[b]\nfilesystem_store_datadir = {tmp_path / 'b'}\n"
    )
    return path


@pytest.fixture
def stores(config, monkeypatch):
    """Return the stores; what they copy inside the kernel goes in several calls."""
    monkeypatch.setattr("store_lib.drivers._file_copy.RANGE", 4 * MIB)
    with Stores.from_file(config) as made:
        yield made


@pytest.fixture
def location(stores):
    """Return the location of an image in ``a``."""
    return stores["a"].add("one", support.payload(SIZE)).location


@pytest.fixture(params=["by the bytes", "inside the kernel"])
def meanwhile(request, monkeypatch):
    """Return a function that has something happen in the middle of the copy, whichever way it goes."""

    def happen(act):
        calls = []
        module, name, number = (
            (_posix, "write", 6) if request.param == "by the bytes" else (_posix_copy, "copy_range", 2)
        )
        real = getattr(module, name)

        def noted(*arguments):
            calls.append(name)
            if len(calls) == number:
                act()
            return real(*arguments)

        monkeypatch.setattr(module, name, noted)
        if request.param == "by the bytes":
            monkeypatch.setattr(_posix_copy, "copy_range", lambda *arguments: False)
        return calls

    return happen


def migrate(stores, location):
    """Migrate with everything that makes the source go, read back, so that it is no rename."""
    return stores.migrate(location, "b", delete_source=True, verify="read")


def check_source(stores, location):
    """See that the source is as it was."""
    assert support.sha512(support.content(stores["a"], location)) == support.sha512(support.payload(SIZE))


def test_nothing_breaks(stores, location, tmp_path, meanwhile):
    """Shows that the middle is reached: the other tests would pass without it."""
    happened: list[int] = []
    calls: list[str] = meanwhile(lambda: happened.append(len(calls)))
    record = migrate(stores, location)
    assert happened
    assert len(calls) > happened[0]
    assert support.content(stores["b"], record.location) == support.payload(SIZE)
    assert support.names(tmp_path / "a") == []


def test_the_destination_disappears(stores, location, tmp_path, meanwhile):
    """Renames the destination's directory away."""
    meanwhile(lambda: os.rename(tmp_path / "b", tmp_path / "away"))
    with pytest.raises(errors.StoreUnavailable) as caught:
        migrate(stores, location)
    assert caught.value.store == "b"
    check_source(stores, location)
    assert support.names(tmp_path / "away") == []
    os.rename(tmp_path / "away", tmp_path / "b")
    migrate(stores, location)
    assert support.names(tmp_path / "a") == []


def test_the_destination_fails(stores, location, tmp_path, meanwhile):
    """Has the disk fail to write."""

    def fail():
        raise OSError(5, "Input/output error")

    meanwhile(fail)
    with pytest.raises(errors.StoreUnavailable) as caught:
        migrate(stores, location)
    assert caught.value.store == "b"
    check_source(stores, location)
    assert support.names(tmp_path / "b") == []


@pytest.mark.root
def test_the_destination_fills_up(stores, location, tmp_path, mount_tmpfs, monkeypatch):
    """Others take the room that was there at the start."""
    small = mount_tmpfs(tmp_path / "b", 32 * MIB)
    real, calls = _posix.write, []

    def write(*arguments):
        calls.append(1)
        if len(calls) == 5:
            with contextlib.suppress(OSError):
                (small / "theirs").write_bytes(bytes(32 * MIB))
        return real(*arguments)

    monkeypatch.setattr(_posix, "write", write)
    with pytest.raises(errors.StoreFull) as caught:
        stores.migrate(location, "b", delete_source=True)
    assert caught.value.store == "b"
    check_source(stores, location)
    assert support.names(small) == ["theirs"]
    os.unlink(small / "theirs")
    record = stores.migrate(location, "b", delete_source=True)
    assert support.content(stores["b"], record.location) == support.payload(SIZE)
    assert support.names(tmp_path / "a") == []


@pytest.mark.root
def test_the_destination_is_too_small(stores, location, tmp_path, mount_tmpfs):
    small = mount_tmpfs(tmp_path / "b", 4 * MIB)
    with pytest.raises(errors.StoreFull):
        stores.migrate(location, "b", delete_source=True)
    check_source(stores, location)
    assert support.names(small) == []


@pytest.mark.root
def test_the_destination_is_unmounted(stores, location, tmp_path, mount_tmpfs, monkeypatch):
    """Takes the file system away; what lies below it is no place for images."""
    small = mount_tmpfs(tmp_path / "b", 32 * MIB)
    real, calls = _posix.write, []

    def write(*arguments):
        calls.append(1)
        if len(calls) == 5:
            subprocess.run(["umount", "-l", small], check=True)
        return real(*arguments)

    monkeypatch.setattr(_posix, "write", write)
    with pytest.raises(errors.StoreUnavailable):
        stores.migrate(location, "b", delete_source=True)
    check_source(stores, location)
    assert support.names(tmp_path / "b") == []


def test_the_source_disappears(stores, location, tmp_path, meanwhile):
    """Renames the source's directory away: an open file is read to its end, but what is gone cannot be deleted."""
    meanwhile(lambda: os.rename(tmp_path / "a", tmp_path / "away"))
    with pytest.raises(errors.StoreLibError) as caught:
        migrate(stores, location)
    assert caught.value.store == "a"
    assert (tmp_path / "away" / "one").stat().st_size == SIZE
    left = [name for name in support.names(tmp_path / "b") if name.startswith(".")]
    assert left == []


def test_the_source_is_deleted_by_another(stores, location, tmp_path, meanwhile):
    """Removes the image that is copied: either the copy is whole, or there is none."""
    meanwhile(lambda: os.unlink(tmp_path / "a" / "one"))
    with contextlib.suppress(errors.NotFound):
        record = migrate(stores, location)
        assert support.content(stores["b"], record.location) == support.payload(SIZE)
    assert [name for name in support.names(tmp_path / "b") if name.startswith(".")] == []


@pytest.mark.parametrize("delete", [True, False])
def test_an_interrupt(stores, location, tmp_path, meanwhile, delete):
    def interrupt():
        raise KeyboardInterrupt

    meanwhile(interrupt)
    with pytest.raises(KeyboardInterrupt):
        stores.migrate(location, "b", delete_source=delete, verify="read")
    check_source(stores, location)
    assert support.names(tmp_path / "b") == []


def test_a_kill(config, stores, location, tmp_path, meanwhile):
    """Kills the process that migrates; the next one does it all, and what the first left is swept."""

    def child():
        with Stores.from_file(config) as mine:
            meanwhile(lambda: os.kill(os.getpid(), 9))
            migrate(mine, location)

    with support.Child(child) as killed:
        assert os.WTERMSIG(killed.wait()) == 9
    check_source(stores, location)
    assert "one" not in support.names(tmp_path / "b")
    stores["b"].sweep()
    assert support.names(tmp_path / "b") == []
    migrate(stores, location)
    assert support.names(tmp_path / "a") == []


@pytest.mark.parametrize("done", [True, False])
def test_a_commit_whose_answer_is_lost(stores, location, tmp_path, monkeypatch, done):
    """Gives the copy its name, or does not, and loses the answer, as a file server does that is asked twice."""
    real, calls = os.link, []

    def link(*arguments, **more):
        calls.append(1)
        if done:
            real(*arguments, **more)
        raise FileExistsError(17, "File exists")

    monkeypatch.setattr(os, "link", link)
    if done:
        record = migrate(stores, location)
        assert support.content(stores["b"], record.location) == support.payload(SIZE)
        assert support.names(tmp_path / "a") == []
    else:
        with pytest.raises(errors.Duplicate):
            migrate(stores, location)
        check_source(stores, location)
    assert calls


def test_the_folder_of_the_destination_is_replaced(stores, location, tmp_path, meanwhile):
    """Puts another directory in the place of the destination's."""

    def replace():
        os.rename(tmp_path / "b", tmp_path / "away")
        (tmp_path / "b").mkdir()

    meanwhile(replace)
    with pytest.raises(errors.StoreUnavailable):
        migrate(stores, location)
    check_source(stores, location)
    assert support.names(tmp_path / "b") == []
    assert support.names(tmp_path / "away") == []
    shutil.rmtree(tmp_path / "away")
