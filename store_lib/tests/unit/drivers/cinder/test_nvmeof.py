"""Volumes by NVMe over Fabrics, without a kernel that has any: os-brick looks at folders in place of the kernel's."""

import os
import threading
import types
from typing import Any

import pytest
from os_brick import utils
from os_brick.initiator import connector as bricks
from os_brick.initiator.connectors import base, nvmeof
from oslo_concurrency import processutils

from store_lib import errors
from store_lib.drivers.cinder.base import PathDevice, connector_of
from store_lib.drivers.cinder.host import Host
from store_lib.drivers.cinder.nvmeof import NvmeofDevice
from store_lib.tests.support import until
from store_lib.tests.unit.drivers.cinder.conftest import VOLUME

NQN = "nqn.2026-11.org.example:a-volume"
CONNECTION = {"target_nqn": NQN, "vol_uuid": VOLUME, "portals": [["127.0.0.2", 4420, "tcp"]]}


class Kernel:
    """Its connections, each a folder with those of its devices."""

    def __init__(self, folder):
        self.folder = folder / "controllers"
        self.gone = folder / "gone"
        self.folder.mkdir()
        self.gone.mkdir()

    def connect(self, name, state="live", nqn=NQN, **devices):
        """Have it be connected to a target; `devices` are names and the volumes."""
        values = {"state": state, "subsysnqn": nqn, "transport": "tcp", "hostnqn": "nqn.host"}
        for what, value in (values | {"address": "traddr=127.0.0.2,trsvcid=4420"}).items():
            (self.folder / name).mkdir(exist_ok=True)
            (self.folder / name / what).write_text(f"{value}\n")
        for device, volume in devices.items():
            (self.folder / name / device).mkdir(exist_ok=True)
            (self.folder / name / device / "uuid").write_text(f"{volume}\n")

    def say(self, name, state):
        """Have it tell the state of a connection."""
        (self.folder / name / "state").write_text(f"{state}\n")

    def end(self, name):
        """Have it end a connection."""
        (self.folder / name).rename(self.gone / f"{name}-{len(list(self.gone.iterdir()))}")

    def names(self):
        """Return the names of its connections."""
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Return a kernel without connections."""
    made = Kernel(tmp_path)
    monkeypatch.setattr(nvmeof, "NVME_CTRL_SYSFS_PATH", f"{made.folder}/")
    monkeypatch.setattr(utils, "get_host_nqn", lambda: "nqn.host")
    return made


@pytest.fixture
def connector(host, kernel, monkeypatch):
    """Return the connector; `asked` is what it has os-brick do, which for itself leaves every connection alone."""
    asked = []

    def write(path, text):
        assert text == "1"
        name, last = path.removeprefix(f"{kernel.folder}/").split("/")
        asked.append([last, name])
        kernel.end(name)

    def disconnect(connection, info, **how):
        asked.append(["os-brick", info])
        found.flushing()

    scsi = types.SimpleNamespace(echo_scsi_command=write)
    made = types.SimpleNamespace(disconnect_volume=disconnect, _linuxscsi=scsi)
    monkeypatch.setattr(Host, "prepare", lambda self: None)
    monkeypatch.setattr(bricks.InitiatorConnector, "factory", lambda *args, **options: made)
    monkeypatch.setattr(base, "synchronized", lambda *names, **how: lambda function: function)
    found: Any = connector_of(host, "nvmeof")
    found.asked, found.scsi, found.flushing, found.SETTLING = asked, scsi, lambda: None, 0.2
    return found


def test_a_killed_process_told_nothing(connector, kernel):
    """The device is found by the volume."""
    kernel.connect("nvme3", nvme3n1="another", nvme3n2=VOLUME)
    connector.detach(CONNECTION, {}, False)
    assert connector.asked == [["os-brick", {"path": "/dev/nvme3n2"}]]
    assert kernel.names() == ["nvme3"]


def test_a_device_that_went_before_its_connection(connector, kernel):
    """Connections without a device are ended, but no others, and no other target's."""
    kernel.connect("nvme3")
    kernel.connect("nvme4", nqn="nqn.another")
    connector.detach(CONNECTION, {"path": "/dev/nvme3n1"}, True)
    assert connector.asked == [["os-brick", {"path": "/dev/nvme3n1"}], ["delete_controller", "nvme3"]]
    assert kernel.names() == ["nvme4"]


def test_a_connection_that_cannot_be_ended(connector, kernel):
    """That is told, unless somebody else has ended it meanwhile."""

    def fail(path, text):
        raise processutils.ProcessExecutionError(exit_code=1)

    def fail_late(path, text):
        kernel.end("nvme3")
        fail(path, text)

    kernel.connect("nvme3")
    connector.scsi.echo_scsi_command = fail
    with pytest.raises(errors.StoreUnavailable, match="cannot detach the volume"):
        connector.detach(CONNECTION, {}, True)
    connector.scsi.echo_scsi_command = fail_late
    connector.detach(CONNECTION, {}, True)
    assert kernel.names() == []


def test_a_target_that_does_not_answer(connector, kernel, caplog):
    """It is left before anything is flushed, unless it is heard of again in time."""
    kernel.connect("nvme3", "connecting", nvme3n1=VOLUME)
    connector.detach(CONNECTION, {"path": "/dev/nvme3n1"}, True)
    assert connector.asked == [["delete_controller", "nvme3"], ["os-brick", {"path": "/dev/nvme3n1"}]]
    assert "does not answer" in caplog.text

    connector.asked.clear()
    kernel.connect("nvme3", "connecting", nvme3n1=VOLUME, nvme3n2="another")
    connector.SETTLING = 60.0
    threading.Timer(0.3, kernel.say, ("nvme3", "live")).start()
    connector.detach(CONNECTION, {"path": "/dev/nvme3n1"}, True)
    assert connector.asked == [["os-brick", {"path": "/dev/nvme3n1"}]]
    assert kernel.names() == ["nvme3"]


def test_a_silent_target_with_other_volumes(connector, kernel, caplog):
    """It stays, and os-brick is not asked to wait for it: that would hold up every other volume of the host."""
    kernel.connect("nvme3", "connecting", nvme3n1=VOLUME, nvme3n2="another")
    connector.detach(CONNECTION, {"path": "/dev/nvme3n1"}, True)
    assert connector.asked == []
    assert kernel.names() == ["nvme3"]
    assert "its connection stays" in caplog.text


def test_a_target_that_falls_silent_while_it_is_left(connector, kernel):
    """Flushing ends: the target is left meanwhile."""
    kernel.connect("nvme3", nvme3n1=VOLUME)

    def flush():
        kernel.say("nvme3", "connecting")
        until(lambda: not kernel.names(), 60)

    connector.flushing = flush
    connector.detach(CONNECTION, {"path": "/dev/nvme3n1"}, True)
    assert connector.asked == [["os-brick", {"path": "/dev/nvme3n1"}], ["delete_controller", "nvme3"]]


def test_closing_is_not_waited_for_without_end(connector, tmp_path, monkeypatch, caplog):
    """It goes on by itself."""
    path = tmp_path / "volume"
    path.write_bytes(b"")
    device = NvmeofDevice(str(path), True, {})
    device.close()
    assert not is_open(device)

    silent, device = threading.Event(), NvmeofDevice(str(path), True, {})

    def flush(closed):
        silent.wait(60)
        os.close(closed._descriptor)

    monkeypatch.setattr(PathDevice, "_leave", flush)
    monkeypatch.setattr(NvmeofDevice, "PATIENCE", 0.1)
    device.close()
    assert "still being flushed" in caplog.text
    assert is_open(device)
    silent.set()
    until(lambda: not is_open(device), 60)


def is_open(device):
    """Return whether the descriptor of a device, which nobody else may have got meanwhile, is open."""
    try:
        os.fstat(device._descriptor)
    except OSError:
        return False
    return True


def test_a_volume_that_the_target_tells_of_by_itself(connector, tmp_path):
    """That it has grown needs no os-brick, which would wait for ten seconds."""
    path = tmp_path / "volume"
    path.write_bytes(bytes(10))
    device = NvmeofDevice(str(path), True, {})
    connector.TOLD = 60.0
    threading.Timer(0.1, os.truncate, (path, 20)).start()
    connector.grow(CONNECTION, device, 20)
    assert device.size() == 20
