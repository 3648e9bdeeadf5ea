"""The directory of a store cannot be written, disappears, comes back, or becomes something else."""

import os
import shutil
import subprocess
import threading

import pytest

from store_lib import Status, errors
from store_lib.drivers import _file_transfer, _posix
from store_lib.tests import support

MIB = support.MIB
PART = 256 * support.KIB
DATA = support.payload(9 * PART)


@pytest.fixture
def store(make_file_store):
    """Return a file store that writes in small parts."""
    return make_file_store(part_size=PART)


@pytest.fixture
def images(tmp_path):
    """Return the path of the store's directory."""
    return tmp_path / "images"


@pytest.fixture
def record(store):
    """Return the record of an image that is there."""
    return store.add("old", DATA)


def _refused(store, record, *, reading=True):
    """Try everything while the directory is away; nothing may say that the image is not there."""
    verbs = [lambda: store.add("new", DATA), lambda: store.delete(record.location)]
    if reading:
        verbs += [
            lambda: store.stat(record.location),
            lambda: store.open(record.location),
            lambda: list(store.list()),
            store.capacity,
            lambda: list(store.leftovers()),
            store.sweep,
        ]
    for verb in verbs:
        with pytest.raises(errors.StoreUnavailable) as caught:
            verb()
        assert caught.value.store == "it"
        assert str(caught.value.message)
    assert store.probe().status is Status.DOWN


def _works(store, record):
    assert store.probe().status in (Status.UP, Status.DEGRADED)
    assert support.content(store, record.location) == DATA
    added = store.add("next", DATA)
    assert support.content(store, added.location) == DATA
    store.delete(added.location)


def test_moved_away_and_back(store, images, record, tmp_path):
    """The directory is renamed while the store is in use: unavailable; renamed back: usable as before."""
    os.rename(images, tmp_path / "aside")
    _refused(store, record)
    assert support.names(tmp_path / "aside") == ["old"]
    assert not images.exists()
    os.rename(tmp_path / "aside", images)
    _works(store, record)


def test_removed_and_made_again(store, images, record, caplog):
    """The directory is removed with all in it, then made again: NotFound only from then on."""
    shutil.rmtree(images)
    _refused(store, record)
    images.mkdir()
    with pytest.raises(errors.NotFound):
        store.stat(record.location)
    assert "another directory" in caplog.text
    _works(store, store.add("old", DATA))


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_replaced_by_a_link(store, images, record, tmp_path, target):
    """A link takes the directory's place: nothing is read or written where it leads."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "old").write_bytes(b"theirs")
    before = support.snapshot(elsewhere)
    os.rename(images, tmp_path / "aside")
    os.symlink(tmp_path / target, images)
    _refused(store, record)
    assert support.snapshot(elsewhere) == before
    os.unlink(images)
    os.rename(tmp_path / "aside", images)
    _works(store, record)


def test_a_folder_above_replaced_by_a_link(make_file_store, tmp_path):
    """A link takes the place of a folder above the directory: nothing is read or written where it leads."""
    store = make_file_store(filesystem_store_datadir=tmp_path / "above" / "images")
    record = store.add("old", DATA)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "images").mkdir(parents=True)
    (elsewhere / "images" / "old").write_bytes(b"theirs")
    before = support.snapshot(elsewhere)
    os.rename(tmp_path / "above", tmp_path / "aside")
    os.symlink(elsewhere, tmp_path / "above")
    _refused(store, record)
    assert support.snapshot(elsewhere) == before
    os.unlink(tmp_path / "above")
    os.rename(tmp_path / "aside", tmp_path / "above")
    _works(store, record)


@pytest.mark.parametrize("what", ["file", "fifo"])
def test_replaced_by_something_else(store, images, record, tmp_path, what):
    """A file takes the directory's place."""
    os.rename(images, tmp_path / "aside")
    images.write_bytes(b"theirs") if what == "file" else os.mkfifo(images)
    _refused(store, record)
    os.unlink(images)
    os.rename(tmp_path / "aside", images)
    _works(store, record)


@pytest.mark.parametrize("what", ["file", "folder above is a file"])
def test_no_directory_from_the_start(make_file_store, tmp_path, what):
    """The configured path is a file, or leads through one."""
    (tmp_path / "file").write_bytes(b"theirs")
    store = make_file_store(filesystem_store_datadir=tmp_path / "file" / ("images" if "above" in what else ""))
    with pytest.raises(errors.StoreUnavailable):
        store.add("one", b"x")
    assert (tmp_path / "file").read_bytes() == b"theirs"


class Change:
    """Something that happens to the directory, once, when it is called."""

    def __init__(self, what, images, aside):
        self.done = False
        self._what = what
        self._images = images
        self._aside = aside

    def __call__(self):
        if self.done:
            return
        self.done = True
        if self._what.startswith("removed"):
            shutil.rmtree(self._images)
        else:
            os.rename(self._images, self._aside)
        if self._what.endswith("made again"):
            self._images.mkdir()
        elif self._what.endswith("by a link"):
            os.symlink(self._aside, self._images)
        elif self._what.endswith("by a file"):
            self._images.touch()

    def mend(self):
        """Put the directory back, or one without images where it was removed."""
        if self._images.is_symlink() or self._images.is_file():
            self._images.unlink()
        if self._images.exists() and self._aside.exists():
            self._images.rmdir()
        if self._aside.exists():
            os.rename(self._aside, self._images)
        self._images.mkdir(exist_ok=True)


def _source(when, change, begun):
    """Yield an image, with the change after the first parts or after the last byte."""
    for index, piece in enumerate(support.pieces(DATA, PART)):
        if index == 5 and when == "first part":
            assert begun.is_set()
            change()
        yield piece
    if when == "last byte":
        assert begun.is_set()
        change()


def _during_an_add(when, change, monkeypatch):
    """Have the change happen at that moment of the next add; return the source for that."""
    begun = threading.Event()
    start, publish = _file_transfer.FileUpload.start, _posix.publish

    def begin(upload):
        if when == "start":
            change()
        start(upload)
        begun.set()

    def end(*arguments):
        if when == "publish":
            change()
        publish(*arguments)

    monkeypatch.setattr(_file_transfer.FileUpload, "start", begin)
    monkeypatch.setattr(_posix, "publish", end)
    return _source(when, change, begun)


CHANGES = [
    "moved away",
    "removed",
    "moved away and made again",
    "removed and made again",
    "moved away and replaced by a link",
    "moved away and replaced by a file",
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("when", ["start", "first part", "last byte", "publish"])
def test_in_the_middle_of_an_add(store, images, tmp_path, monkeypatch, temporary, change, when):
    """The directory changes while an image is written, and just before its name is given: no image lands anywhere."""
    aside = tmp_path / "aside"
    old = store.add("old", b"old")
    happening = Change(change, images, aside)
    source = _during_an_add(when, happening, monkeypatch)
    with pytest.raises(errors.StoreLibError) as caught:
        store.add("new", source)
    assert isinstance(caught.value, errors.StoreUnavailable)
    assert happening.done
    for folder in (images, aside):
        if folder.is_dir() and not folder.is_symlink():
            assert set(support.names(folder)) <= {"old"}
    happening.mend()
    if (images / "old").exists():
        assert support.content(store, old.location) == b"old"
    _works(store, store.add("new", DATA))


def test_a_reader_goes_on(store, images, record, tmp_path):
    """The directory is moved away while an image is read: the open reader reads to the end."""
    with store.open(record.location) as reader:
        head = reader.read(1000)
        os.rename(images, tmp_path / "aside")
        assert head + reader.read() == DATA
    with pytest.raises(errors.StoreUnavailable):
        store.open(record.location)


# -- read-only --------------------------------------------------------------------------------------------------------


def _remount(path, how):
    subprocess.run(["mount", "-o", f"remount,{how}", path], check=True)


@pytest.mark.root
def test_remounted_read_only(store, images, mount_tmpfs, temporary):
    """The file system becomes read-only: reading works, changes are refused, all is well once it is writable."""
    mount_tmpfs(images, 64 * MIB)
    record = store.add("old", DATA)
    _remount(images, "ro")
    assert support.content(store, record.location) == DATA
    for _ in range(2):  # before the store knows and after
        for verb in (lambda: store.add("new", DATA), lambda: store.delete(record.location)):
            with pytest.raises((errors.Forbidden, errors.ReadOnlyStore)):
                verb()
        assert store.probe().status is Status.READ_ONLY
    _remount(images, "rw")
    assert store.probe().status is Status.UP
    _works(store, record)


def _as_nobody(function):
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    try:
        return function()
    except errors.StoreLibError as error:
        return [type(error).__name__, error.store, str(error)]


@pytest.mark.root
@pytest.mark.parametrize("probed", [True, False])
def test_not_writable_by_this_user(make_file_store, open_folder, probed, temporary):
    """Another user works on a directory of mode 755: reading works, changes are refused."""
    store = make_file_store(filesystem_store_datadir=open_folder / "images", filesystem_store_file_perm="644")
    record = store.add("old", b"data")

    def refused():
        told = [support.content(store, record.location).decode(), store.health.status.value]
        if probed:
            told.append(store.probe().status.value)
        for verb in (lambda: store.add("new", DATA), lambda: store.delete(record.location)):
            try:
                verb()
            except (errors.Forbidden, errors.ReadOnlyStore):
                told.append("refused")
        return told

    told = support.in_child(_as_nobody, refused)
    assert told[0] == "data"
    assert told[-2:] == ["refused", "refused"]
    assert support.names(open_folder / "images") == ["old"]


@pytest.mark.root
def test_permission_lost_between_probe_and_use(make_file_store, open_folder):
    """The directory loses its write permission after the store was found usable: Forbidden, usable once mended."""
    folder = open_folder / "images"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    store = make_file_store(filesystem_store_datadir=folder)

    def use():
        record = store.add("old", b"data")
        os.chmod(folder, 0o555)
        told = []
        for verb in (lambda: store.add("new", DATA), lambda: store.delete(record.location)):
            try:
                verb()
            except (errors.Forbidden, errors.ReadOnlyStore) as error:
                told.append(type(error).__name__)
        os.chmod(folder, 0o755)
        store.probe()
        store.add("new", DATA)
        return told

    assert support.in_child(_as_nobody, use) == ["Forbidden", "Forbidden"]
    assert support.names(folder) == ["new", "old"]


@pytest.mark.root
@pytest.mark.parametrize("below", ["", "images"])
def test_not_to_be_entered_by_this_user(make_file_store, open_folder, below):
    """Another user may not enter the directory, or the folder above it: never NotFound."""
    (open_folder / "closed").mkdir(mode=0o700)
    folder = open_folder / "closed" / below
    store = make_file_store(filesystem_store_datadir=folder)
    uri = f"file://{folder}/x"
    for verb in (lambda: store.stat(uri), lambda: store.delete(uri), lambda: store.add("x", b"x")):
        assert support.in_child(_as_nobody, verb)[0] in ("StoreUnavailable", "Forbidden", "ReadOnlyStore")


# -- mounts -----------------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize("below", ["", "deep/images"])
@pytest.mark.parametrize("underneath", [True, False])
def test_the_mount_is_gone(make_file_store, mount_tmpfs, tmp_path, below, underneath):
    """The file system is unmounted: nothing goes into the directory underneath, even where that has the same path."""
    mount = tmp_path / "mount"
    directory = mount / below
    if underneath:
        directory.mkdir(parents=True)
    mount_tmpfs(mount, 64 * MIB)
    store = make_file_store(filesystem_store_datadir=directory)
    record = store.add("old", DATA)
    before_bytes = (directory / "old").read_bytes()
    subprocess.run(["umount", "-l", mount], check=True)
    before = support.snapshot(mount)
    for _ in range(2):
        _refused(store, record)
    assert support.snapshot(mount) == before
    # Another file system in its place is taken for the same one grown empty, as after a repair:
    mount_tmpfs(mount, 64 * MIB)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "old").write_bytes(before_bytes)
    _works(store, record)


@pytest.mark.root
def test_mounted_after_the_first_use(store, images, record, mount_tmpfs):
    """A file system is mounted over the directory: it is used from then on, the covered images are not there."""
    mount_tmpfs(images, 64 * MIB)
    with pytest.raises(errors.NotFound):
        store.stat(record.location)
    _works(store, store.add("old", DATA))
    subprocess.run(["umount", "-l", images], check=True)
    _refused(store, record)
