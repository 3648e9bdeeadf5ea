"""Digests: each sees every byte once, in order, whatever threads there are."""

import hashlib
import threading

import pytest

from store_lib import errors
from store_lib.runtime import Clock, Pool
from store_lib.tests.support import payload
from store_lib.transfer.digest import Digests, check_algorithms, new_hash, split_digest
from store_lib.transfer.flow import Flow

DATA = payload(100_000)


def flow():
    return Flow(Clock(), lambda: None, lambda: None, None)


@pytest.mark.parametrize("threads", [0, 1, 2, 8])
def test_bytes_come_in_order_on_any_number_of_threads(threads):
    seen = []

    class Verifier:
        def update(self, data):
            seen.append((data, threading.current_thread()))

    pool, ours = Pool(threads, "test", Clock()), flow()
    digests = Digests(["md5", "sha256", "sha512"], Verifier())
    digests.spread(pool, ours)
    ours.add_slots([memoryview(bytearray(1000)) for _ in range(3)])
    for start in range(0, len(DATA), 1000):
        slot = ours.take_slot(lambda size: memoryview(bytearray(size)))
        slot.block[:] = DATA[start : start + 1000]
        ours.hold(slot, len(digests))
        digests.put(slot.block, slot)
    ours.drain()
    assert digests.result() == {name: hashlib.new(name, DATA).hexdigest() for name in ("md5", "sha256", "sha512")}
    assert b"".join(data for data, _ in seen) == DATA
    assert (threading.current_thread() in {thread for _, thread in seen}) is (threads == 0)
    pool.close(1)


def test_without_threads_they_are_computed_at_once():
    digests = Digests(["sha1"])
    digests.update(memoryview(b"abc"))
    assert digests.result() == {"sha1": hashlib.sha1(b"abc").hexdigest()}


def test_an_error_of_the_verifier_ends_the_flow_with_it():
    error = ValueError("bad")

    class Verifier:
        def update(self, data):
            raise error

    pool, ours = Pool(1, "test", Clock()), flow()
    digests = Digests([], Verifier())
    digests.spread(pool, ours)
    ours.add_slots([memoryview(bytearray(10))])
    slot = ours.take_slot(lambda size: memoryview(bytearray(size)))
    ours.hold(slot, 1)
    digests.put(slot.block, slot)
    with pytest.raises(ValueError, match="bad") as raised:
        ours.drain()
    assert raised.value is error
    ours.end()
    pool.close(1)


def test_names_are_taken_in_any_case_and_once():
    assert check_algorithms(["MD5", "sha512", "md5"]) == ("md5", "sha512")
    assert check_algorithms([]) == ()


@pytest.mark.parametrize("name", ["sha513", "", "shake_256", "md5 ", "x" * 1000])
def test_names_of_no_digest(name):
    with pytest.raises(errors.UnknownDigest):
        check_algorithms(["sha256", name])
    with pytest.raises(errors.UnknownDigest):
        new_hash(name)


def test_a_digest_as_text():
    assert split_digest("MD5:" + "A" * 32) == ("md5", "a" * 32)
    for wrong in ("md5", "md5:", "md5:" + "g" * 32, "md5:" + "a" * 31, "nope:aa", "", "md5:" + "٣" * 32):
        with pytest.raises(errors.UnknownDigest):
            split_digest(wrong)
