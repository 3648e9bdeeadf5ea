"""More transfers than threads or memory."""

import threading
import time

import pytest

from store_lib import errors
from store_lib.tests import support

MIB = support.MIB


def _all(count, function):
    """Run ``function(number)`` in as many threads; return the results in order, errors of the library as such."""
    results: list[object] = [None] * count

    def run(number):
        try:
            results[number] = function(number)
        except errors.StoreLibError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,), name=f"caller-{number}") for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("timeout", [0, 60])
def test_64_transfers_on_two_threads(make_file_store, tmp_path, temporary, timeout):
    """Runs 64 adds at once, all in the middle of their source at the same time, on two threads and two for digests."""
    store = make_file_store(
        threads=2, max_threads=2, part_size=256 * 1024, retry_attempts=3, filesystem_store_timeout=timeout
    )
    barrier = threading.Barrier(64)
    seen = []

    def add(number):
        data = support.payload(MIB, number % 8)

        def source():
            yield data[:600_000]
            barrier.wait(60)
            names = [thread.name for thread in threading.enumerate()]
            seen.extend([names.count("store_lib-it"), names.count("store_lib-digest")])
            yield data[600_000:]

        record = store.add(f"i{number}", source())
        with store.open(record.location) as reader:
            return reader.read() == data

    assert _all(64, add) == [True] * 64
    assert max(seen) == 2
    assert len(support.names(tmp_path / "images")) == 64
    assert store._runtime.budget.used == 0


def test_64_transfers_that_fail_or_end(make_file_store, tmp_path, temporary):
    """Runs 64 adds on two threads, of which every third raises, every fifth is cancelled: the others are stored."""
    store = make_file_store(threads=2, max_threads=2, part_size=256 * 1024)

    def add(number):
        cancel = threading.Event()

        def source():
            yield support.payload(MIB, number % 8)
            if number % 3 == 0:
                raise errors.StoreFull("the source")
            if number % 5 == 0:
                cancel.set()
            yield support.payload(MIB, number % 8)

        return store.add(f"i{number}", source(), cancel=cancel).id

    results = _all(64, add)
    kinds = [
        errors.StoreFull if number % 3 == 0 else errors.Cancelled if number % 5 == 0 else str for number in range(64)
    ]
    assert [type(result) for result in results] == kinds
    assert support.names(tmp_path / "images") == sorted(result for result in results if isinstance(result, str))
    assert store._runtime.budget.used == 0


@pytest.fixture
def used_up(make_file_store):
    """Return a function that makes a store whose memory is all held by stalled adds, and an event to let them go."""
    go = threading.Event()
    running = []

    def make(**options):
        store = make_file_store(memory_limit=4 * MIB, part_size=MIB, **options)

        def stalled():
            yield bytes(MIB)
            go.wait(60)
            yield bytes(MIB)

        number = 0
        while store._runtime.budget.used < 4 * MIB:
            thread = threading.Thread(target=store.add, args=(f"stalled-{number}", stalled()))
            before = store._runtime.budget.used
            thread.start()
            running.append(thread)
            support.until(lambda before=before: store._runtime.budget.used > before)
            number += 1
        return store, go

    yield make
    go.set()
    for thread in running:
        thread.join()


def test_others_wait_for_memory(used_up, tmp_path):
    """Uses up memory_limit: further adds and their order wait, and end once memory is given back."""
    store, go = used_up()
    results: list[object] = []
    thread = threading.Thread(
        target=lambda: results.extend(_all(12, lambda number: store.add(f"i{number}", bytes(3 * MIB)).size))
    )
    thread.start()
    time.sleep(0.5)
    assert not results
    assert not [name for name in support.names(tmp_path / "images") if name.startswith("i")]
    go.set()
    thread.join()
    assert results == [3 * MIB] * 12
    assert store._runtime.budget.used == 0


def test_others_fail_as_busy(used_up, tmp_path):
    """Uses up memory_limit with a short queue_timeout: Busy, after that time and without reading the source."""
    store, go = used_up(queue_timeout=0.3)
    began = time.monotonic()
    with pytest.raises(errors.Busy) as caught:
        store.add("one", support.unread())
    assert 0.2 < time.monotonic() - began < 5
    assert caught.value.transient
    assert store.add.__name__ == "add"
    go.set()
    support.until(lambda: not store._runtime.budget.used)
    assert store.add("one", bytes(3 * MIB)).size == 3 * MIB


def test_who_waits_can_be_cancelled(used_up):
    """Cancels an add that waits for memory."""
    store, _ = used_up()
    cancel = threading.Event()
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    with pytest.raises(errors.Cancelled):
        store.add("one", support.unread(), cancel=cancel)
    timer.join()


def test_no_thread_can_be_started(make_file_store, monkeypatch):
    """Forbids the process any further thread: transfers run in their caller's."""
    store = make_file_store()

    def start(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        record = store.add("one", support.payload(9 * MIB))
        assert support.content(store, record.location) == support.payload(9 * MIB)


def test_threads_go(make_stores, tmp_path):
    """Closes the Stores after work: their threads end at once; a second close and later use are harmless."""
    stores = make_stores(f"[DEFAULT]\nenabled_backends = it:file\n[it]\nfilesystem_store_datadir = {tmp_path}/images\n")
    before = threading.active_count()
    with support.nothing_left():
        stores["it"].add("one", support.payload(9 * MIB))
        assert threading.active_count() > before
        reader = stores["it"].open(f"file://{tmp_path}/images/one")
        assert stores.close() == []
        reader.close()
        support.until(lambda: threading.active_count() == before, 2)
    assert stores.close() == []
    for verb in (lambda: stores["it"].add("two", b"x"), lambda: stores["it"].stat(f"file://{tmp_path}/images/one")):
        with pytest.raises(errors.StoreClosed):
            verb()


def test_a_hundred_stores_made_and_closed(make_stores, tmp_path):
    """Makes and closes stores many times over: threads and descriptors stay the same."""
    with support.nothing_left():
        for number in range(100):
            stores = make_stores(
                f"[DEFAULT]\nenabled_backends = it:file\n[it]\nfilesystem_store_datadir = {tmp_path}/images\n"
            )
            stores["it"].add(f"i{number}", b"x")
            stores.start()
            stores.close()
