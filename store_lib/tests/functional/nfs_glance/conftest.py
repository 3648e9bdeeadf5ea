"""A real Glance on an NFS share, inside the guest.

``tools/run-tests "Glance on NFS"``, or ``tools/guest run -- .venv/bin/python -m pytest
store_lib/tests/functional/nfs_glance`` after ``tools/glance nfs``.
"""

import pathlib

import pytest

from store_lib.tests.functional.glance import service
from store_lib.tests.functional.nfs.conftest import (
    _relay,
    _unmount,
    _watchdog,
    _watched,
    in_the_guest_alone,
    make_share,
)

__all__ = ["_relay", "_unmount", "_watchdog", "_watched", "make_share"]


def pytest_collection_modifyitems(items):
    folder = pathlib.Path(__file__).parent
    in_the_guest_alone(items, folder, "Glance on NFS", 900)
    for item in items:
        if folder in pathlib.Path(item.fspath).parents:
            item.add_marker("functional")


@pytest.fixture
def glance(make_share, tmp_path, monkeypatch):
    """Return a Glance whose only store is a share, in the form that every Glance knows."""
    assert service.PYTHON.exists(), "run tools/glance first"
    monkeypatch.setattr(service, "PATIENCE", 240.0)  # what it imports takes long in the guest
    share = make_share()
    (share.folder / ".store_lib").write_text("{}")
    running = service.Glance(tmp_path / "glance", [Place(share, tmp_path / "images")], service.make_database(tmp_path))
    running.start()
    yield running
    running.stop()


class Place:
    """A store of type file whose directory is a share.

    :param point: where it is to be mounted.
    """

    kind, store = "file", "shared"

    def __init__(self, share, point):
        self.share = share
        self.point = point

    def section(self):
        """Return the options of the store's section."""
        return {
            "filesystem_store_datadir": str(self.point),
            "filesystem_is_nfs_configured": "true",
            "filesystem_nfs_host": "127.0.0.1",
            "filesystem_nfs_share_path": self.share.export,
            "filesystem_nfs_mount_options": "vers=4.2",
            "filesystem_nfs_mount": "false",
            "probe_interval": "0",
        }
