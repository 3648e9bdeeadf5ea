"""Volumes of a real NVMe target over TCP: bytes, size, growing, what is left when things go wrong."""

import pathlib
import threading
import time
import types

import pytest

from store_lib import errors
from store_lib.drivers.cinder.nvmeof import NvmeofDevice
from store_lib.tests.functional.cinder_block.conftest import PATIENCE, in_time
from store_lib.tests.functional.cinder_block.target import silence
from store_lib.tests.functional.cinder_nvmeof.target import ADDRESSES, nothing_left, states
from store_lib.tests.support import MIB, Child, payload, until

SIZE = 64 * MIB

pytestmark = pytest.mark.long


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
    """The device, which it has told nobody of, and its connection go with the next detach."""
    target, connector = make_target(), make_connector()
    told = tmp_path / "told"
    with Child(hold, connector, target.connection, told) as child:
        until(lambda: told.exists() or child.ended(), PATIENCE)
        child.kill(9)
        child.wait()
    assert states() == ["live"]
    connector.detach(target.connection, {}, False)
    nothing_left()


def test_what_is_no_volume(make_target, make_connector):
    """Where there is no such target, it is for another host, or nobody listens, nothing appears and nothing stays."""
    target, others, connector = make_target(), make_target(host="nqn.2026-11.org.example:another"), make_connector()
    nobody = target.connection | {"portals": [[ADDRESSES[0], "4999", "tcp"]]}
    for wrong in target.connection | {"target_nqn": "nqn.2026-11.org.example:none"}, others.connection, nobody:
        with pytest.raises(errors.StoreUnavailable, match="VolumeDeviceNotFound"):
            connector.attach(wrong, True)
        connector.detach(wrong, {}, True)
        nothing_left()


def test_a_volume_that_the_target_takes_away_first(make_target, make_connector):
    """Its connection does not stay."""
    target, connector = make_target(), make_connector()
    device = connector.attach(target.connection, True)
    device.close()
    target.vanish()
    until(lambda: not pathlib.Path(device.info["path"]).exists(), PATIENCE)
    assert states() == ["live"]
    connector.detach(target.connection, device.info, True)
    nothing_left()


def test_a_target_that_goes_silent(make_target, make_connector):
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
        nothing_left()
    writing.join()


def test_a_target_that_goes_silent_while_it_is_left(make_target, make_connector, monkeypatch, caplog):
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
        nothing_left()


def test_several_paths(make_target, make_connector):
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
        nothing_left()
