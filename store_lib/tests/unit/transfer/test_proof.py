"""Proof of a copy: by checksums of the backend, by reading back, or none."""

import dataclasses
import hashlib

import pytest

from store_lib import errors
from store_lib.interface import Checksum, Feature
from store_lib.tests import fakes
from store_lib.tests.unit.transfer.pairs import COPYING, DATA


def checksummed(algorithm="md5", change=lambda value: value):
    """Return an upload class whose commits tell a checksum."""

    class Upload(fakes.FakeUpload):
        def commit(self, size, parts):
            made = super().commit(size, parts)
            runs, _ = self._inner._state.images[made.address.image_id]
            value = hashlib.new(algorithm, b"".join(data for _, data in sorted(runs.items()))).hexdigest()
            info = dataclasses.replace(made.info, checksum=Checksum(algorithm, change(value)))
            self._inner._state.images[made.address.image_id] = (runs, info)
            return dataclasses.replace(made, info=info)

    return Upload


@pytest.mark.parametrize("by_the_backend", [True, False])
def test_checksums_of_one_kind_prove_the_copy(pair, by_the_backend):
    it = pair(COPYING if by_the_backend else fakes.OBJECTS, UPLOAD=checksummed())
    location = it.stores.copy(it.image(), "b", image_id="first").location
    record = it.stores.copy(location, "b", image_id="second")
    assert record.verified_by == "backend"
    assert record.backend_checksum == Checksum("md5", hashlib.md5(DATA).hexdigest())


@pytest.mark.parametrize("limits", [COPYING, fakes.OBJECTS], ids=["by the backend", "by the bytes"])
def test_a_copy_with_another_checksum_is_removed_and_the_source_stays(pair, limits):
    it = pair(limits, sharing=fakes.SHARING & ~Feature.MOVE, UPLOAD=checksummed(change=lambda value: value[::-1]))
    location = it.image()
    if limits is COPYING:
        location = _told_checksum(it, location)
    with pytest.raises(errors.DigestMismatch):
        it.stores.migrate(location, "b", delete_source=True)
    it.check_source(location)


def _told_checksum(it, location):
    """Have the source tell the checksum of its image."""
    images = it.a._driver._state.get().images
    runs, info = images["img"]
    images["img"] = runs, dataclasses.replace(info, checksum=Checksum("md5", hashlib.md5(DATA).hexdigest()))
    return location


def test_a_source_that_is_not_what_it_says_is_not_copied(pair):
    it = pair(fakes.OBJECTS)
    location = it.image()
    images = it.a._driver._state.get().images
    runs, info = images["img"]
    images["img"] = runs, dataclasses.replace(info, checksum=Checksum("md5", "0" * 32))
    with pytest.raises(errors.DigestMismatch):
        it.stores.copy(location, "b")
    assert it.two.count("commit") == 0


@pytest.mark.parametrize("limits", [COPYING, fakes.OBJECTS], ids=["by the backend", "by the bytes"])
def test_a_copy_that_is_read_back_is_proven_by_that(pair, limits):
    it = pair(limits)
    record = it.stores.migrate(it.image(), "b", delete_source=True, verify="read")
    assert record.verified_by == "read"
    assert record.digests["sha512"] == hashlib.sha512(DATA).hexdigest()
    assert it.one.count("move") == 0, "what was moved cannot be compared any more"
    assert it.gone()


@pytest.mark.parametrize("limits", [COPYING, fakes.OBJECTS], ids=["by the backend", "by the bytes"])
def test_a_copy_that_reads_differently_is_removed_and_the_source_stays(pair, limits):
    it = pair(limits)
    location = it.image()
    for number in range(1, 20):
        it.two.body(number, lambda chunks: (bytes(len(chunk)) for chunk in chunks))
    with pytest.raises(errors.DigestMismatch):
        it.stores.migrate(location, "b", delete_source=True, verify="read")
    it.check_source(location)


def test_the_operator_may_have_every_copy_read_back(pair):
    it = pair(text="[b]\nverify_after_write = true\n")
    assert it.stores.copy(it.image(), "b").verified_by == "read"


def test_a_copy_may_go_without_proof(pair):
    it = pair(fakes.OBJECTS, UPLOAD=checksummed(change=lambda value: value[::-1]))
    record = it.stores.copy(it.image(), "b", verify="none")
    assert record.verified_by == "none"
