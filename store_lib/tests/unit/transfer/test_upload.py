"""Adding images: the rules of the engine, one after another."""

import dataclasses
import hashlib
import io
import itertools
import os
import signal
import threading
import time

import pytest

from store_lib import errors
from store_lib.interface import KIB, MIB, Checksum, Limits
from store_lib.runtime import Clock, Deadline
from store_lib.tests import fakes
from store_lib.tests.support import content, payload, pieces, until

PART = fakes.OBJECTS.part_size
WHOLE = Limits(part_size=PART, parallel=2, whole_max=4 * PART, ranges=True)


class Failure(Exception):
    """Something that is not store_lib's."""


def ids(store):
    """Return the ids of the images that are visible."""
    return sorted(image.id for image in store.list())


def unfinished(store):
    """Return what uploads have left."""
    return list(store.leftovers())


def sizes(driver):
    """Return the lengths of the parts that were written, by index."""
    return [call.detail["part"].length for call in sorted(driver.script.of("write_part"), key=_index)]


def _index(call):
    return call.detail["part"].index


# -- small and large --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 5 * PART, 5 * PART + 1, 12345])
@pytest.mark.parametrize("limits", [fakes.OBJECTS, fakes.BLOCKS, WHOLE], ids=["objects", "blocks", "whole"])
def test_what_was_added_is_what_is_read(make_store, limits, size, known):
    driver = fakes.fake(limits)
    store = make_store(driver)
    data = payload(size)
    record = store.add("image", io.BytesIO(data), size if known else None)
    assert record.size == size
    assert record.digests["sha512"] == hashlib.sha512(data).hexdigest()
    assert record.digests["md5"] == hashlib.md5(data).hexdigest()
    assert content(store, record.location) == data
    assert store.stat(record.location).size == size
    assert driver.script.count("abort") == 1
    assert unfinished(store) == []


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("size", "whole"), [(0, 1), (1, 1), (PART, 1), (3 * PART, 1), (4 * PART, 1), (4 * PART + 1, 0), (9 * PART, 0)]
)
def test_an_image_that_fits_goes_in_one_request(make_store, size, whole, known):
    driver = fakes.fake(WHOLE)
    store = make_store(driver)
    record = store.add("image", payload(size), size if known else None)
    assert driver.script.count("write_whole") == whole
    assert driver.script.count("start") == driver.script.count("commit") == 1 - whole
    assert content(store, record.location) == payload(size)


def test_an_image_larger_than_one_request_goes_in_parts_of_equal_size(make_store):
    driver = fakes.fake()
    make_store(driver).add("image", payload(3500))
    assert sizes(driver) == [1000, 1000, 1000, 500]
    assert [part.last for part in parts(driver)] == [False, False, False, True]
    assert [part.offset for part in parts(driver)] == [0, 1000, 2000, 3000]


def parts(driver):
    """Return the parts that were written, by index."""
    return [call.detail["part"] for call in sorted(driver.script.of("write_part"), key=_index)]


def test_an_image_of_one_buffer_takes_no_thread(make_store):
    driver = fakes.fake()
    store = make_store(driver, operation_timeout=20)
    store.probe()
    driver.script.calls.clear()
    store.add("image", payload(PART), PART)
    assert {call.thread for call in driver.script.calls} == {threading.current_thread()}


def test_the_source_is_read_by_the_calling_thread_only(make_store):
    seen = set()

    def source():
        for piece in pieces(payload(20 * PART), 300):
            seen.add(threading.current_thread())
            yield piece

    driver = fakes.fake()
    make_store(driver).add("image", source())
    assert seen == {threading.current_thread()}
    assert threading.current_thread() not in {call.thread for call in driver.script.of("write_part")}


def test_an_operator_chooses_the_size_of_the_parts(make_store):
    driver = fakes.fake(Limits(part_size=PART, parallel=2))
    make_store(driver, part_size=64 * KIB).add("image", payload(100 * KIB))
    assert sizes(driver) == [64 * KIB, 36 * KIB]


def test_parts_grow_when_the_size_is_not_known(make_store):
    limits = Limits(part_size=PART, parallel=1, max_parts=20)
    driver = fakes.fake(limits)
    store = make_store(driver)
    data = payload(60 * PART)
    record = store.add("image", io.BytesIO(data))
    assert content(store, record.location) == data
    assert sizes(driver)[:4] == [PART, PART, 2 * PART, 2 * PART]


@pytest.mark.parametrize("whole_max", [0, PART, 3 * PART, 100 * PART])
@pytest.mark.parametrize("max_parts", [5, 11, 30])
def test_parts_that_grow_early_keep_the_bytes_in_order(make_store, max_parts, whole_max):
    driver = fakes.fake(Limits(part_size=PART, parallel=3, max_parts=max_parts, whole_max=whole_max, ranges=True))
    store = make_store(driver)
    for size in (PART, 2 * PART, 3 * PART + 1, 8 * PART):
        data = payload(size)
        assert content(store, store.add(f"image-{size}", pieces(data, 700)).location) == data


def test_with_the_size_known_parts_are_as_large_as_their_number_needs(make_store):
    driver = fakes.fake(Limits(part_size=PART, parallel=2, max_parts=10))
    make_store(driver).add("image", payload(25 * PART), 25 * PART)
    assert sizes(driver) == [2500] * 10


def test_equal_parts_and_unknown_size_have_a_stated_maximum(make_store):
    driver = fakes.fake(Limits(part_size=PART, parallel=2, max_parts=10, equal_parts=True))
    store = make_store(driver)
    store.add("fits", io.BytesIO(payload(10 * PART)))
    with pytest.raises(errors.BadRequest, match="10 parts"):
        store.add("too-large", io.BytesIO(payload(10 * PART + 1)))
    assert ids(store) == ["fits"]
    assert unfinished(store) == []


def test_each_part_carries_the_digest_that_the_backend_asks_for(make_store):
    driver = fakes.fake(Limits(part_size=PART, parallel=2, part_digest="md5", whole_max=10))
    store = make_store(driver)
    store.add("image", payload(2500))
    store.add("small", b"abc")
    written = [*parts(driver), driver.script.of("write_whole")[0].detail["part"]]
    assert len(written) == 4
    assert all(part.digest == hashlib.md5(part.data).hexdigest() for part in written)


# -- size -------------------------------------------------------------------------------------------------------------


BORDERS = (1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART - 1, 3 * PART, 3 * PART + 1)


@pytest.mark.parametrize(
    ("size", "more"), [(size, more) for size in BORDERS for more in (-PART, -1, 1, PART) if size + more >= 0]
)
def test_a_source_of_another_size_than_declared_is_refused(make_store, size, more):
    driver = fakes.fake(WHOLE)
    store = make_store(driver)
    with pytest.raises(errors.SizeMismatch, match="longer" if more > 0 else "ended after"):
        store.add("image", io.BytesIO(payload(size + more)), size)
    assert driver.script.count("commit") == driver.script.count("write_whole") == 0
    assert driver.script.count("abort") == 1
    assert ids(store) == unfinished(store) == []


def test_an_empty_image_may_not_be_longer(make_store):
    with pytest.raises(errors.SizeMismatch, match="longer than the declared 0"):
        make_store().add("image", b"x", 0)


@pytest.mark.parametrize("size", [-1, 1.5, "12", True - 2])
def test_a_size_that_is_none_is_refused_before_anything_is_asked(make_store, size):
    driver = fakes.fake()
    with pytest.raises(errors.BadRequest):
        make_store(driver).add("image", b"", size)
    assert driver.script.calls == []


# -- the source's errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Failure("mine"), OSError(28, "No space left on device"), KeyError("x")])
@pytest.mark.parametrize("good", [0, 1, PART, 2 * PART, 2 * PART + 5, 6 * PART])
@pytest.mark.parametrize("known", [True, False])
def test_an_error_of_the_source_passes_unchanged(make_store, good, known, error):
    def source():
        yield payload(good)
        raise error

    driver = fakes.fake(WHOLE, ERRORS=((Exception, errors.StoreFull),))
    store = make_store(driver)
    with pytest.raises(type(error)) as raised:
        store.add("image", source(), good if known else None)
    assert raised.value is error
    assert driver.script.count("abort") == 1
    assert driver.script.count("commit") == driver.script.count("write_whole") == 0
    assert ids(store) == unfinished(store) == []


def test_what_is_no_source_is_refused(make_store):
    with pytest.raises(TypeError, match="binary file"):
        make_store().add("image", 12)
    with pytest.raises(TypeError):
        make_store().add("image", io.StringIO("text"))


# -- retry ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [fakes.OBJECTS, fakes.BLOCKS])
def test_one_part_is_sent_again_without_reading_the_source_again(make_store, limits):
    driver = fakes.fake(limits)
    driver.script.fail("write_part", fakes.passing, 2, 4)
    store = make_store(driver)
    record = store.add("image", pieces(payload(5500), 333))
    assert content(store, record.location) == payload(5500)
    assert driver.script.count("write_part") == 6 + 2


def test_a_part_that_keeps_failing_ends_the_transfer(make_store):
    driver = fakes.fake()
    driver.script.fail("write_part", fakes.passing)
    store = make_store(driver, retry_attempts=3)
    with pytest.raises(errors.StoreUnavailable, match="try again"):
        store.add("image", payload(500))
    assert driver.script.count("write_part") == 3
    assert ids(store) == unfinished(store) == []


def test_an_error_that_will_not_pass_is_not_tried_again(make_store):
    driver = fakes.fake()
    driver.script.fail("write_part", errors.StoreFull("no room"))
    with pytest.raises(errors.StoreFull) as raised:
        make_store(driver).add("image", payload(500))
    assert driver.script.count("write_part") == 1
    assert (raised.value.store, raised.value.operation) == ("it", "add")


@pytest.mark.parametrize("verb", ["upload", "start", "reserve"])
def test_the_other_requests_are_sent_again_too(make_store, verb):
    driver = fakes.fake(Limits(part_size=PART, capacity=0))
    driver.script.fail(verb, fakes.passing, 1)
    store = make_store(driver)
    assert content(store, store.add("image", payload(500)).location) == payload(500)
    assert driver.script.count(verb) == 2


def test_a_start_that_may_have_happened_is_not_repeated(make_store):
    driver = fakes.fake()
    driver.script.fail("start", fakes.lost, 1, after=True)
    store = make_store(driver)
    with pytest.raises(errors.OperationTimeout):
        store.add("image", payload(500))
    assert driver.script.count("start") == driver.script.count("abort") == 1
    assert unfinished(store) == []


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_buffer_is_not_used_again_once_a_request_may_still_read_it(make_store, parallel):
    driver = fakes.fake(Limits(part_size=PART, parallel=parallel))
    driver.script.keep = True
    for number in (1, 2, 5, 7):
        driver.script.fail("write_part", fakes.lost, number)
    unknown = [0, 1, 4, 6]
    store = make_store(driver)
    record = store.add("image", io.BytesIO(payload(30 * PART)))
    assert content(store, record.location) == payload(30 * PART)
    changed = [number for number, (view, then) in enumerate(driver.script.kept) if view != then]
    assert not set(changed) & set(unknown)
    assert changed, "buffers are used again otherwise"
    driver.script.kept.clear()


def test_when_every_buffer_is_lost_new_ones_take_their_place(make_store):
    driver = fakes.fake(Limits(part_size=PART, parallel=2))
    for number in range(1, 40, 2):
        driver.script.fail("write_part", fakes.lost, number)
    store = make_store(driver)
    assert content(store, store.add("image", payload(15 * PART)).location) == payload(15 * PART)


@pytest.mark.parametrize("size", [0, 10, 3 * PART, 9 * PART])
def test_buffers_are_given_back(make_store, size):
    buffers = fakes.Buffers()
    make_store(fakes.fake(WHOLE, buffers=buffers)).add("image", payload(size))
    assert sorted(buffers.taken) == sorted(buffers.released) != []


@pytest.mark.parametrize(("verb", "size"), [("write_part", 9 * PART), ("write_whole", 10), ("write_whole", 3 * PART)])
def test_buffers_that_may_still_be_read_are_not_given_back(make_store, verb, size):
    buffers = fakes.Buffers()
    driver = fakes.fake(WHOLE, buffers=buffers)
    driver.script.fail(verb, fakes.lost, 1)
    store = make_store(driver)
    assert content(store, store.add("image", payload(size)).location) == payload(size)
    assert len(buffers.released) < len(buffers.taken)


# -- the order before the commit --------------------------------------------------------------------------------------


class Verifier:
    """Sees the bytes like a signature verifier."""

    def __init__(self, script):
        self.seen = b""
        self.script = script
        self.committed_before = None
        self.error = None

    def update(self, data):
        assert isinstance(data, bytes)
        self.seen += data

    def verify(self):
        self.committed_before = self.script.count("commit") + self.script.count("write_whole")
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("size", [0, 10, PART, 3 * PART, 4 * PART, 9 * PART + 1])
def test_the_verifier_sees_all_bytes_in_order_and_speaks_before_the_commit(make_store, size):
    driver = fakes.fake(WHOLE)
    verifier = Verifier(driver.script)
    make_store(driver).add("image", pieces(payload(size), 77), verifier=verifier)
    assert verifier.seen == payload(size)
    assert verifier.committed_before == 0


@pytest.mark.parametrize("size", [10, 3 * PART, 9 * PART])
def test_a_verifier_that_objects_stops_the_commit(make_store, size):
    driver = fakes.fake(WHOLE)
    verifier = Verifier(driver.script)
    verifier.error = Failure("bad signature")
    store = make_store(driver)
    with pytest.raises(Failure) as raised:
        store.add("image", payload(size), verifier=verifier)
    assert raised.value is verifier.error
    assert driver.script.count("commit") == driver.script.count("write_whole") == 0
    assert ids(store) == unfinished(store) == []


@pytest.mark.parametrize("size", [10, 9 * PART])
def test_an_error_inside_the_verifier_passes_unchanged(make_store, size):
    driver = fakes.fake()
    error = Failure("broken")

    class Broken(Verifier):
        def update(self, data):
            raise error

    verifier = Broken(driver.script)
    with pytest.raises(Failure) as raised:
        make_store(driver).add("image", payload(size), verifier=verifier)
    assert raised.value is error
    assert driver.script.count("commit") == 0


@pytest.mark.parametrize("size", [0, 10, 3 * PART, 9 * PART])
def test_an_image_with_another_digest_than_expected_never_becomes_visible(make_store, size):
    driver = fakes.fake(WHOLE)
    store = make_store(driver)
    right = hashlib.sha256(payload(size)).hexdigest()
    with pytest.raises(errors.DigestMismatch, match="sha256"):
        store.add("image", payload(size), expected={"sha256": "0" * 64})
    assert driver.script.count("commit") == driver.script.count("write_whole") == 0
    assert ids(store) == unfinished(store) == []
    record = store.add("image", payload(size), digests=["sha1"], expected={"SHA256": right.upper()})
    assert record.digests == {"sha1": hashlib.sha1(payload(size)).hexdigest(), "sha256": right}


def test_an_unknown_digest_is_refused_before_anything_is_asked(make_store):
    driver = fakes.fake()
    store = make_store(driver)
    with pytest.raises(errors.UnknownDigest):
        store.add("image", b"", digests=["sha513"])
    with pytest.raises(errors.UnknownDigest):
        store.add("image", b"", expected={"shake_128": "00"})
    assert driver.script.calls == []


# -- the commit -------------------------------------------------------------------------------------------------------

COMMITS = pytest.mark.parametrize(("size", "verb"), [(10, "write_whole"), (9 * PART, "commit")])


@COMMITS
def test_a_commit_whose_answer_was_lost_is_a_success(make_store, size, verb):
    driver = fakes.fake(WHOLE)
    driver.script.fail(verb, fakes.lost, after=True)
    store = make_store(driver)
    record = store.add("image", payload(size))
    assert content(store, record.location) == payload(size)
    assert (driver.script.count(verb), driver.script.count("outcome")) == (1, 1)


@COMMITS
def test_a_commit_that_was_lost_on_its_way_is_sent_again(make_store, size, verb):
    driver = fakes.fake(WHOLE)
    driver.script.fail(verb, fakes.lost, 1)
    store = make_store(driver)
    assert content(store, store.add("image", payload(size)).location) == payload(size)
    assert (driver.script.count(verb), driver.script.count("outcome")) == (2, 1)


@COMMITS
def test_a_name_that_is_taken_after_a_lost_answer_may_be_taken_by_that_very_commit(make_store, size, verb):
    driver = fakes.fake(WHOLE)
    driver.script.fail(verb, fakes.lost, 1, after=True)
    driver.script.replace("outcome", lambda: None, 1)  # as long as the request is still under way
    store = make_store(driver)
    assert content(store, store.add("image", payload(size)).location) == payload(size)
    assert ids(store) == ["image"]
    assert (driver.script.count(verb), driver.script.count("outcome")) == (2, 2)


@COMMITS
def test_a_duplicate_of_another_upload_is_left_alone(make_store, size, verb):
    driver = fakes.fake(WHOLE)
    store = make_store(driver)
    other = payload(size + 7, seed=2)

    def overtake():
        if len(driver.script.of(verb)) == 1:
            store.add("image", other)

    driver.script.act(verb, overtake, 1)
    with pytest.raises(errors.Duplicate):
        store.add("image", payload(size))
    assert content(store, "memory://it/image") == other
    assert unfinished(store) == []


@COMMITS
def test_a_duplicate_after_a_lost_answer_that_was_not_this_upload(make_store, size, verb):
    driver = fakes.fake(WHOLE)
    store = make_store(driver)
    other = payload(size + 7, seed=2)

    def overtake():
        if len(driver.script.of(verb)) == 1:
            store.add("image", other)
            raise fakes.lost()

    driver.script.act(verb, overtake, 1)
    with pytest.raises(errors.Duplicate):
        store.add("image", payload(size))
    assert content(store, "memory://it/image") == other


def test_a_taken_id_is_refused_before_the_source_is_read(make_store):
    store = make_store()
    store.add("image", b"first")
    source = io.BytesIO(b"second")
    with pytest.raises(errors.Duplicate):
        store.add("image", source)
    assert source.tell() == 0
    assert content(store, "memory://it/image") == b"first"


@COMMITS
def test_when_nobody_can_tell_the_outcome_the_caller_is_told_so(make_store, size, verb):
    driver = fakes.fake(WHOLE)
    driver.script.fail(verb, fakes.lost, after=True)
    driver.script.fail("outcome", errors.StoreUnavailable("gone", transient=False))
    store = make_store(driver)
    with pytest.raises(errors.CommitUnknown, match="may be there or not") as raised:
        store.add("image", payload(size))
    assert raised.value.outcome is errors.Outcome.UNKNOWN
    assert driver.script.count("abort") == 1
    assert ids(store) == ["image"], "an abort must not remove what may be committed"


@COMMITS
def test_a_commit_that_fails_leaves_nothing(make_store, size, verb):
    driver = fakes.fake(WHOLE)
    driver.script.fail(verb, errors.BackendError("no"))
    store = make_store(driver)
    with pytest.raises(errors.BackendError):
        store.add("image", payload(size))
    assert driver.script.count(verb) == driver.script.count("abort") == 1
    assert ids(store) == unfinished(store) == []


@COMMITS
@pytest.mark.parametrize("error", [Failure("a bug"), KeyboardInterrupt(), SystemExit(3)])
def test_an_interrupted_commit_removes_the_image(make_store, size, verb, error):
    driver = fakes.fake(WHOLE)
    driver.script.fail(verb, error, after=True)
    store = make_store(driver)
    with pytest.raises(type(error)) as raised:
        store.add("image", payload(size))
    assert raised.value is error
    assert ids(store) == unfinished(store) == []


def test_ctrl_c_while_a_guarded_commit_is_under_way_removes_the_image(make_store):
    driver = fakes.fake()
    gate = driver.script.block("commit", 1)

    def interrupt():
        gate.wait()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        gate.open()

    store = make_store(driver, operation_timeout=20)
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        store.add("image", payload(9 * PART))
    thread.join()
    time.sleep(0.1)
    assert driver.script.count("outcome") == driver.script.count("delete") == 1
    assert ids(store) == unfinished(store) == []


def test_the_engine_says_so_when_an_image_cannot_be_removed(make_store, logged):
    driver = fakes.fake()
    driver.script.fail("commit", KeyboardInterrupt(), after=True)
    driver.script.fail("delete", errors.StoreUnavailable("gone"))
    store = make_store(driver)
    with pytest.raises(KeyboardInterrupt):
        store.add("image", b"x")
    assert [text for text in logged() if "image could not be removed" in text]


def test_an_abort_that_raises_hides_no_error(make_store, logged):
    driver = fakes.fake()
    driver.script.fail("write_part", errors.StoreFull("no room"))
    driver.script.fail("abort", Failure("a bug"))
    with pytest.raises(errors.StoreFull):
        make_store(driver).add("image", b"x")
    assert [text for text in logged() if "clearing away" in text]


def test_an_abort_that_raises_does_not_spoil_a_success(make_store):
    driver = fakes.fake()
    driver.script.fail("abort", errors.StoreUnavailable("gone"), after=True)
    store = make_store(driver)
    assert content(store, store.add("image", b"x").location) == b"x"


# -- foreign errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["upload", "start", "write_part", "commit"])
@pytest.mark.parametrize("size", [10, 9 * PART])
def test_an_error_that_the_driver_does_not_know_is_a_bug_and_passes_as_it_is(make_store, verb, size):
    error = TypeError("a bug")
    driver = fakes.fake(ERRORS=((OSError, errors.StoreFull),))
    driver.script.fail(verb, error)
    store = make_store(driver)
    with pytest.raises(TypeError) as raised:
        store.add("image", payload(size))
    assert raised.value is error
    assert ids(store) == unfinished(store) == []


@pytest.mark.parametrize("verb", ["upload", "start", "write_part", "commit"])
@pytest.mark.parametrize("size", [10, 9 * PART])
def test_an_error_of_the_client_is_translated_and_named(make_store, verb, size):
    error = OSError("the client's")
    driver = fakes.fake(ERRORS=((OSError, lambda found: errors.StoreFull(f"seen: {found}")),))
    driver.script.fail(verb, error)
    with pytest.raises(errors.StoreFull, match="seen: the client's") as raised:
        make_store(driver).add("image", payload(size))
    assert raised.value.__cause__ is error
    assert (raised.value.store, raised.value.operation) == ("it", "add")


def test_a_client_error_may_be_a_passing_one(make_store):
    driver = fakes.fake(ERRORS=((OSError, errors.StoreUnavailable),))
    driver.script.fail("write_part", OSError("reset"), 1)
    store = make_store(driver)
    assert content(store, store.add("image", payload(500)).location) == payload(500)


# -- cancel -----------------------------------------------------------------------------------------------------------


def later(seconds, function):
    """Call `function` in a while, in another thread."""
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()
    return timer


def test_cancel_while_the_source_stalls(make_store):
    driver = fakes.fake()
    store = make_store(driver)
    cancel = threading.Event()
    reading, writing = os.pipe()
    os.write(writing, payload(2500))
    later(0.2, cancel.set)
    began = time.monotonic()
    with open(reading, "rb", buffering=0) as source, pytest.raises(errors.Cancelled):
        store.add("image", source, cancel=cancel)
    assert time.monotonic() - began < 5
    os.close(writing)
    assert ids(store) == unfinished(store) == []


def test_cancel_before_anything(make_store):
    driver = fakes.fake()
    store = make_store(driver)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.Cancelled):
        store.add("image", b"x", cancel=cancel)
    assert driver.script.count("upload") == 0


def test_cancel_while_waiting_for_memory(make_store):
    driver = fakes.fake()
    store = make_store(driver, memory_limit=MIB)
    cancel = threading.Event()
    with _all_memory(store):
        later(0.2, cancel.set)
        with pytest.raises(errors.Cancelled):
            store.add("image", payload(5000), cancel=cancel)
    assert ids(store) == unfinished(store) == []
    store.add("image", payload(5000))


def _all_memory(store):
    budget = store._runtime.budget
    return budget.acquire(budget.limit, budget.limit, Deadline(None, Clock()), lambda: None)


def test_no_memory_in_time_is_busy(make_store):
    store = make_store(memory_limit=MIB, queue_timeout=0.2, retry_attempts=1)
    with _all_memory(store), pytest.raises(errors.Busy, match="memory_limit") as raised:
        store.add("image", payload(5000))
    assert raised.value.transient


@pytest.mark.parametrize("size", [10, 9 * PART])
def test_cancel_while_waiting_for_another_try(make_store, size):
    driver = fakes.fake()
    driver.script.fail("write_part", fakes.passing)
    store = make_store(driver, clock=Clock(), retry_attempts=50)
    cancel = threading.Event()
    later(1.0, cancel.set)
    began = time.monotonic()
    with pytest.raises(errors.Cancelled):
        store.add("image", payload(size), cancel=cancel)
    assert time.monotonic() - began < 2.5
    assert unfinished(store) == []


def test_cancel_while_a_part_is_on_its_way(make_store):
    driver = fakes.fake()
    gate = driver.script.block("write_part", 1)
    store = make_store(driver)
    cancel = threading.Event()
    later(0.1, cancel.set)
    later(0.4, gate.open)
    with pytest.raises(errors.Cancelled):
        store.add("image", payload(9 * PART), cancel=cancel)
    assert ids(store) == unfinished(store) == []


# -- progress and bandwidth -------------------------------------------------------------------------------------------


def test_progress_is_told_in_the_calling_thread_at_most_ten_times_a_second(make_store):
    told = []

    def progress(done, total):
        told.append((time.monotonic(), threading.current_thread(), done, total))

    def source():
        for piece in pieces(payload(80 * PART), PART):
            time.sleep(0.01)
            yield piece

    make_store().add("image", source(), 80 * PART, progress=progress)
    assert {thread for _, thread, _, _ in told} == {threading.current_thread()}
    assert len(told) >= 4
    gaps = [after[0] - before[0] for before, after in itertools.pairwise(told[:-1])]
    assert min(gaps) >= 0.09
    done = [each[2] for each in told]
    assert done == sorted(done)
    assert told[-1][2:] == (80 * PART, 80 * PART)


@pytest.mark.parametrize("size", [0, 10, 9 * PART])
def test_progress_ends_with_everything_and_only_after_the_commit(make_store, size):
    driver = fakes.fake()
    told = []
    make_store(driver).add("image", payload(size), progress=lambda *told_: told.append((*told_, _committed(driver))))
    assert told[-1] == (size, size, 1)


def _committed(driver):
    return driver.script.count("commit")


@pytest.mark.parametrize("size", [10, 9 * PART])
def test_an_error_of_the_progress_function_ends_the_transfer(make_store, size):
    error = Failure("enough")

    def progress(done, total):
        if done == size:
            raise error

    store = make_store()
    with pytest.raises(Failure) as raised:
        store.add("image", payload(size), progress=progress)
    assert raised.value is error
    assert ids(store) == unfinished(store) == []


def test_the_bandwidth_limit_holds_for_all_transfers_together(make_store):
    store = make_store(bandwidth_limit=400_000, clock=Clock())
    began = time.monotonic()
    threads = [threading.Thread(target=store.add, args=(str(n), pieces(payload(100_000), 5000))) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    assert 0.4 < seconds < 1.5


# -- reserve ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_room_is_asked_for_when_a_part_ends_beyond_and_nobody_writes_meanwhile(make_store, known):
    limits = Limits(part_size=PART, parallel=3, capacity=2 * PART, quiet_reserve=True, sparse=100)
    driver = fakes.fake(limits)
    driver.script.act("write_part", lambda: time.sleep(0.005))
    store = make_store(driver)
    size = 10 * PART + 1
    record = store.add("image", pieces(payload(size), 999), size if known else None)
    assert content(store, record.location) == payload(size)
    asked = [call.detail["at_least"] for call in driver.script.of("reserve")]
    assert asked[0] == 3 * PART
    assert asked[-1] == size


def test_a_backend_that_makes_more_room_than_asked_is_asked_less(make_store):
    class Generous(fakes.FakeUpload):
        def reserve(self, at_least):
            super().reserve(at_least)
            self._capacity = at_least + 100 * PART
            return self._capacity

    driver = fakes.fake(Limits(part_size=PART, capacity=0), UPLOAD=Generous)
    make_store(driver).add("image", payload(9 * PART))
    assert driver.script.count("reserve") == 1


def test_room_that_cannot_be_made(make_store):
    driver = fakes.fake(Limits(part_size=PART, capacity=PART))
    driver.script.fail("reserve", errors.StoreFull("no room"))
    store = make_store(driver)
    with pytest.raises(errors.StoreFull):
        store.add("image", payload(3 * PART))
    assert unfinished(store) == []


# -- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
@pytest.mark.parametrize("timeout", [0, 30])
def test_many_transfers_end_on_two_threads(make_store, timeout):
    driver = fakes.fake(Limits(part_size=PART, parallel=4, ranges=True))
    store = make_store(driver, threads=2, max_threads=2, memory_limit=MIB, operation_timeout=timeout)
    failures = []

    def work(number):
        try:
            record = store.add(f"image-{number}", pieces(payload(20 * PART, seed=number % 4), 500))
            assert content(store, record.location) == payload(20 * PART, seed=number % 4)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(ids(store)) == 64
    assert store._runtime.pool.threads <= 2


def test_a_thread_that_does_not_come_back_is_given_up(make_store, monkeypatch, logged):
    monkeypatch.setattr("store_lib.transfer.flow.GRACE", 0.1)
    driver = fakes.fake()
    gate = driver.script.block("write_part", 2)
    store = make_store(driver, operation_timeout=0.3, max_threads=4)
    began = time.monotonic()
    with pytest.raises(errors.OperationTimeout):
        store.add("image", payload(9 * PART))
    assert time.monotonic() - began < 3
    assert [text for text in logged() if "does not come back" in text]
    assert len(store._runtime.pool.stuck()) >= 1
    assert ids(store) == unfinished(store) == []
    store.add("other", payload(9 * PART))
    gate.open()
    until(lambda: not store._runtime.pool.stuck())


def test_too_many_stuck_threads_make_the_store_fail_at_once(make_store, monkeypatch):
    monkeypatch.setattr("store_lib.transfer.flow.GRACE", 0.1)
    driver = fakes.fake(Limits(part_size=PART, parallel=1))
    gates = [driver.script.block("write_part", number) for number in (1, 2)]
    store = make_store(driver, operation_timeout=0.2, max_threads=2, retry_attempts=1)
    for number in range(2):
        with pytest.raises(errors.OperationTimeout):
            store.add(f"image-{number}", payload(9 * PART))
    began = time.monotonic()
    with pytest.raises(errors.StoreUnavailable, match="2 requests have not come back"):
        store.add("image", payload(9 * PART))
    assert time.monotonic() - began < 1
    assert unfinished(store) == []
    for gate in gates:
        gate.open()
    until(lambda: not store._runtime.pool.stuck())
    store.add("image", payload(9 * PART))


def test_closing_the_store_ends_transfers_and_clears_away(make_store):
    driver = fakes.fake(Limits(part_size=PART, parallel=1))
    gate = driver.script.block("write_part", 2)
    store = make_store(driver, operation_timeout=20)
    failures = []

    def work():
        try:
            store.add("image", pieces(payload(50 * PART), 100))
        except errors.StoreLibError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    gate.wait()
    later(0.2, gate.open)
    store.close(5)
    thread.join(5)
    assert not thread.is_alive()
    assert isinstance(failures[0], errors.StoreClosed)
    assert driver.script.count("abort") == 1


def test_what_ends_after_the_store_was_closed_is_cleared_away_all_the_same(make_store):
    driver = fakes.fake(Limits(part_size=PART, parallel=1))
    gate = driver.script.block("write_part", 2)
    store = make_store(driver, operation_timeout=20)
    failures = []

    def work():
        try:
            store.add("image", payload(50 * PART))
        except errors.StoreLibError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    gate.wait()
    assert store.close(0.1) != []
    gate.open()
    thread.join(5)
    assert isinstance(failures[0], errors.StoreClosed)
    assert driver.script.count("abort") == 1


# -- sparse -----------------------------------------------------------------------------------------------------------


def stored(store, image="image"):
    """Return data and holes of an image as ``(offset, length, hole)``."""
    with store.open(f"memory://it/{image}") as reader:
        return [(extent.offset, extent.length, extent.hole) for extent in reader.extents()]


def test_runs_of_zeroes_are_left_out_where_the_driver_wants_it(make_store):
    data = payload(2500) + bytes(5000) + payload(700)
    for thin, holes in ((True, [(2500, 5000)]), (False, [])):
        driver = fakes.fake(Limits(part_size=PART, parallel=2, sparse=100, thin=thin, ranges=True))
        store = make_store(driver)
        store.add("image", pieces(data, 900))
        assert content(store, "memory://it/image") == data
        assert [each[:2] for each in stored(store) if each[2]] == holes


def test_holes_of_a_sparse_file_stay_holes(make_store, tmp_path):
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        for number in range(3):
            file.seek(number * 64 * KIB)
            file.write(payload(4 * KIB))
        file.truncate(256 * KIB)
    driver = fakes.fake(Limits(part_size=50 * KIB, parallel=2, sparse=4 * KIB, ranges=True))
    store = make_store(driver)
    with open(path, "rb") as file:
        record = store.add("image", file)
    assert content(store, record.location) == path.read_bytes()
    data = sum(length for _, length, hole in stored(store) if not hole)
    assert data == 12 * KIB


def test_an_image_of_holes_alone(make_store, tmp_path):
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(100 * KIB)
    driver = fakes.fake(Limits(part_size=30 * KIB, parallel=2, sparse=4 * KIB, ranges=True))
    store = make_store(driver)
    with open(path, "rb") as file:
        record = store.add("image", file, 100 * KIB)
    assert driver.script.count("write_part") == 0
    assert content(store, record.location) == bytes(100 * KIB)


def test_a_copy_of_an_image_keeps_its_holes_without_reading_them(make_store):
    limits = Limits(part_size=PART, parallel=2, sparse=100, thin=True, ranges=True)
    driver = fakes.fake(limits)
    store = make_store(driver)
    data = payload(1500) + bytes(20_000) + payload(1500)
    store.add("image", data)
    driver.script.calls.clear()
    with store.open("memory://it/image") as reader:
        store.add("copy", reader)
    assert content(store, "memory://it/copy") == data
    assert [each for each in stored(store, "copy") if each[2]] == [(1500, 20_000, True)]


# -- health and proof -------------------------------------------------------------------------------------------------


def test_a_read_back_that_differs_removes_the_image(make_store):
    driver = fakes.fake()
    driver.script.body(1, lambda chunks: (bytes(len(chunk)) for chunk in chunks))
    store = make_store(driver, verify_after_write="true")
    with pytest.raises(errors.DigestMismatch, match="read back"):
        store.add("image", payload(500))
    assert ids(store) == []
    assert store.add("image", payload(500)).verified_by == "read"


def test_reading_back_happens_in_the_callers_context_and_proves_something_without_digests(make_store):
    driver = fakes.fake()
    driver.script.body(1, lambda chunks: (bytes(len(chunk)) for chunk in chunks))
    store = make_store(driver, verify_after_write="true")
    token = object()
    with pytest.raises(errors.DigestMismatch):
        store.add("image", payload(500), digests=[], context=token)
    assert driver.script.of("open")[0].detail["ctx"].caller is token


def test_a_backend_that_counts_other_bytes_is_not_believed(make_store):
    class Short(fakes.FakeUpload):
        def commit(self, size, parts):
            found = super().commit(size, parts)
            return dataclasses.replace(found, info=dataclasses.replace(found.info, size=size - 1))

    store = make_store(fakes.fake(UPLOAD=Short))
    with pytest.raises(errors.SizeMismatch, match="holds 499 bytes of 500"):
        store.add("image", payload(500))
    assert ids(store) == []


@pytest.mark.parametrize("good", [True, False])
def test_the_backends_own_checksum_is_compared(make_store, good):
    class Counting(fakes.FakeUpload):
        def commit(self, size, parts):
            found = super().commit(size, parts)
            value = hashlib.md5(payload(500) if good else b"").hexdigest().upper()
            return dataclasses.replace(found, info=dataclasses.replace(found.info, checksum=Checksum("md5", value)))

    store = make_store(fakes.fake(UPLOAD=Counting))
    if good:
        assert store.add("image", payload(500)).verified_by == "backend"
    else:
        with pytest.raises(errors.DigestMismatch, match="another md5"):
            store.add("image", payload(500))
        assert ids(store) == []


def test_what_the_driver_hears(make_store):
    driver = fakes.fake()
    token = object()
    make_store(driver).add("image", io.BytesIO(b"abc"), 3, context=token)
    told = driver.script.of("upload")[0].detail
    assert (told["image_id"], told["size"], told["ctx"].caller) == ("image", 3, token)
    assert told["ctx"].owner.pid == os.getpid()
