"""Many at once, processes, and the life of a store object."""

from __future__ import annotations

import gc
import os
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from store_lib import errors
from store_lib.conformance.behaviour import NotOffered, behaviour
from store_lib.conformance.place import Place, content, payload, until
from store_lib.interface import Feature

WRITE = Feature.WRITE
_MANY = 16
#: Seconds that a child has for an image, and each of many at once: there are storages that take minutes.
_PATIENCE = 600


def _at_once(work: Callable[[int], None], together: threading.Barrier) -> None:
    """Run `work` in many threads; fail as the first of them."""
    failed: list[str] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except threading.BrokenBarrierError:
            pass  # another one failed
        except BaseException:
            failed.append(traceback.format_exc())
            together.abort()

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(_MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert not failed, failed[0]
    assert not any(thread.is_alive() for thread in threads), "a transfer does not end"


@behaviour(90, WRITE)
def many_uploads_at_once(place: Place) -> None:
    """Sixteen uploads go on at once through one store object, and each image is the right one."""
    store, together = place.store(), threading.Barrier(_MANY)
    images = [payload(place.part + 2 + number) for number in range(_MANY)]
    ids = [place.new_id() for _ in images]

    def source(data: bytes) -> Iterator[bytes]:
        yield data[: place.part + 1]
        together.wait(_PATIENCE)  # all of them are on their way now
        yield data[place.part + 1 :]

    def work(number: int) -> None:
        record = place.add(source(images[number]), image_id=ids[number], size=len(images[number]))
        assert content(store, record.location) == images[number]

    _at_once(work, together)


@behaviour(91)
def many_downloads_at_once(place: Place) -> None:
    """Sixteen downloads of one image go on at once through one store object."""
    store, together = place.store(), threading.Barrier(_MANY)
    data = payload(place.part + 9100)
    uri = place.put(data)

    def work(number: int) -> None:
        with store.open(uri) as reader:
            together.wait(_PATIENCE)
            assert reader.read() == data

    _at_once(work, together)


@behaviour(92)
def closing_a_store(place: Place) -> None:
    """A store may be closed from another thread and more than once; then it refuses work as StoreClosed."""
    uri = place.put(payload(920))
    store = place.fresh()[place.store_id]
    store.probe()
    driver, stuck = store._driver, [[""]]
    thread = threading.Thread(target=lambda: stuck.append(list(store.close())))
    thread.start()
    thread.join(60)
    assert stuck.pop() == []
    assert list(store.close()) == []
    driver.close()
    for use in (lambda: store.stat(uri), lambda: store.open(uri), lambda: store.add("x", b"x", 1)):
        with pytest.raises(errors.StoreClosed):
            use()


@behaviour(93)
def nothing_stays_open(place: Place) -> None:
    """Once a store is closed, its threads and descriptors are gone."""
    uri = place.put(payload(930))
    before = _held()
    store = place.make({"probe_timeout": 60})[place.store_id]
    store.probe()
    if Feature.WRITE | Feature.DELETE in store.features:
        for size in (2 * place.part, 931):
            store.delete(store.add(place.new_id(), payload(size), size).location)
    else:
        content(store, uri)
    store.close()
    del store

    def clean() -> bool:
        gc.collect()
        return not _held() - before

    until(clean, f"of {dict(_held() - before)} everything is let go", 30)


def _held() -> Counter[str]:
    """Return threads and open descriptors of this process by what they are."""
    found = Counter(f"thread {thread.name}" for thread in threading.enumerate() if thread.name.startswith("store_lib"))
    for number in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{number}")] += 1
        except OSError:
            continue  # the one that lists them
    found.pop(f"/proc/{os.getpid()}/fd", None)
    return found


@behaviour(94)
def making_connects_to_nothing(place: Place) -> None:
    """Making a store does no I/O and starts no thread: it succeeds with a storage that cannot be reached."""
    before = _held()
    stores = place.fresh(**{"probe_timeout": 10, **place.unreachable})
    assert not _held() - before, "making a store opened something"
    if place.unreachable:
        health = stores[place.store_id].probe()
        assert health.status.value == "down"
        assert health.reason


@behaviour(95, Feature.WRITE | Feature.DELETE)
def in_a_child_process(place: Place) -> None:
    """A forked child goes on using the store object, and so does its parent."""
    if not hasattr(os, "fork"):
        raise NotOffered("this system forks no processes")
    store, image_id = place.store(), place.new_id()
    place.add(payload(950))
    child = os.fork()
    if not child:
        code = 1
        try:
            record = store.add(image_id, b"from the child", 14)
            assert content(store, record.location) == b"from the child"
            store.delete(record.location)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    status = _wait(child)
    assert status == 0, f"the child ended with {status}"
    data = payload(951)
    assert content(store, place.add(data).location) == data


def _wait(child: int) -> int:
    """Return the wait status of a child that ends in time; else it is killed."""
    found: list[int] = []

    def ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        found.extend([status] if pid else [])
        return bool(pid)

    try:
        until(ended, "the child ends", _PATIENCE)
    except AssertionError:
        os.kill(child, 9)
        os.waitpid(child, 0)
        raise
    return found[0]
