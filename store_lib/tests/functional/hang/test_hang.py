"""A file system that hangs: every call ends, nothing is lost for good, and the store comes back."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from store_lib import Status, StoreLibError, StoreUnavailable
from store_lib.tests import support
from store_lib.tests.functional.hang.conftest import TIMEOUT, helpers, wait_for

pytestmark = [pytest.mark.functional, pytest.mark.faults, pytest.mark.root]

#: What a call may take: the time-out, an engine that waits for requests under way, and a slow machine.
BOUND = TIMEOUT + 2.5

DATA = os.urandom(1_500_000)


@contextlib.contextmanager
def bounded(seconds=BOUND):
    """Fail unless what is inside ends in time."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def works(store):
    """Store, read and delete an image."""
    record = store.add("works", iter([DATA[:1000], DATA[1000:]]), len(DATA))
    with store.open(record.location) as reader:
        assert hashlib.md5(reader.read()).hexdigest() == record.digests["md5"]
    store.delete(record.location)


def read_all(store, location):
    """Read an image in small pieces."""
    with store.open(location) as reader:
        while reader.read(65536):
            pass


def comes_back(store):
    """Wait until the store works again."""

    def once():
        with contextlib.suppress(StoreUnavailable):
            works(store)
            return True
        return False

    wait_for(once)


@pytest.mark.parametrize("operation", ["stat", "statfs", "create", "write", "truncate", "fsync", "link"])
def test_add_ends_when_the_file_system_hangs(hanging, store, operation, tmp_path):
    works(store)
    sparse = tmp_path / "sparse"
    sparse.write_bytes(DATA)
    os.truncate(sparse, 2 * len(DATA))
    hanging.hang(operation)
    with sparse.open("rb") as hole_at_the_end, bounded(), pytest.raises(StoreLibError) as caught:
        # Only a file that ends with a hole is given its size.
        store.add("image", hole_at_the_end if operation == "truncate" else iter([DATA]), None)
    assert isinstance(caught.value, StoreUnavailable) or "outcome" in str(caught.value)
    hanging.wake()
    comes_back(store)
    wait_for(lambda: (hanging.root / "images").is_dir())
    visible = [name for name in os.listdir(hanging.root / "images") if not name.startswith(".")]
    # A link that was asked for may still happen once the file system goes on, but only of the whole image.
    assert visible in ([], ["image"])
    assert operation == "link" or not visible
    if visible:
        assert (hanging.root / "images" / "image").read_bytes() == DATA
    store.sweep(older_than=0)
    assert not [name for name in os.listdir(hanging.root / "images") if name.startswith(".")]


@pytest.mark.parametrize("operation", ["stat", "open", "read"])
def test_get_ends_when_the_file_system_hangs(hanging, store, operation):
    location = store.add("image", DATA, len(DATA)).location
    subprocess.run(["sync", "-f", str(hanging.mount)], check=True)
    hanging.hang(operation)
    with bounded(), pytest.raises(StoreUnavailable):
        read_all(store, location)
    hanging.wake()
    comes_back(store)
    with store.open(location) as reader:
        assert reader.read() == DATA


def test_delete_ends_when_the_file_system_hangs(hanging, store):
    location = store.add("image", DATA, len(DATA)).location
    hanging.hang("unlink")
    with bounded(), pytest.raises(StoreUnavailable):
        store.delete(location)
    hanging.wake()
    comes_back(store)
    store.delete(location, missing_ok=True)
    assert os.listdir(hanging.root / "images") == []


def test_a_hundred_calls_in_a_row_end_and_most_of_them_at_once(hanging, store):
    location = store.add("image", DATA, len(DATA)).location
    hanging.hang("stat")
    quick = 0
    for number in range(100):
        began = time.monotonic()
        with bounded(), pytest.raises(StoreUnavailable):
            _ = store.stat(location) if number % 2 else store.add(f"image-{number}", DATA, len(DATA))
        quick += time.monotonic() - began < 0.4
        assert len(helpers()) <= 3
    assert quick >= 90
    health = store.probe()
    assert health.status is Status.DOWN
    assert "has not answered for" in health.reason or "did not answer" in health.reason
    hanging.wake()
    comes_back(store)
    assert store.probe().status in (Status.UP, Status.DEGRADED)
    assert len(helpers()) <= 3


def at_once(number, call):
    """Have so many threads call at once; see that each one fails in time.

    :return: the seconds that each took, and by how many the machine was late.
    """
    took, failures = [], []  # kinds and texts: an error holds the memory of its transfer

    def one(number):
        began = time.monotonic()
        try:
            call(number)
        except StoreLibError as error:
            failures.append((type(error), str(error)))
        took.append(time.monotonic() - began)

    threads = [threading.Thread(target=one, args=(each,)) for each in range(number)]
    with support.lateness() as woken:
        for thread in threads:
            thread.start()
        start = support.time_of_a_start()  # who gets a new helper waits for it before the file system is asked
        for thread in threads:
            thread.join(60)
    late = sum(woken) + start
    print(f"{len(failures)} of {number} failed, the last after {max(took):.2f} s; the machine was {late:.2f} s late")
    assert len(took) == len(failures) == number
    return took, late


@pytest.mark.parametrize("operation", ["stat", "open"])
def test_a_hundred_calls_at_once_all_end_within_a_second_of_the_time_out(hanging, store, operation):
    location = store.add("image", DATA, len(DATA)).location
    hanging.hang(operation)
    took, late = at_once(100, lambda number: read_all(store, location))
    assert max(took) < TIMEOUT + 1 + late
    assert len(helpers()) <= 3
    hanging.wake()
    comes_back(store)


def test_thirty_adds_at_once_end(hanging, store):
    works(store)
    hanging.hang("write")
    took, late = at_once(30, lambda number: store.add(f"image-{number}", DATA, len(DATA)))
    assert max(took) < 2 * BOUND + late  # its first bytes, its name that is taken away, and those it waits for
    hanging.wake()
    comes_back(store)


def test_a_helper_that_is_killed_costs_its_transfer_only(hanging, store):
    works(store)
    read_on = threading.Event()

    def source():
        yield DATA
        read_on.wait(10)
        yield DATA

    caught = []

    def add():
        try:
            store.add("image", source(), None)
        except StoreLibError as error:
            caught.append((type(error), str(error)))

    thread = threading.Thread(target=add)
    thread.start()
    wait_for(lambda: any((hanging.root / "images").iterdir()))
    for helper in helpers():
        os.kill(helper.pid, signal.SIGKILL)
    read_on.set()
    thread.join(10)
    assert not thread.is_alive()
    assert caught[0][0] is StoreUnavailable
    assert "helper process" in caught[0][1]
    works(store)
    store.sweep(older_than=0)
    assert os.listdir(hanging.root / "images") == []


@pytest.mark.parametrize("hangs", [False, True])
def test_no_helper_outlives_the_process(hanging, tmp_path, store, hangs):
    code = (
        "import sys, time, store_lib\n"
        f"stores = store_lib.Stores.from_file({str(tmp_path / 'store.conf')!r})\n"
        "def source():\n"
        "    yield bytes(1000000)\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "stores.default.add('image', source())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        children = psutil.Process(process.pid).children()
        assert children
        if hangs:
            hanging.hang("stat")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    if hangs:
        time.sleep(0.3)
        hanging.wake()
    wait_for(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))
    store.sweep()
    assert os.listdir(hanging.root / "images") == []
