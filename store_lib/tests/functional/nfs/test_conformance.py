"""The conformance suite on shares of NFS 4.2, and of NFS 3 in long runs."""

import contextlib

import pytest

from store_lib.conformance import Conformance
from store_lib.tests.functional.nfs.conftest import LASTING, Share, mount, unmount


@pytest.fixture(scope="class")
def shares(request, _relay, tmp_path_factory):
    """Return two shares, mounted and marked, by the stores' names, and the folder of their mount points."""
    folder = tmp_path_factory.mktemp("shares")
    found = {name: Share() for name in ("it", "other")}
    for name, share in found.items():
        point = folder / name
        point.mkdir()
        mount(share, point, request.cls.options)
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
    options = "vers=4.2"

    @pytest.fixture
    def store_config(self, shares):
        """Return the configuration of two stores on the shares."""
        shares, folder = shares
        self.share, self.point = shares["it"], folder / "it"
        self.foreign = (f"nfs://127.0.0.1{self.share.export}0/image", "nfs://127.0.0.2/other/image")
        groups = [
            f"[{name}]\nnfs_host = 127.0.0.1\nnfs_export = {share.export}\nnfs_mount = false\n"
            f"nfs_mount_point_base = {folder / name}\n"
            for name, share in shares.items()
        ]
        return "[DEFAULT]\nenabled_backends = it:nfs, other:nfs\n" + "".join(groups)

    @contextlib.contextmanager
    def vanish(self, place):
        """Unmount the share."""
        unmount(self.point)
        try:
            yield
        finally:
            mount(self.share, self.point, self.options)


@pytest.mark.long
class TestNfs3(TestNfs):
    """NFS 3."""

    options = "vers=3,nolock"
