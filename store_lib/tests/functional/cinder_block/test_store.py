"""A store of volumes that come by iSCSI: what becomes of one that this host cannot let go of."""

import contextlib
import subprocess
import time
import types

import pytest

from store_lib import errors
from store_lib.drivers.cinder.block import BlockConnector
from store_lib.tests.functional.cinder_block.target import PORTALS, found
from store_lib.tests.functional.devices.checks import (  # noqa: F401
    DATA,
    test_a_process_that_is_killed_in_the_middle_of_an_add,
)
from store_lib.tests.functional.devices.host import PATIENCE, silence
from store_lib.tests.support import MIB, content, until


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """Have os-brick not wait for 20 and 40 seconds between its tries to flush a device."""
    shorter = types.SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 20))
    monkeypatch.setattr("os_brick.privileged.rootwrap.time", shorter)


def test_a_detach_that_hangs(protocol, make_store, stand_in, monkeypatch):
    """The volume stays attached until the host has let go of it, which a sweep sees to, and who wants the image."""
    store = make_store()
    record = store.add("an-image", DATA, len(DATA))
    for mend in (store.sweep, lambda: content(store, record.location)):
        reader = store.open(record.location)
        reader.read(MIB)
        with silence(PORTALS[0]):
            with monkeypatch.context() as patches:
                patches.setattr(BlockConnector, "PATIENCE", 0.5)
                reader.close()
            assert found()
            assert len(stand_in.attachments()) == 1
        mend()
        assert not stand_in.attachments()
        protocol.nothing_left()
    store.delete(record.location)
    assert not stand_in.volumes()


def test_a_map_that_somebody_holds_open(protocol, several_paths, make_store, stand_in, monkeypatch):
    """The error says what to do: once nobody holds it, a sweep takes device, attachment and volume away."""
    monkeypatch.setattr(BlockConnector, "SETTLING", 2.0)
    store = make_store(cinder_use_multipath=True)
    with contextlib.ExitStack() as holding:

        def halves():
            yield DATA[: 4 * MIB]
            until(maps, PATIENCE)
            with open(f"/dev/{maps()[0]}", "rb") as device:
                holder = subprocess.Popen(["sleep", "infinity"], stdin=device)
            holding.callback(holder.wait)
            holding.callback(holder.kill)
            yield DATA[4 * MIB :]

        with pytest.raises(errors.StoreUnavailable, match="'store-lib store sweep it'") as caught:
            store.add("an-image", halves(), len(DATA))
        (name,) = maps()
        assert name in str(caught.value)
        assert len(stand_in.attachments()) == len(stand_in.volumes()) == 1
        assert len(store.sweep().failed) == 1
        assert len(stand_in.attachments()) == 1
    assert len(store.sweep().removed) == 1
    protocol.nothing_left()
    assert not stand_in.attachments()
    assert not stand_in.volumes()


def maps():
    """Return the kernel's names of the maps of several paths."""
    return [name for name in found() if name.startswith("dm-")]
