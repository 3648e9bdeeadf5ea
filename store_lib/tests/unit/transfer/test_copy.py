"""Copying and migrating: the backend's own way, the way of the bytes, and what becomes of the source."""

import dataclasses
import hashlib
import threading

import pytest

from store_lib import errors
from store_lib.interface import Checksum, Feature, Limits
from store_lib.tests import fakes
from store_lib.tests.support import content, payload
from store_lib.transfer.copy import cut

#: Parts by their index, copied in ranges.
COPYING = dataclasses.replace(fakes.OBJECTS, copy_max=2000, part_size=1000)
#: Parts by their offset, copied in ranges.
BLOCKS = dataclasses.replace(fakes.BLOCKS, copy_max=2000)
#: Copied whole.
WHOLE = dataclasses.replace(fakes.BLOCKS, copy_whole=True)

DATA = payload(7777)


class Pair:
    """Two stores, ``a`` and ``b``, of fakes that share a backend."""

    def __init__(self, stores, one, two):
        self.stores = stores
        self.a, self.b = stores["a"], stores["b"]
        self.one, self.two = one.script, two.script

    def image(self, data=DATA, image_id="img", **arguments):
        """Add an image to ``a`` and return its location."""
        return self.a.add(image_id, data, len(data), **arguments).location

    def gone(self):
        """Return whether the image is no longer in ``a``."""
        return not [*self.a.list()]

    def check_source(self, location):
        """See that the source is as it was, and nothing in ``b``."""
        self.one.unfail("read")
        assert content(self.a, location) == DATA
        assert [*self.b.list()] == []
        assert [*self.b.leftovers()] == []


@pytest.fixture
def pair(make_stores):
    """Return a function that makes a `Pair`; at the end their memory must be free and no rule be broken."""
    made = []

    def make(limits=COPYING, sharing=fakes.SHARING, source=fakes.OBJECTS, text="", clock=None, **attributes):
        one = fakes.fake(source, FEATURES=sharing)
        two = fakes.fake(limits, FEATURES=sharing, **attributes)
        stores = make_stores(
            "[DEFAULT]\nenabled_backends = a:one, b:two\n[glance_store]\ndefault_backend = a\n"
            f"[backend_defaults]\nprobe_interval = 0\n{text}",
            drivers={"one": one, "two": two},
            clock=clock or fakes.QuickClock(),
        )
        made.append(Pair(stores, one, two))
        return made[-1]

    yield make
    for each in made:
        each.one.release()
        each.two.release()
        for store in (each.a, each.b):
            assert store._runtime.budget.used == 0, "a transfer kept its memory"
        assert each.one.violations + each.two.violations == []
        assert each.stores.close(5) == []


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


# -- the source's end -------------------------------------------------------------------------------------------------


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


# -- proof ------------------------------------------------------------------------------------------------------------


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


def test_what_the_callers_context_reaches(pair):
    it = pair()
    context = object()
    it.stores.copy(it.image(), "b", context=context)
    assert it.two.of("upload")[0].detail["ctx"].caller is context
