"""Tests of connectors and stores that hold for every protocol: each module of tests imports what it runs."""

import pathlib
import threading

import pytest

from store_lib import errors
from store_lib.tests.functional.devices.host import LIMIT, PATIENCE
from store_lib.tests.support import MIB, Child, payload, until

SIZE = 64 * MIB
#: An image.
DATA = payload(8 * MIB)


def bytes_of(device, offset, length):
    """Return a range."""
    return b"".join(device.read(offset, length))


def write(device, data, offset):
    """Write and see that it is there."""
    device.write(memoryview(data), offset)
    device.flush()


def test_a_volume_comes_grows_and_goes(protocol, make_target, make_connector):
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
    protocol.nothing_left()
    reader = connector.attach(target.connection | {"access_mode": "ro"}, False)
    assert bytes_of(reader, 3 * MIB, len(data)) == bytes_of(reader, 2 * SIZE - len(data), len(data)) == data
    with pytest.raises(OSError, match="Bad file descriptor"):
        reader.write(memoryview(b"x"), 0)
    reader.close()
    connector.detach(target.connection, reader.info, True)
    protocol.nothing_left()


def hold(connector, connection, told):
    """Attach a volume and live on until it is killed."""
    connector.attach(connection, True)
    pathlib.Path(told).touch()
    threading.Event().wait()


def test_a_killed_process_that_told_nobody(protocol, make_target, make_connector, tmp_path):
    """The device, and the connection that brought it, go with the next detach."""
    target, connector = make_target(), make_connector()
    told = tmp_path / "told"
    with Child(hold, connector, target.connection, told) as child:
        until(lambda: told.exists() or child.ended(), PATIENCE)
        child.kill(9)
        child.wait()
    assert protocol.found()
    connector.detach(target.connection, {}, False)
    protocol.nothing_left()


def add_half(store, told):
    """Add an image whose second half never comes, and live on until killed."""

    def halves():
        yield DATA[: len(DATA) // 2]
        pathlib.Path(told).touch()
        threading.Event().wait()

    store.add("an-image", halves(), len(DATA))


def test_a_process_that_is_killed_in_the_middle_of_an_add(protocol, make_store, stand_in, tmp_path):
    """A sweep of another process takes device, connection, attachment and volume away."""
    store, told = make_store(), tmp_path / "told"
    with Child(add_half, store, told) as child:
        until(lambda: (told.exists() and len(protocol.found()) >= 2) or child.ended(), PATIENCE)
        child.kill(9)
        child.wait()
    assert len(stand_in.volumes()) == len(stand_in.attachments()) == 1
    until(lambda: store.sweep(older_than=0) and not stand_in.volumes(), LIMIT)
    protocol.nothing_left()
    assert not stand_in.attachments()
