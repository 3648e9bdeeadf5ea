"""Volumes of a real iSCSI target: bytes, size, growing, what is left when things go wrong."""

import os
import pathlib
import subprocess
import time
import types

import pytest

from store_lib import errors
from store_lib.drivers.cinder import brick
from store_lib.tests.functional.cinder_block.target import PORTALS
from store_lib.tests.functional.devices.checks import (  # noqa: F401
    bytes_of,
    test_a_killed_process_that_told_nobody,
    test_a_volume_comes_grows_and_goes,
    write,
)
from store_lib.tests.functional.devices.host import PATIENCE, in_time, silence
from store_lib.tests.support import MIB, payload, until


def test_what_is_no_volume(protocol, make_target, make_connector, monkeypatch):
    """With a wrong password, and where the target has no such volume, nothing appears and nothing stays."""
    monkeypatch.setattr(brick, "_SCANS", 0)
    target, connector = make_target(), make_connector()
    for wrong in {"auth_password": "another-secret"}, {"target_lun": 7}:
        with pytest.raises(errors.StoreUnavailable, match="VolumeDeviceNotFound") as caught:
            connector.attach(target.connection | wrong, True)
        assert "another-secret" not in str(caught.value)
        connector.detach(target.connection | wrong, {}, True)
        protocol.nothing_left()


def test_a_target_that_goes_silent(protocol, make_target, make_connector, monkeypatch):
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
        protocol.nothing_left()


def failed_paths(name):
    """Return how many paths of a map have failed."""
    told = subprocess.run(
        ["dmsetup", "status", f"/dev/{name}"], check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    return told.stdout.split().count("F")


def test_several_paths(protocol, several_paths, make_target, make_connector):
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
        protocol.nothing_left()
