"""Volumes of a real iSCSI target: bytes, size, growing, what is left when things go wrong."""

import os
import pathlib
import subprocess
import threading
import time
import types

import pytest

from store_lib import errors
from store_lib.drivers.cinder import brick
from store_lib.tests.functional.cinder_block.conftest import PATIENCE, in_time, left, nothing_left
from store_lib.tests.functional.cinder_block.target import MIB, PORTALS, silence
from store_lib.tests.support import Child, payload, until

SIZE = 64 * MIB


def bytes_of(device, offset, length):
    """Return a range."""
    return b"".join(device.read(offset, length))


def write(device, data, offset):
    """Write and see that it is there."""
    device.write(memoryview(data), offset)
    device.flush()


def test_a_volume_comes_grows_and_goes(make_target, make_connector):
    """What was written is on the target; it grows while it is attached; nothing is left of it on this host."""
    target, connector = make_target(), make_connector()
    device = connector.attach(target.connection, True)
    assert device.size() == SIZE
    data = payload(2 * MIB)
    write(device, data, 3 * MIB)
    assert target.file.read_bytes()[3 * MIB : 5 * MIB] == data

    target.grow(2 * SIZE)
    connector.grow(target.connection, device, 2 * SIZE)
    assert device.size() == 2 * SIZE
    device.write(memoryview(data), 2 * SIZE - len(data))
    connector.GROWING = 0.1
    with pytest.raises(errors.BackendError, match="this host sees"):
        connector.grow(target.connection, device, 3 * SIZE)

    device.close()
    connector.detach(target.connection, device.info, True)
    nothing_left()
    reader = connector.attach(target.connection | {"access_mode": "ro"}, False)
    assert bytes_of(reader, 3 * MIB, len(data)) == bytes_of(reader, 2 * SIZE - len(data), len(data)) == data
    with pytest.raises(OSError, match="Bad file descriptor"):
        reader.write(memoryview(b"x"), 0)
    reader.close()
    connector.detach(target.connection, reader.info, True)
    nothing_left()


def hold(connector, connection, told):
    """Attach a volume and live on until it is killed."""
    connector.attach(connection, True)
    pathlib.Path(told).touch()
    threading.Event().wait()


def test_a_killed_process(make_target, make_connector, tmp_path):
    """The device, which it has told nobody of, and its session go with the next detach."""
    target, connector = make_target(), make_connector()
    told = tmp_path / "told"
    with Child(hold, connector, target.connection, told) as child:
        until(lambda: told.exists() or child.ended(), PATIENCE)
        child.kill(9)
        child.wait()
    assert len(left()) == 2
    connector.detach(target.connection, {}, False)
    nothing_left()


def test_what_is_no_volume(make_target, make_connector, monkeypatch):
    """With a wrong password, and where the target has no such volume, nothing appears and nothing stays."""
    monkeypatch.setattr(brick, "_SCANS", 0)
    target, connector = make_target(), make_connector()
    for wrong in {"auth_password": "another-secret"}, {"target_lun": 7}:
        with pytest.raises(errors.StoreUnavailable, match="VolumeDeviceNotFound") as caught:
            connector.attach(target.connection | wrong, True)
        assert "another-secret" not in str(caught.value)
        connector.detach(target.connection | wrong, {}, True)
        nothing_left()


def test_a_target_that_goes_silent(make_target, make_connector, monkeypatch):
    """What is being written fails in time; a detach that hangs is told as such; the next one leaves nothing."""
    # os-brick waits 20 and 40 seconds between its tries to flush a device.
    shorter = types.SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 20))
    monkeypatch.setattr("os_brick.privileged.rootwrap.time", shorter)
    target, connector = make_target(PORTALS[1:]), make_connector()
    device = connector.attach(target.connection, True)
    write(device, payload(MIB), 0)
    with silence(PORTALS[1]):
        with pytest.raises(OSError, match="Input/output error"):
            in_time(lambda: write(device, payload(MIB), MIB))
        device.close()
        connector.PATIENCE = 0.5
        with pytest.raises(errors.OperationTimeout, match="could not detach the volume within"):
            connector.detach(target.connection, device.info, True)
        del connector.PATIENCE
        connector.detach(target.connection, device.info, True)
        nothing_left()


def failed_paths(name):
    """Return how many paths of a map have failed."""
    told = subprocess.run(
        ["dmsetup", "status", f"/dev/{name}"], check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    return told.stdout.split().count("F")


def test_several_paths(multipathd, make_target, make_connector):
    """They are one device, which works on when one of them is lost; all of it goes in the end."""
    target, connector = make_target(PORTALS), make_connector(cinder_use_multipath=True)
    device = connector.attach(target.connection, True)
    name = os.path.basename(device.info["path"])
    paths = pathlib.Path("/sys/class/block", name, "slaves")
    until(lambda: len(list(paths.iterdir())) == 2, PATIENCE)  # the second one may come later
    data = payload(MIB)
    with silence(PORTALS[1]):
        for place in range(8):  # both paths take their turns
            in_time(lambda at=place * MIB: write(device, data, at))
        until(lambda: failed_paths(name) == 1, PATIENCE)
    assert target.file.read_bytes()[: 8 * MIB] == 8 * data
    until(lambda: failed_paths(name) == 0, PATIENCE)
    os.posix_fadvise(device._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    with silence(PORTALS[0]):
        assert all(in_time(lambda at=place * MIB: bytes_of(device, at, MIB)) == data for place in range(8))
        until(lambda: failed_paths(name) == 1, PATIENCE)
        device.close()
        connector.detach(target.connection, device.info, True)
        nothing_left()
