"""The conformance suite on shares of NFS 4.2, and of NFS 3 in long runs."""

import contextlib

import pytest

from store_lib.conformance import Conformance
from store_lib.tests.functional.nfs.conftest import Share, mount, unmount


class TestNfs(Conformance):
    """NFS 4.2."""

    other_id = "other"
    options = "vers=4.2"

    @pytest.fixture
    def store_config(self, tmp_path):
        """Return the configuration of two stores on shares that are mounted and marked."""
        groups = []
        for name in ("it", "other"):
            share, point = Share(), tmp_path / name
            point.mkdir()
            mount(share, point, self.options)
            (share.folder / ".store_lib").write_text(name)
            if name == "it":
                self.share, self.point = share, point
            groups.append(
                f"[{name}]\nnfs_host = 127.0.0.1\nnfs_export = {share.export}\nnfs_mount = false\n"
                f"nfs_mount_point_base = {point}\n"
            )
        self.foreign = (f"nfs://127.0.0.1{self.share.export}0/image", "nfs://127.0.0.2/other/image")
        return "[DEFAULT]\nenabled_backends = it:nfs, other:nfs\n" + "".join(groups)

    @contextlib.contextmanager
    def vanish(self, place):
        """Unmount the share."""
        unmount(self.point)
        yield
        mount(self.share, self.point, self.options)


@pytest.mark.long
class TestNfs3(TestNfs):
    """NFS 3."""

    options = "vers=3,nolock"
