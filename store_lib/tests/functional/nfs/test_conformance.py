"""The conformance suite on shares of NFS 4.2; of NFS 3, and for stores of type file, in long runs."""

import contextlib

import pytest

from store_lib.conformance import Conformance, behaviours
from store_lib.tests.functional.nfs.conftest import LASTING, Share, mount, mounted, unmount


@pytest.fixture(scope="class")
def shares(request, _relay, tmp_path_factory):
    """Return two shares, mounted and marked, by the stores' names, and the folder of their mount points."""
    folder = tmp_path_factory.mktemp("shares")
    found = {name: Share() for name in ("it", "other")}
    for name, share in found.items():
        point = folder / name
        point.mkdir()
        mount(share, point, version=request.cls.version)
        LASTING.add(str(point))
        (share.folder / ".store_lib").write_text(name)
    yield found, folder
    LASTING.clear()
    for name in found:
        unmount(folder / name)


class TestNfs(Conformance):
    """NFS 4.2."""

    other_id = "other"
    #: Mounting for each test and starting helpers takes most of the time.
    keep_stores = True
    version = "4.2"
    kind = "nfs"

    @pytest.fixture
    def store_config(self, shares):
        """Return the configuration of two stores on the shares."""
        shares, folder = shares
        for name, share in shares.items():
            if str(folder / name) not in mounted():  # a test that hung was helped out
                mount(share, folder / name, version=self.version)
        self.share, self.point = shares["it"], folder / "it"
        self.foreign = self.elsewhere(self.share, self.point)
        few = "filesystem_store_thread_pool_size = 3\n"  # helpers: starting one takes long in the guest
        groups = [f"[{name}]\n{few}{self.section(share, folder / name)}" for name, share in shares.items()]
        enabled = ", ".join(f"{name}:{self.kind}" for name in shares)
        return f"[DEFAULT]\nenabled_backends = {enabled}\n" + "".join(groups)

    def section(self, share, point):
        """Return the options of a store on a share."""
        return f"nfs_host = 127.0.0.1\nnfs_export = {share.export}\nnfs_mount = false\nnfs_mount_point_base = {point}\n"

    def elsewhere(self, share, point):
        """Return locations on other shares."""
        return f"nfs://127.0.0.1{share.export}0/image", "nfs://127.0.0.2/other/image"

    @contextlib.contextmanager
    def vanish(self, place):
        """Unmount the share."""
        unmount(self.point)
        try:
            yield
        finally:
            mount(self.share, self.point, version=self.version)


class _File:
    """Stores of type file whose directories are shares."""

    kind = "file"

    def section(self, share, point):
        """Return the options of a store on a share."""
        return (
            f"filesystem_store_datadir = {point}\nfilesystem_is_nfs_configured = true\n"
            f"filesystem_nfs_host = 127.0.0.1\nfilesystem_nfs_share_path = {share.export}\n"
            "filesystem_nfs_mount = false\n"
        )

    def elsewhere(self, share, point):
        """Return locations in other directories."""
        return f"file://{point}-other/image", f"file://{point.parent}/image"


class TestFileOnNfs(_File, TestNfs):
    """They differ by their locations; the rest of them is that of type nfs."""


for _behaviour in behaviours():
    if _behaviour.topic != "identity":
        setattr(TestFileOnNfs, _behaviour.test, None)


@pytest.mark.long
class TestWholeFileOnNfs(_File, TestNfs):
    """The whole of it all the same."""


@pytest.mark.long
class TestNfs3(TestNfs):
    """NFS 3."""

    version = "3"
