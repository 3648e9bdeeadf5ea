"""A service that is not root: who mounts for it, and what it is told when nobody does."""

import pathlib
import shutil
import subprocess
import sys

import pytest

from store_lib.tests import support
from store_lib.tests.functional.nfs.conftest import TOP, mounted, unmount

USER = 65534
#: Makes stores from a configuration file, prepares their shares, adds an image to each and reads it.
PROGRAM = """
import sys
from store_lib import Stores, errors
with Stores.from_file(sys.argv[1]) as stores:
    for name in ("alone", "helped"):
        try:
            stores[name].initialise()
            record = stores[name].add(f"image-{name}", b"data")
            with stores[name].open(record.location) as reader:
                print(reader.read())
        except errors.StoreLibError as error:
            print(str(error).replace(chr(10), " "))
"""


@pytest.fixture
def run_as_user(tmp_path):
    """Return a function that runs the program as an ordinary user and returns what it printed."""
    for path in (pathlib.Path(sys.executable).resolve(), tmp_path):
        for parent in path.parents:
            if TOP not in (parent, *parent.parents):  # of the guest alone
                parent.chmod(parent.stat().st_mode | 0o711)
    tmp_path.chmod(0o755)

    def run(config):
        path = tmp_path / "store.conf"
        path.write_text(config)
        user = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"]
        done = subprocess.run(
            [*user, sys.executable, "-c", PROGRAM, path],
            cwd=TOP,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
        )
        print(done.stdout, done.stderr)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_an_ordinary_user_mounts_by_a_root_helper_and_is_told_so_without_one(make_share, run_as_user, tmp_path):
    share = make_share()
    share.folder.chmod(0o777)
    own = tmp_path / "own"
    own.mkdir()
    shutil.chown(own, USER, USER)
    # A program that everybody may run as root, as sudo with rootwrap is for its user.
    helper = tmp_path / "as-root"
    shutil.copy("/usr/bin/setpriv", helper)
    helper.chmod(0o4755)
    section = (
        f"nfs_host = 127.0.0.1\nnfs_export = {share.export}\nnfs_version = 4.2\nnfs_mount_point_base = {own}\n"
        "filesystem_store_timeout = 60\n"
    )
    alone, helped = run_as_user(
        "[DEFAULT]\nenabled_backends = alone:nfs, helped:nfs\n[glance_store]\ndefault_backend = helped\n"
        f"[alone]\n{section}"
        f"[helped]\n{section}nfs_root_helper = {helper} --reuid 0 --regid 0 --clear-groups\n"
    )
    assert "cannot mount 127.0.0.1:" in alone
    for words in ("nfs_root_helper", "privsep-helper", "sudoers", "nfs_mount = false"):
        assert words in alone
    assert helped == "b'data'"
    assert share.names == ["image-helped"]
    assert (share.folder / "image-helped").stat().st_uid == USER
    (point,) = mounted()
    unmount(point)
    assert support.names(point) == []
