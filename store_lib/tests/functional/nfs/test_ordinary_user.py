"""A service that is not root: who mounts for it, and what it is told when nobody does."""

import pathlib
import shutil
import subprocess
import sys

import pytest

from store_lib.tests.functional.nfs.conftest import TOP, mounted

USER = 65534
#: Makes a store from a configuration file, prepares its share, adds an image and reads it.
PROGRAM = """
import sys
from store_lib import Stores, errors
stores = Stores.from_file(sys.argv[1])
store = stores["it"]
try:
    store.initialise()
    record = store.add("image-1", b"data")
    with store.open(record.location) as reader:
        print(reader.read())
except errors.StoreLibError as error:
    print(error)
finally:
    stores.close()
"""


@pytest.fixture
def run_as_user(make_share, tmp_path):
    """Return a function that runs the program as an ordinary user with a root helper, and a share that it may write."""
    for path in (pathlib.Path(sys.executable).resolve(), tmp_path):
        for parent in path.parents:
            if TOP not in (parent, *parent.parents):  # of the guest alone
                parent.chmod(parent.stat().st_mode | 0o711)
    share = make_share()
    share.folder.chmod(0o777)
    own = tmp_path / "own"
    own.mkdir()
    shutil.chown(own, USER, USER)
    tmp_path.chmod(0o755)

    def run(root_helper):
        config = tmp_path / "store.conf"
        config.write_text(
            "[DEFAULT]\nenabled_backends = it:nfs\n[it]\nnfs_host = 127.0.0.1\n"
            f"nfs_export = {share.export}\nnfs_version = 4.2\nnfs_mount_point_base = {own}\n"
            f"nfs_root_helper = {root_helper}\nfilesystem_store_timeout = 60\n"
        )
        user = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"]
        done = subprocess.run(
            [*user, sys.executable, "-c", PROGRAM, config],
            cwd=TOP,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
        )
        print(done.stdout, done.stderr)
        assert done.returncode == 0, done.stderr
        return share, done.stdout

    return run


def test_an_ordinary_user_mounts_by_the_root_helper(run_as_user, tmp_path):
    # A program that everybody may run as root, as sudo with rootwrap is for its user.
    helper = tmp_path / "as-root"
    shutil.copy("/usr/bin/setpriv", helper)
    helper.chmod(0o4755)
    share, said = run_as_user(f"{helper} --reuid 0 --regid 0 --clear-groups")
    assert said == "b'data'\n"
    assert share.names == ["image-1"]
    assert (share.folder / "image-1").stat().st_uid == USER
    assert len(mounted()) == 1


def test_an_ordinary_user_without_one_is_told_what_to_configure(run_as_user):
    share, said = run_as_user("")
    assert "cannot mount 127.0.0.1:" in said
    for words in ("nfs_root_helper", "privsep-helper", "sudoers", "nfs_mount = false"):
        assert words in said
    assert (share.names, mounted()) == ([], [])
