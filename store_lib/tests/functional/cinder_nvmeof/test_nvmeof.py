"""Volumes of a real NVMe target over TCP: bytes, size, growing, what is left when things go wrong."""

import pathlib
import threading
import time
import types

import pytest

from store_lib import errors
from store_lib.drivers.cinder.nvmeof import NvmeofDevice
from store_lib.tests.functional.cinder_nvmeof.target import ADDRESSES, states
from store_lib.tests.functional.devices.checks import (  # noqa: F401
    test_a_killed_process_that_told_nobody,
    test_a_volume_comes_grows_and_goes,
    write,
)
from store_lib.tests.functional.devices.host import PATIENCE, in_time, silence
from store_lib.tests.support import MIB, payload, until

pytestmark = pytest.mark.long


def test_what_is_no_volume(protocol, make_target, make_connector):
    """Where there is no such target, it is for another host, or nobody listens, nothing appears and nothing stays."""
    target, others, connector = make_target(), make_target(host="nqn.2026-11.org.example:another"), make_connector()
    nobody = target.connection | {"portals": [[ADDRESSES[0], "4999", "tcp"]]}
    for wrong in target.connection | {"target_nqn": "nqn.2026-11.org.example:none"}, others.connection, nobody:
        with pytest.raises(errors.StoreUnavailable, match="VolumeDeviceNotFound"):
            connector.attach(wrong, True)
        connector.detach(wrong, {}, True)
        protocol.nothing_left()


def test_a_volume_that_the_target_takes_away_first(protocol, make_target, make_connector):
    """Its connection does not stay."""
    target, connector = make_target(), make_connector()
    device = connector.attach(target.connection, True)
    device.close()
    target.vanish()
    until(lambda: not pathlib.Path(device.info["path"]).exists(), PATIENCE)
    assert states() == ["live"]
    connector.detach(target.connection, device.info, True)
    protocol.nothing_left()


def test_a_target_that_goes_silent(protocol, make_target, make_connector):
    """The kernel would wait for it for ever: detaching gives it up, what is being written fails, nothing is left."""
    target, connector = make_target(), make_connector()
    connector.SETTLING = 1.0
    device = connector.attach(target.connection, True)
    write(device, payload(MIB), 0)
    problems = []

    def write_more():
        try:
            write(device, payload(MIB), MIB)
        except OSError as error:
            problems.append(str(error))

    with silence(ADDRESSES[0]):
        writing = threading.Thread(target=write_more)
        writing.start()
        until(lambda: states() == ["connecting"], PATIENCE)
        assert writing.is_alive()
        device.close()
        in_time(lambda: connector.detach(target.connection, device.info, True))
        until(lambda: problems, PATIENCE)
        assert "Input/output error" in problems[0]
        protocol.nothing_left()
    writing.join()


def test_a_target_that_goes_silent_while_it_is_left(protocol, make_target, make_connector, monkeypatch, caplog):
    """What is still to be flushed holds up neither closing nor detaching for ever."""
    # os-brick waits 20 and 40 seconds between its tries to flush a device.
    shorter = types.SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 20))
    monkeypatch.setattr("os_brick.privileged.rootwrap.time", shorter)
    monkeypatch.setattr(NvmeofDevice, "PATIENCE", 0.1)
    target, connector = make_target(), make_connector()
    connector.SETTLING = 1.0
    device = connector.attach(target.connection, True)
    with silence(ADDRESSES[0]):
        device.write(memoryview(payload(MIB)), 0)
        in_time(device.close)
        assert "still being flushed" in caplog.text
        assert states() == ["live"], "the kernel knows too early: os-brick's flush is not what waits"
        in_time(lambda: connector.detach(target.connection, device.info, True))
        protocol.nothing_left()


def test_several_paths(protocol, make_target, make_connector):
    """They are one device, which works on when one of them is lost; all of it goes in the end."""
    target, connector = make_target(ADDRESSES), make_connector(cinder_use_multipath=True)
    device = connector.attach(target.connection, True)
    assert states() == ["live", "live"]
    data = payload(MIB)
    with silence(ADDRESSES[0]):
        for place in range(8):
            in_time(lambda at=place * MIB: write(device, data, at))
        until(lambda: states() == ["connecting", "live"], PATIENCE)
        assert target.file.read_bytes()[: 8 * MIB] == 8 * data
        device.close()
        connector.detach(target.connection, device.info, True)
        protocol.nothing_left()
