"""Adding images: what stands before the commit, the commit itself, and proof of what was stored."""

import dataclasses
import hashlib
import io
import os
import signal
import threading
import time

import pytest

from store_lib import errors
from store_lib.interface import Checksum
from store_lib.tests import fakes
from store_lib.tests.support import content, payload, pieces
from store_lib.tests.unit.transfer.uploads import PART, WHOLE, Failure, ids, unfinished

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
