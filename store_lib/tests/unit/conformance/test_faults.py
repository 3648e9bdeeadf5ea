"""The script that makes any driver fail, and the class that is made of a driver for it."""

import pytest

from store_lib import errors
from store_lib.conformance import Place
from store_lib.conformance.faults import Script, lost
from store_lib.conformance.place import content
from store_lib.drivers.memory import MemoryDriver

CONFIG = "[DEFAULT]\nenabled_backends = it:memory\n"


@pytest.fixture
def place():
    with Place(CONFIG, "it") as place:
        yield place


def test_a_driver_with_a_script_is_of_its_own_kind(place):
    store, script = place.scripted()
    record = place.add(b"data", store)
    assert content(store, record.location) == b"data"
    assert isinstance(store._driver, MemoryDriver)
    assert [call.verb for call in script.of("upload", "write_whole", "abort", "open", "read")] == [
        *("upload", "write_whole", "abort", "open", "read")
    ]


def test_a_script_is_clear_for_each_check(place):
    store, script = place.scripted()
    script.fail("stat", lost)
    record = place.add(b"data", store)
    again, same = place.scripted()
    assert again is store
    assert same.calls == []
    assert store.stat(record.location).size == 4


def test_a_call_fails_before_or_after_it_took_effect(place):
    store, script = place.scripted(retry_attempts=1)
    record = place.add(b"data", store)
    script.fail("delete", lambda: errors.BackendError("before"), 1)
    script.fail("delete", lambda: errors.BackendError("after"), 2, after=True)
    with pytest.raises(errors.BackendError, match="before"):
        store.delete(record.location)
    assert content(store, record.location) == b"data"
    with pytest.raises(errors.BackendError, match="after"):
        store.delete(record.location)
    assert place.absent(record.id, store)


def test_what_a_driver_calls_of_itself_is_not_counted():
    script = Script()
    assert script.run("open", lambda: script.run("stat", lambda: 7)) == 7
    assert [call.verb for call in script.calls] == ["open"]


def test_what_is_to_happen_always_happens_once():
    script, seen = Script(), []
    script.act("open", lambda: seen.append("always"), after=True, always=True)

    def fail():
        raise errors.BackendError("broken")

    script.run("open", lambda: None)
    with pytest.raises(errors.BackendError):
        script.run("open", fail)
    assert seen == ["always", "always"]


@pytest.mark.parametrize(("size", "expected"), [(0, []), (1, [b"a"]), (3, [b"ab", b"c"]), (4, [b"ab", b"cd"])])
def test_a_body_is_cut_at_any_byte(size, expected):
    script = Script()
    script.cut(1, size)
    assert [*script.read(lambda: iter([b"ab", b"cd", b"ef"]), 0)] == expected
    assert [*script.read(lambda: iter([b"ab"]), 0)] == [b"ab"]


def test_images_of_a_check_are_removed_after_it(place):
    store = place.store()
    record, kept = place.add(b"data"), place.store().add("kept", b"x", 1)
    place.tidy()
    assert [each.id for each in store.list()] == ["kept"]
    assert place.absent(record.id)
    store.delete(kept.location)


def test_what_a_broken_body_held_is_let_go():
    closed = []

    def body():
        try:
            yield b"abcd"
            yield b"efgh"
        finally:
            closed.append(True)

    script = Script()
    script.cut(1, 2, lost)
    chunks = script.read(body, 0)
    assert next(chunks) == b"ab"
    with pytest.raises(errors.OperationTimeout):
        next(chunks)
    assert closed
