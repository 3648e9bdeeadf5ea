"""A store of volumes that come by NVMe over TCP: what is left when a process is killed or the target goes silent."""

import contextlib
import pathlib
import threading

import pytest

from store_lib import errors
from store_lib.drivers.cinder.nvmeof import NvmeofConnector
from store_lib.tests.functional.cinder_block.conftest import PATIENCE
from store_lib.tests.functional.cinder_block.target import silence
from store_lib.tests.functional.cinder_nvmeof.conftest import LIMIT
from store_lib.tests.functional.cinder_nvmeof.target import ADDRESSES, nothing_left, states
from store_lib.tests.support import MIB, Child, content, payload, until

DATA = payload(8 * MIB)

pytestmark = pytest.mark.long


@pytest.fixture
def make_store(make_stores, stand_in):
    """Return a function that makes a store, with parts of a MiB."""

    def make(**options):
        section = stand_in.section("it", part_size=MIB, probe_interval=0, retry_attempts=1, **options)
        return make_stores(f"[DEFAULT]\nenabled_backends = it:cinder\n{section}\n")["it"]

    return make


def add(store, told):
    """Add an image whose second half never comes."""

    def halves():
        yield DATA[: 4 * MIB]
        pathlib.Path(told).touch()
        threading.Event().wait()

    store.add("an-image", halves(), len(DATA))


def test_a_killed_process(make_store, stand_in, tmp_path):
    """A sweep of another process takes device, connection, attachment and volume away."""
    store, told = make_store(), tmp_path / "told"
    with Child(add, store, told) as child:
        until(lambda: (told.exists() and states() == ["live"]) or child.ended(), PATIENCE)
        child.kill(9)
        child.wait()
    assert len(stand_in.volumes()) == len(stand_in._attachments) == 1
    until(lambda: store.sweep(older_than=0) and not stand_in.volumes(), LIMIT)
    nothing_left()
    assert not stand_in._attachments


def test_a_target_that_goes_silent_in_the_middle_of_an_add(make_store, stand_in, monkeypatch):
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
        nothing_left()
    until(lambda: not (stand_in.volumes() or stand_in._attachments), PATIENCE)
    record = store.add("an-image", DATA, len(DATA))
    assert content(store, record.location) == DATA
    nothing_left()
    store.delete(record.location)
    assert not stand_in.volumes()


def test_a_target_that_goes_silent_in_the_middle_of_a_read(make_store, stand_in, monkeypatch):
    """Reading fails in time, and leaves nothing; the image is read once the target is back."""
    monkeypatch.setattr(NvmeofConnector, "SETTLING", 1.0)
    store = make_store(operation_timeout=30)
    record = store.add("an-image", DATA, len(DATA))
    with silence_while_open(store, record.location) as reader, pytest.raises(errors.StoreLibError):
        reader.read()
    nothing_left()
    assert content(store, record.location) == DATA
    assert not stand_in._attachments
    store.delete(record.location)
    assert not stand_in.volumes()


@contextlib.contextmanager
def silence_while_open(store, location):
    """Have the target go silent once an image was opened; it speaks again when the image was closed."""
    with contextlib.ExitStack() as silent:
        with store.open(location) as reader:
            silent.enter_context(silence(ADDRESSES[0]))
            yield reader
