"""Volumes that are block devices, without one: os-brick's own fake connector brings a file."""

import os
import threading
import types
from typing import Any

import pytest
from os_brick import exception
from os_brick.initiator import connector as bricks
from os_brick.initiator.connectors.fake import FakeConnector

from store_lib import errors
from store_lib.drivers.cinder import base, block, iscsi, nvmeof
from store_lib.drivers.cinder.host import Host

PROTOCOLS = ("iscsi", "fibre_channel", "nvmeof", "scaleio")
#: Those whose devices go when the host lets go of them.
LETTING_GO = ("iscsi", "fibre_channel")
SIZE = 1024 * 1024
#: What the device is known by.
SEVEN = "7 of a-boot"


class Brick:
    """os-brick's fake, with notes of what it is asked for; fails as it is told."""

    def __init__(self, path):
        self._fake = FakeConnector("")
        self._fake.fake_path = self.fake_path = str(path)
        self._linuxscsi = None
        self.asked, self.connecting, self.disconnecting, self.extending = [], None, lambda: None, lambda: None

    def connect_volume(self, connection_properties):
        """Return the device, or fail."""
        self.asked.append("connect")
        if self.connecting is not None:
            self.connecting()
        return self._fake.connect_volume(connection_properties) | {"scsi_wwn": "3600", "count": None}

    def disconnect_volume(self, connection_properties, device_info, force=False, ignore_errors=False):
        """Keep how it is called."""
        self.asked.append(("disconnect", dict(device_info), force, ignore_errors))
        self.disconnecting()

    def extend_volume(self, connection_properties):
        """Have the device grow, or fail."""
        self.asked.append("extend")
        return self.extending()


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Return folders in place of the kernel's, in which the device `sdx` has the number 7."""
    folder = tmp_path / "sys"
    (folder / "block/sdx").mkdir(parents=True)
    (folder / "block/sdx/size").write_text(f"{SIZE // 512}\n")
    (folder / "block/sdx/diskseq").write_text("7\n")
    monkeypatch.setattr(block, "SYSFS", str(folder / "block"))
    (folder / "boot").write_text("a-boot\n")
    monkeypatch.setattr(block, "BOOT", str(folder / "boot"))
    monkeypatch.setattr(iscsi, "SESSIONS", str(folder / "sessions"))
    monkeypatch.setattr(block, "stat", types.SimpleNamespace(S_ISBLK=lambda mode: True))
    monkeypatch.setattr(block.BlockConnector, "SETTLING", 0.2)
    return folder


@pytest.fixture
def brick(tmp_path, kernel, monkeypatch):
    """Return what stands for os-brick; its device is a file."""
    path = tmp_path / "sdx"
    path.write_bytes(bytes(SIZE))
    made = Brick(path)
    monkeypatch.setattr(Host, "prepare", lambda self: None)
    monkeypatch.setattr(bricks.InitiatorConnector, "factory", lambda *args, **options: made)
    nowhere = types.SimpleNamespace(targets=(), is_replicated=False, get_devices=list)  # see test_nvmeof.py
    monkeypatch.setattr(nvmeof.NvmeofConnector, "_known", lambda self, connection: nowhere)
    monkeypatch.setattr(nvmeof.NvmeofConnector, "TOLD", 0.05)
    return made


def connector_of(host, protocol) -> Any:
    """Return the connector of a protocol."""
    return base.connector_of(host, protocol)


def vanish(kernel):
    """Have the kernel's device go."""
    (kernel / "block/sdx/diskseq").unlink(missing_ok=True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_volume_comes_and_goes(host, brick, kernel, protocol):
    """Bytes go both ways; nothing of it is taken for zeroes; it is detached by force, with what was told of it."""
    made = connector_of(host, protocol)
    assert made.GROWS
    assert not made.ZEROED
    device = made.attach({"access_mode": "rw"}, True)
    assert device.size() == SIZE
    device.write(memoryview(b"image"), 100)
    device.flush()
    assert b"".join(device.read(100, 5)) == b"image"
    assert device.info == {"type": "fake", "path": brick.fake_path, "scsi_wwn": "3600", "devices": {"sdx": SEVEN}}
    device.close()
    brick.disconnecting = lambda: vanish(kernel)
    made.detach({}, device.info, True)
    told = {"type": "fake", "path": brick.fake_path, "scsi_wwn": "3600"}
    assert brick.asked == ["connect", ("disconnect", told, True, False)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_cannot_be_used_is_refused_before_it_is_attached(host, brick, protocol):
    """An encrypted volume, and one that may only be read."""
    made = connector_of(host, protocol)
    with pytest.raises(errors.BackendError, match="encrypted"):
        made.attach({"encrypted": True}, False)
    with pytest.raises(errors.Forbidden, match="only read"):
        made.attach({"access_mode": "ro"}, True)
    assert brick.asked == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        made.attach({"access_mode": "ro"}, False).write(memoryview(b"x"), 0)


def test_a_plain_file_is_no_device(host, brick, monkeypatch):
    """A device that never came: what is written to its name would fill this host's memory."""
    monkeypatch.undo()
    monkeypatch.setattr(block.BlockConnector, "SETTLING", 0.0)
    monkeypatch.setattr(Host, "prepare", lambda self: None)
    monkeypatch.setattr(bricks.InitiatorConnector, "factory", lambda *args, **options: brick)
    with pytest.raises(errors.StoreUnavailable, match="no block device"):
        connector_of(host, "iscsi").attach({}, True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_device_that_does_not_appear(host, brick, protocol):
    """The error says where to look and no secret; a wait has an end."""
    made = connector_of(host, protocol)

    def fail():
        raise exception.VolumeDeviceNotFound(device="auth_password=hidden")

    brick.connecting = fail
    with pytest.raises(errors.StoreUnavailable, match=r"cannot attach the volume \(VolumeDeviceNotFound\)") as caught:
        made.attach({}, True)
    assert made.HINT in str(caught.value)
    assert "hidden" not in str(caught.value)

    hung = threading.Event()
    brick.connecting = hung.wait
    made.PATIENCE = 0.1
    with pytest.raises(errors.OperationTimeout, match="within"):
        made.attach({}, True)
    hung.set()


def test_a_bug_stays_a_bug(host, brick):
    """An error that is none of os-brick's is not told as a host's trouble."""
    brick.connecting = lambda: [].pop()
    with pytest.raises(IndexError):
        connector_of(host, "iscsi").attach({}, True)


@pytest.mark.parametrize("protocol", LETTING_GO)
def test_what_stays_is_tried_twice_and_told(host, brick, kernel, protocol):
    """A device that os-brick leaves silently is a leftover; another one that got its name is none."""
    made = connector_of(host, protocol)
    info = {"path": brick.fake_path, "devices": {"sdx": SEVEN}}
    with pytest.raises(errors.StoreUnavailable, match="sdx of the volume"):
        made.detach({}, info, True)
    assert len(brick.asked) == 2
    (kernel / "block/sdx/diskseq").write_text("8\n")
    made.detach({}, info, True)
    assert len(brick.asked) == 3
    (kernel / "block/sdx/diskseq").write_text("7\n")
    (kernel / "boot").write_text("the-next-boot\n")
    made.detach({}, info, True)
    assert len(brick.asked) == 4


@pytest.mark.parametrize("protocol", LETTING_GO)
def test_a_map_whose_paths_went_first(host, brick, kernel, protocol):
    """os-brick does not see it any more: it is ended by its name, which is told where that fails, too."""
    made = connector_of(host, protocol)
    folder = kernel / "block/dm-0"
    folder.mkdir()
    (folder / "diskseq").write_text("9\n")
    info = {"path": "/dev/dm-0", "devices": {"dm-0": "9 of a-boot", "sdx": SEVEN}}
    vanish(kernel)

    def refuse(name):
        raise exception.BrickException(f"{name} does not go away")

    brick._linuxscsi = types.SimpleNamespace(multipath_del_map=refuse)
    with pytest.raises(errors.StoreUnavailable, match="dm-0 of the volume cannot"):
        made.detach({}, info, True)
    brick._linuxscsi.multipath_del_map = lambda name: (kernel / "block" / name / "diskseq").unlink()
    made.detach({}, info, True)


@pytest.mark.parametrize("protocol", ["nvmeof", "scaleio"])
def test_a_device_that_goes_with_the_export_is_not_waited_for(host, brick, protocol):
    """Cinder is told first, or it would never go."""
    connector_of(host, protocol).detach({}, {"path": brick.fake_path, "devices": {"sdx": SEVEN}}, True)
    assert len(brick.asked) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_errors_while_detaching(host, brick, kernel, protocol):
    """They are told where it is unknown what is left, and do no harm where the device is seen to be gone."""
    made = connector_of(host, protocol)

    def fail():
        raise exception.ExceptionChainer

    brick.disconnecting = fail
    with pytest.raises(errors.StoreUnavailable, match="cannot detach"):
        made.detach({}, {}, False)
    vanish(kernel)
    info = {"path": brick.fake_path, "devices": {"sdx": SEVEN}}
    if protocol in LETTING_GO:
        made.detach({}, info, True)
    else:
        with pytest.raises(errors.StoreUnavailable, match="cannot detach"):
            made.detach({}, info, True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_growing(host, brick, protocol):
    """What counts is the size of the device, which may come late, and without os-brick having seen it."""
    made = connector_of(host, protocol)
    device = made.attach({}, True)

    def late():
        threading.Timer(0.3, os.truncate, (brick.fake_path, 2 * SIZE)).start()
        raise exception.VolumePathsNotFound

    brick.extending = late
    made.grow({}, device, 2 * SIZE)
    assert device.size() == 2 * SIZE

    made.GROWING = 0.1
    brick.extending = lambda: 3 * SIZE
    with pytest.raises(errors.BackendError, match="this host sees"):
        made.grow({}, device, 3 * SIZE)


def session(kernel, number, target, device):
    """Have the kernel show a session."""
    folder = kernel / f"sessions/session{number}"
    (folder / "device").mkdir(parents=True)
    (folder / "targetname").write_text(f"{target}\n")
    if device:
        (folder / f"device/target1:0:0/1:0:0:1/block/{device}").mkdir(parents=True)


def test_sessions_without_a_device(host, brick, kernel, caplog):
    """os-brick is asked once more to end those with the volume's own targets; others are nobody's business."""
    session(kernel, 1, "iqn.ours", None)
    session(kernel, 2, "iqn.ours", "sdb")
    session(kernel, 3, "iqn.theirs", None)
    made = connector_of(host, "iscsi")
    brick.disconnecting = lambda: vanish(kernel)
    made.detach({"target_iqns": ["iqn.ours"]}, {"devices": {"sdx": SEVEN}}, True)
    assert len(brick.asked) == 2
    assert "session1" in caplog.text
    assert "session2" not in caplog.text
    made.detach({"target_iqn": "iqn.none"}, {"devices": {"sdx": SEVEN}}, True)
    assert len(brick.asked) == 3


def test_the_parts_of_a_device(kernel):
    """A map of several paths is known with all of them."""
    for name, number in (("dm-0", "9"), ("sda", "10"), ("sdb", "11")):
        (kernel / f"block/{name}").mkdir()
        (kernel / f"block/{name}/diskseq").write_text(number)
    for name in ("sda", "sdb"):
        (kernel / f"block/dm-0/slaves/{name}").mkdir(parents=True)
    devices = block.instances("/dev/dm-0")
    assert devices == {"dm-0": "9 of a-boot", "sda": "10 of a-boot", "sdb": "11 of a-boot"}
    (kernel / "block/sda/diskseq").write_text("12")
    assert block.remaining(devices) == ["dm-0", "sdb"]


def test_a_path_that_joined_late(kernel):
    """It is among what has to go with the volume, as long as the name is still this volume's."""
    for name, number in (("dm-0", "9"), ("sda", "10"), ("sdb", "11")):
        (kernel / f"block/{name}").mkdir()
        (kernel / f"block/{name}/diskseq").write_text(number)
    (kernel / "block/dm-0/slaves/sda").mkdir(parents=True)
    info = {"path": "/dev/dm-0", "devices": block.instances("/dev/dm-0")}
    (kernel / "block/dm-0/slaves/sdb").mkdir()
    assert block.parts(info) == {"dm-0": "9 of a-boot", "sda": "10 of a-boot", "sdb": "11 of a-boot"}
    (kernel / "block/dm-0/diskseq").write_text("12")
    assert block.parts(info) == {"dm-0": "9 of a-boot", "sda": "10 of a-boot"}
    assert block.parts({}) == {}
