"""A store of volumes that come by NVMe over TCP: what is left when a process is killed or the target goes silent."""

import contextlib

import pytest

from store_lib import errors
from store_lib.drivers.cinder.nvmeof import NvmeofConnector
from store_lib.tests.functional.cinder_nvmeof.target import ADDRESSES, states
from store_lib.tests.functional.devices.checks import (  # noqa: F401
    DATA,
    test_a_process_that_is_killed_in_the_middle_of_an_add,
)
from store_lib.tests.functional.devices.host import PATIENCE, silence
from store_lib.tests.support import MIB, content, until

pytestmark = pytest.mark.long


def test_a_target_that_goes_silent_in_the_middle_of_an_add(protocol, make_store, stand_in, monkeypatch):
    """The add fails in time, and leaves nothing; once the target is back, the next one does not."""
    monkeypatch.setattr(NvmeofConnector, "SETTLING", 1.0)
    store = make_store(operation_timeout=30)
    with contextlib.ExitStack() as silent:

        def halves():
            yield DATA[: 4 * MIB]
            until(lambda: states() == ["live"], PATIENCE)
            silent.enter_context(silence(ADDRESSES[0]))
            yield DATA[4 * MIB :]

        with pytest.raises(errors.StoreLibError):
            store.add("an-image", halves(), len(DATA))
        protocol.nothing_left()
    until(lambda: not (stand_in.volumes() or stand_in.attachments()), PATIENCE)
    record = store.add("an-image", DATA, len(DATA))
    assert content(store, record.location) == DATA
    protocol.nothing_left()
    store.delete(record.location)
    assert not stand_in.volumes()


def test_a_target_that_goes_silent_in_the_middle_of_a_read(protocol, make_store, stand_in, monkeypatch):
    """Reading fails in time, and leaves nothing; the image is read once the target is back."""
    monkeypatch.setattr(NvmeofConnector, "SETTLING", 1.0)
    store = make_store(operation_timeout=30)
    record = store.add("an-image", DATA, len(DATA))
    with silence_while_open(store, record.location) as reader, pytest.raises(errors.StoreLibError):
        reader.read()
    protocol.nothing_left()
    assert content(store, record.location) == DATA
    assert not stand_in.attachments()
    store.delete(record.location)
    assert not stand_in.volumes()


@contextlib.contextmanager
def silence_while_open(store, location):
    """Have the target go silent once an image was opened; it speaks again when the image was closed."""
    with contextlib.ExitStack() as silent:
        with store.open(location) as reader:
            silent.enter_context(silence(ADDRESSES[0]))
            yield reader
