"""Copying an image whose source is to go: moves inside the backend, and what becomes of the source."""

import pytest

from store_lib import errors
from store_lib.interface import Feature
from store_lib.tests import fakes
from store_lib.tests.support import content
from store_lib.tests.unit.transfer.pairs import DATA


def test_the_backend_moves_when_the_source_is_to_go(pair):
    it = pair()
    location = it.image()
    record = it.stores.migrate(location, "b", delete_source=True)
    assert content(it.b, record.location) == DATA
    assert it.gone()
    assert record.verified_by == "size"
    assert it.one.count("move") == 1
    assert it.two.count("upload") == it.one.count("delete") == 0


def test_the_backend_does_not_move_when_the_source_is_to_stay(pair):
    it = pair()
    location = it.image()
    it.stores.migrate(location, "b")
    assert content(it.a, location) == DATA
    assert it.one.count("move") == 0


def test_when_the_backend_cannot_move_the_image_is_copied_and_the_source_deleted(pair):
    it = pair()
    location = it.image()
    it.one.fail("move", errors.CannotMigrate("not here"))
    record = it.stores.migrate(location, "b", delete_source=True)
    assert content(it.b, record.location) == DATA
    assert it.gone()
    assert it.two.count("copy_part") == 4


def test_a_move_whose_answer_is_lost_is_neither_repeated_nor_copied(pair):
    it = pair()
    it.one.fail("move", fakes.lost, after=True)
    with pytest.raises(errors.CommitUnknown):
        it.stores.migrate(it.image(), "b", delete_source=True)
    assert it.one.count("move") == 1
    assert it.two.count("upload") == 0


def test_a_move_that_fails_in_passing_is_tried_again(pair):
    it = pair()
    it.one.fail("move", fakes.passing, 1)
    it.stores.migrate(it.image(), "b", delete_source=True)
    assert it.one.count("move") == 2


def test_the_copy_of_a_source_that_cannot_be_deleted_stays_and_is_told(pair):
    it = pair(sharing=fakes.SHARING & ~Feature.MOVE)
    location = it.image()
    it.one.fail("delete", errors.InUse("a snapshot needs it"))
    with pytest.raises(errors.SourceRemains, match="snapshot") as caught:
        it.stores.migrate(location, "b", delete_source=True)
    assert content(it.a, location) == DATA
    assert content(it.b, caught.value.record.location) == DATA
    assert caught.value.store == "a"


def test_a_commit_whose_answer_was_lost_is_a_success(pair):
    it = pair(sharing=fakes.SHARING & ~Feature.MOVE)
    it.two.fail("commit", fakes.lost, 1, after=True)
    record = it.stores.migrate(it.image(), "b", delete_source=True)
    assert content(it.b, record.location) == DATA
    assert it.gone()


def test_when_nobody_can_tell_the_outcome_the_source_stays(pair):
    it = pair(sharing=fakes.SHARING & ~Feature.MOVE)
    location = it.image()
    it.two.fail("commit", fakes.lost, after=True)
    it.two.fail("outcome", fakes.passing)
    with pytest.raises(errors.CommitUnknown):
        it.stores.migrate(location, "b", delete_source=True)
    assert content(it.a, location) == DATA


def test_an_interrupt_before_the_source_is_deleted_leaves_the_source_alone(pair):
    it = pair(sharing=fakes.SHARING & ~Feature.MOVE)
    location = it.image()
    it.two.fail("commit", KeyboardInterrupt, after=True)
    with pytest.raises(KeyboardInterrupt):
        it.stores.migrate(location, "b", delete_source=True)
    it.check_source(location)


def test_an_interrupt_while_the_source_is_deleted_keeps_the_copy_and_says_where_it_is(pair, caplog):
    it = pair(sharing=fakes.SHARING & ~Feature.MOVE)
    location = it.image()
    it.one.fail("delete", KeyboardInterrupt, after=True)
    with pytest.raises(KeyboardInterrupt):
        it.stores.migrate(location, "b", delete_source=True)
    assert content(it.b, f"{it.b.prefix()}img") == DATA
    assert f"its copy is {it.b.prefix()}img" in caplog.text
