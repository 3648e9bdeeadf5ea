"""Copying an image: the backend's own way, the way of the bytes, and what stands against it."""

import dataclasses
import hashlib
import threading

import pytest

from store_lib import errors
from store_lib.interface import Feature, Limits
from store_lib.tests import fakes
from store_lib.tests.support import content, payload
from store_lib.tests.unit.transfer.pairs import BLOCKS, COPYING, DATA, WHOLE
from store_lib.transfer.copy import cut

# -- ranges -----------------------------------------------------------------------------------------------------------

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("size", "limits", "least", "ways", "lengths"),
    [
        (10, Limits(copy_max=4), 1, 1, [4, 4, 2]),
        (10, Limits(copy_max=100), 3, 4, [3, 3, 3, 1]),
        (10, Limits(copy_max=100, copy_min=6), 1, 4, [6, 4]),
        (100, Limits(copy_max=100, max_parts=3), 1, 50, [34, 34, 32]),
        (100, Limits(copy_max=100, align=8), 1, 3, [40, 40, 20]),
        (10 * MIB, Limits(copy_max=100 * MIB), 1, 3, [4 * MIB, 4 * MIB, 2 * MIB]),
        (10 * MIB, Limits(copy_max=3 * MIB + 5), 1, 1, [3 * MIB, 3 * MIB, 3 * MIB, MIB]),
    ],
)
def test_ranges_are_as_the_limits_want_them(size, limits, least, ways, lengths):
    found = [*cut(size, limits, least, ways)]
    assert [length for _, _, length in found] == lengths
    assert [index for index, _, _ in found] == [*range(len(lengths))]
    assert [offset for _, offset, _ in found] == [sum(lengths[:at]) for at in range(len(lengths))]


def test_an_image_that_takes_too_many_ranges_is_not_copied_in_ranges():
    with pytest.raises(errors.CannotMigrate):
        list(cut(1000, Limits(copy_max=10, max_parts=50), 1, 2))


# -- inside the backend -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [COPYING, BLOCKS], ids=["objects", "blocks"])
def test_the_backend_copies_by_itself(pair, limits):
    it = pair(limits)
    location = it.image()
    record = it.stores.copy(location, "b")
    assert content(it.b, record.location) == content(it.a, location) == DATA
    assert (record.id, record.location.store, record.size) == ("img", "b", len(DATA))
    assert record.verified_by == "size"
    assert record.digests == {}, "nobody saw the bytes"
    assert it.two.count("copy_part") == 4
    assert it.two.count("write_part") == 0


@pytest.mark.parametrize("limits", [BLOCKS, fakes.BLOCKS], ids=["by the backend", "by the bytes"])
def test_holes_stay_holes(pair, limits):
    it = pair(limits, source=dataclasses.replace(fakes.BLOCKS, thin=True))
    with_hole = DATA[:1000] + bytes(4000) + DATA[:500]
    record = it.stores.copy(it.image(with_hole), "b")
    assert content(it.b, record.location) == with_hole
    with it.b.open(record.location) as reader:
        assert sum(each.length for each in reader.extents() if not each.hole) == 1500


def test_an_image_that_one_request_holds_is_sent_in_one(pair):
    it = pair(dataclasses.replace(COPYING, whole_max=10000))
    it.stores.copy(it.image(), "b")
    assert it.two.count("write_whole") == 1
    assert it.two.count("copy_part") == 0


def test_an_empty_image(pair):
    it = pair()
    record = it.stores.copy(it.image(b""), "b")
    assert content(it.b, record.location) == b""
    assert it.two.count("copy_part") == 0


def test_room_is_made_before_the_backend_copies(pair):
    it = pair(dataclasses.replace(BLOCKS, capacity=1000, quiet_reserve=True))
    record = it.stores.copy(it.image(), "b")
    assert content(it.b, record.location) == DATA
    assert [call.detail["at_least"] for call in it.two.of("reserve")] == [len(DATA)]


def test_a_range_is_copied_again_on_a_passing_error(pair):
    it = pair()
    it.two.fail("copy_part", fakes.passing, 2)
    record = it.stores.copy(it.image(), "b")
    assert content(it.b, record.location) == DATA
    assert it.two.count("copy_part") == 5


def test_a_range_that_keeps_failing_ends_the_copy(pair):
    it = pair()
    location = it.image()
    it.two.fail("copy_part", errors.Forbidden("no"))
    with pytest.raises(errors.Forbidden) as caught:
        it.stores.migrate(location, "b", delete_source=True, verify="read")
    assert caught.value.store == "b"
    it.check_source(location)


def test_progress_of_what_the_backend_copies(pair):
    it = pair()
    told = []
    it.stores.copy(it.image(), "b", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(DATA), len(DATA))


def test_cancel_while_the_backend_copies(pair):
    it = pair()
    location = it.image()
    cancel = threading.Event()
    it.two.act("copy_part", cancel.set, 2)
    with pytest.raises(errors.Cancelled):
        it.stores.migrate(location, "b", delete_source=True, verify="read", cancel=cancel)
    it.check_source(location)


def test_a_source_that_changes_while_the_backend_copies_is_noticed(pair):
    it = pair()
    location = it.image()

    images = it.a._driver._state.get().images

    def replace():
        images["img"] = images["other"]

    it.image(payload(7777, seed=1), "other")
    it.two.act("copy_part", replace, 2)
    with pytest.raises(errors.IntegrityError, match="changed"):
        it.stores.copy(location, "b")
    assert [*it.b.list()] == []


# -- an optimisation that declines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [COPYING, BLOCKS], ids=["objects", "blocks"])
@pytest.mark.parametrize("number", [1, 3])
def test_when_the_backend_declines_at_any_point_the_bytes_go_into_the_same_upload(pair, limits, number):
    it = pair(limits)
    location = it.image()
    it.two.fail("copy_part", errors.CannotMigrate("not here"), number)
    record = it.stores.copy(location, "b")
    assert content(it.b, record.location) == DATA
    assert record.digests["sha512"] == hashlib.sha512(DATA).hexdigest()
    assert it.two.count("upload") == it.two.count("start") == it.two.count("commit") == 1


def test_after_it_declined_an_image_of_one_part_goes_into_the_same_upload(pair):
    it = pair(dataclasses.replace(COPYING, part_size=100000))
    it.two.fail("copy_part", errors.CannotMigrate("not here"))
    record = it.stores.copy(it.image(), "b")
    assert content(it.b, record.location) == DATA
    assert it.two.count("start") == 1


def test_room_is_made_once_when_the_backend_declines(pair):
    it = pair(dataclasses.replace(BLOCKS, capacity=1000))
    it.two.fail("copy_part", errors.CannotMigrate("not here"), 1)
    record = it.stores.copy(it.image(), "b")
    assert content(it.b, record.location) == DATA
    assert it.two.count("reserve") == 1


def test_a_backend_that_copies_images_whole(pair):
    it = pair(WHOLE, text="[b]\ndisabled_features = move\n")
    location = it.image()
    record = it.stores.migrate(location, "b", delete_source=True)
    assert content(it.b, record.location) == DATA
    assert (record.size, record.digests) == (len(DATA), {})
    assert it.two.count("copy_whole") == 1
    assert it.two.count("start") == it.two.count("copy_part") == it.two.count("write_part") == it.one.count("read") == 0
    assert it.gone()


def test_a_backend_that_does_not_copy_this_image_whole(pair):
    it = pair(WHOLE)
    it.two.fail("copy_whole", errors.CannotMigrate("not this one"))
    record = it.stores.copy(it.image(), "b")
    assert content(it.b, record.location) == DATA
    assert record.digests == {name: hashlib.new(name, DATA).hexdigest() for name in ("md5", "sha512")}
    assert it.two.count("start") == 1


def test_a_whole_copy_is_tried_again_unless_it_may_have_happened(pair):
    it = pair(WHOLE)
    location = it.image()
    it.two.fail("copy_whole", errors.StoreUnavailable("down", outcome=errors.Outcome.NOT_DONE), 1)
    it.stores.copy(location, "b")
    assert it.two.count("copy_whole") == 2
    it.two.fail("copy_whole", errors.StoreUnavailable("lost", outcome=errors.Outcome.UNKNOWN), 3)
    with pytest.raises(errors.StoreUnavailable):
        it.stores.copy(location, "b", image_id="other")
    assert it.two.count("copy_whole") == 3
    assert [each.id for each in it.b.list()] == ["img"]
    assert content(it.a, location) == DATA


def test_an_empty_image_is_not_copied_whole(pair):
    it = pair(WHOLE)
    record = it.stores.copy(it.image(b""), "b")
    assert content(it.b, record.location) == b""
    assert it.two.count("copy_whole") == 0


# -- by the bytes -----------------------------------------------------------------------------------------------------


def test_stores_that_share_nothing_copy_by_the_bytes(pair):
    it = pair(sharing=fakes.SHARING & ~(Feature.COPY | Feature.MOVE))
    location = it.image()
    record = it.stores.migrate(location, "b", delete_source=True)
    assert content(it.b, record.location) == DATA
    assert record.digests == {name: hashlib.new(name, DATA).hexdigest() for name in ("md5", "sha512")}
    assert it.gone()
    assert it.one.count("move") == it.two.count("copy_part") == 0


def test_the_operator_may_switch_the_backends_way_off(pair):
    it = pair(text="[b]\ndisabled_features = copy, move\n")
    it.stores.migrate(it.image(), "b", delete_source=True)
    assert it.one.count("move") == it.two.count("copy_part") == 0


def test_reading_and_writing_take_one_grant_of_memory(pair, monkeypatch):
    it = pair(limits=fakes.OBJECTS, sharing=fakes.SHARING & ~Feature.COPY)
    location = it.image()
    asked = []

    def note(store, taken):
        def noted(want, *rest):
            asked.append(store.id)
            return taken(want, *rest)

        return noted

    for store in (it.a, it.b):
        budget = store._runtime.budget
        for name in ("acquire", "try_acquire"):
            monkeypatch.setattr(budget, name, note(store, getattr(budget, name)))
    record = it.stores.copy(location, "b")
    assert asked == ["b"]
    monkeypatch.undo()
    assert content(it.b, record.location) == DATA


def test_an_error_of_the_source_names_the_source(pair):
    it = pair(limits=fakes.OBJECTS)
    location = it.image()
    it.one.fail("read", errors.Forbidden("no"))
    with pytest.raises(errors.Forbidden) as caught:
        it.stores.copy(location, "b")
    assert caught.value.store == "a"
    it.check_source(location)


def test_a_source_of_another_size_than_it_had(pair):
    it = pair(limits=fakes.OBJECTS)
    location = it.image()
    it.one.act("open", lambda: (it.a.delete(location), it.image(DATA[1:])), 1)
    with pytest.raises(errors.SizeMismatch):
        it.stores.copy(location, "b")
    assert [*it.b.list()] == []


# -- what stands against it -------------------------------------------------------------------------------------------


def test_a_taken_id_is_not_touched(pair):
    it = pair()
    location = it.image()
    other = it.b.add("img", b"another", 7).location
    with pytest.raises(errors.Duplicate):
        it.stores.migrate(location, "b", delete_source=True)
    assert content(it.b, other) == b"another"
    assert content(it.a, location) == DATA


def test_an_image_is_copied_within_its_store_under_another_id_only(pair):
    it = pair(text="[a]\ndisabled_features = move\n")
    location = it.image()
    for arguments in ({}, {"delete_source": True}):
        with pytest.raises(errors.Duplicate):
            it.stores.copy(location, "a", **arguments)
    record = it.stores.copy(location, "a", image_id="other")
    assert content(it.a, record.location) == content(it.a, location) == DATA


def test_what_can_never_work_is_refused_before_anything_is_asked(pair):
    it = pair(text="[a]\nread_only = true\n")
    location = f"{it.a.prefix()}img"
    for expected, call in (
        (errors.BadRequest, lambda: it.stores.copy(location, "b", verify="maybe")),
        (errors.BadImageId, lambda: it.stores.copy(location, "b", image_id="../x")),
        (errors.UnknownStore, lambda: it.stores.copy(location, "c")),
        (errors.ReadOnlyStore, lambda: it.stores.migrate(location, "b", delete_source=True)),
        (errors.ReadOnlyStore, lambda: it.stores.copy(f"{it.b.prefix()}img", "a")),
    ):
        with pytest.raises(expected):
            call()
    assert it.one.calls == it.two.calls == []


def test_an_image_that_is_not_there(pair):
    it = pair()
    with pytest.raises(errors.NotFound) as caught:
        it.stores.copy(f"{it.a.prefix()}img", "b")
    assert caught.value.store == "a"
    assert it.two.count("upload") == 0


def test_a_store_that_is_down_takes_no_copy(pair):
    it = pair()
    location = it.image()
    it.two.fail("probe", fakes.passing)
    with pytest.raises(errors.StoreUnavailable) as caught:
        it.stores.copy(location, "b")
    assert caught.value.store == "b"
    assert it.two.count("upload") == 0


def test_what_the_callers_context_reaches(pair):
    it = pair()
    context = object()
    it.stores.copy(it.image(), "b", context=context)
    assert it.two.of("upload")[0].detail["ctx"].caller is context
