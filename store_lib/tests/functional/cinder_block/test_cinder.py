"""A real Cinder with LVM, whose volumes come to this host by iSCSI; only in long runs: it takes minutes to start."""

import pathlib

import pytest

from store_lib import errors
from store_lib.drivers.cinder.block import SYSFS
from store_lib.interface import GIB
from store_lib.tests.functional.cinder_block.cloud import volumes
from store_lib.tests.functional.devices.checks import DATA, add_half
from store_lib.tests.functional.devices.host import LIMIT
from store_lib.tests.support import MIB, Child, content, payload, until

pytestmark = pytest.mark.long


@pytest.fixture
def make_lvm(make_stores, cloud):
    """Return a function that makes a store of volumes in LVM."""

    def make(**options):
        section = cloud.section("it", probe_interval=0, retry_attempts=1, **options)
        return make_stores(f"[DEFAULT]\nenabled_backends = it:cinder\n{section}\n")["it"]

    return make


def test_a_killed_process(protocol, make_lvm, tmp_path):
    """A sweep of another process takes device, session, attachment and volume away."""
    store, told = make_lvm(part_size=MIB // 16), tmp_path / "told"
    with Child(add_half, store, told) as child:
        until(lambda: (told.exists() and volumes()) or child.ended(), LIMIT)
        until(lambda: len(protocol.found()) >= 2 or child.ended(), LIMIT)  # a device and a session
        child.kill(9)
        child.wait()
    until(lambda: store.sweep(older_than=0) and not volumes(), LIMIT)
    protocol.nothing_left()


def piece(number):
    """Return 4 MiB, different ones for each number."""
    return number.to_bytes(8, "big") + payload(4 * MIB)[8:]


def devices():
    """Return number and size in bytes of the devices that have come by iSCSI."""
    found = [(path / "diskseq", path / "size") for path in pathlib.Path(SYSFS).glob("sd*")]
    return {(number.read_text(), 512 * int(size.read_text())) for number, size in found}


def test_an_image_that_outgrows_its_volume(protocol, make_lvm):
    """Its size is not known: the volume grows while it is attached, and the kernel sees that of the same device."""
    store, seen = make_lvm(), set()
    count = GIB // (4 * MIB) + 64  # the last of them come long after the volume has grown

    def pieces():
        for number in range(count):
            yield piece(number)
            seen.update(devices())

    record = store.add("an-image", pieces())
    protocol.nothing_left()
    assert record.size == count * 4 * MIB
    assert len({number for number, _ in seen}) == 1
    assert {size for _, size in seen} == {GIB, 2 * GIB}
    with store.open(record.location) as reader:
        for number in (0, GIB // (4 * MIB) - 1, GIB // (4 * MIB), count - 1):
            reader.seek(number * 4 * MIB)
            assert reader.read(4 * MIB) == piece(number)
    store.delete(record.location)
    assert volumes() == []


@pytest.mark.parametrize("multipath", [False, True])
def test_an_image(request, protocol, make_lvm, multipath):
    """It is added, read and deleted, over one path or over two; then nothing of it is anywhere."""
    if multipath:
        request.getfixturevalue("several_paths")
    store = make_lvm(cinder_use_multipath=multipath)
    record = store.add("an-image", DATA, len(DATA))
    protocol.nothing_left()
    (volume,) = volumes()
    assert record.location.uri.rpartition("/")[2] in volume
    assert content(store, record.location) == DATA
    protocol.nothing_left()
    store.delete(record.location)
    assert volumes() == []
    with pytest.raises(errors.NotFound):
        store.stat(record.location)
