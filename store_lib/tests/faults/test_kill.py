"""The process is killed while it adds images."""

import collections
import mmap
import os
import random
import signal
import struct
import time

import pytest

from store_lib.drivers import _posix
from store_lib.tests import support

MIB = support.MIB
KILLS = 200
BETWEEN = 150  #: so many of them at least between the first byte and the commit
DATA = support.payload(6 * MIB + 5)
DIGEST = support.sha512(DATA)

BEGUN, BODY, PUBLISHING, PUBLISHED, RETURNED = range(1, 6)


class Phase:
    """How far a child has come, in memory that it shares with its parent and that outlives it."""

    def __init__(self):
        self._memory = mmap.mmap(-1, 16)

    def set(self, value):
        self._memory[:8] = struct.pack("q", value)

    def get(self):
        return struct.unpack("q", self._memory[:8])[0]

    @property
    def taken(self):
        """Bytes that were taken from the source."""
        return struct.unpack("q", self._memory[8:])[0]

    @taken.setter
    def taken(self, count):
        self._memory[8:] = struct.pack("q", count)

    def close(self):
        self._memory.close()


def _add(store, image_id, phase, named):
    if named:
        _posix.create_unnamed = lambda directory, mode: None
    publish = _posix.publish

    def told(*arguments):
        phase.set(PUBLISHING)
        publish(*arguments)
        phase.set(PUBLISHED)

    _posix.publish = told

    def source():
        phase.set(BODY)
        for piece in support.pieces(DATA):
            yield piece
            phase.taken += len(piece)

    phase.set(BEGUN)
    store.add(image_id, source())
    phase.set(RETURNED)


class Killer:
    """Kills processes that add images, one after another, and looks at what they left."""

    def __init__(self, store, folder):
        self.store = store
        self.folder = folder
        self.random = random.Random(20)
        self.phases: collections.Counter[int] = collections.Counter()
        self.complete = self.hidden = self.swept = self.between = 0
        self.whole = 0.0

    @property
    def kills(self):
        """How many processes were killed, rather than done before."""
        return sum(self.phases.values())

    def measure(self, named):
        """Find out how long an undisturbed add takes in a process."""
        phase = Phase()
        began = time.monotonic()
        with support.Child(_add, self.store, "measured", phase, named) as child:
            child.result()
        self.whole = time.monotonic() - began
        os.unlink(self.folder / "measured")
        phase.close()

    def kill(self, number, named, where):
        """Kill one add at a random moment: at some byte of it, after the last one, about the commit, or anywhere."""
        image_id = f"image-{number}"
        phase = Phase()
        with support.Child(_add, self.store, image_id, phase, named) as child:
            if where == "anywhere":
                time.sleep(self.random.uniform(0, self.whole * 1.2))
            else:
                taken = self.random.randrange(len(DATA) * 9 // 10) if where == "body" else len(DATA)
                while (phase.get() < BODY or phase.taken < taken) and not child.ended():
                    time.sleep(0.0001)
                while where == "commit" and phase.get() < PUBLISHING and not child.ended():
                    time.sleep(0)
                time.sleep(0 if where == "body" else self.random.uniform(0, 0.001))
            if not child.ended():
                child.kill(signal.SIGKILL)
            status = child.wait()
        if os.WIFSIGNALED(status):
            self.look(image_id, phase.get(), named)
        elif (self.folder / image_id).exists():
            os.unlink(self.folder / image_id)
        phase.close()

    def look(self, image_id, phase, named):
        """Judge what a killed process left: the image is there whole, or nothing of it has its name."""
        self.phases[phase] += 1
        visible = [name for name in support.names(self.folder) if not name.startswith(support.HIDDEN)]
        hidden = len(support.names(self.folder)) - len(visible)
        assert set(visible) <= {image_id}
        assert phase != RETURNED or visible
        assert phase >= PUBLISHING or not visible
        assert hidden <= (1 if named else 0)
        if visible:
            self.store.verify(f"file://{self.folder}/{image_id}", f"sha512:{DIGEST}")
            self.complete += 1
        self.between += phase in (BODY, PUBLISHING) and not visible
        self.hidden += hidden
        swept = self.store.sweep()
        assert not swept.kept
        assert not swept.failed
        self.swept += len(swept.removed)
        assert support.names(self.folder) == visible
        if visible:
            self.store.verify(f"file://{self.folder}/{image_id}", f"sha512:{DIGEST}")
            os.unlink(self.folder / image_id)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kill_minus_nine(make_file_store, tmp_path, record_property):
    """Kills 200 processes at random moments of add, three quarters of them between the first byte and the commit."""
    store = make_file_store(part_size=MIB)  # the file is made once there is more than one part of it
    store.probe()
    killer = Killer(store, tmp_path / "images")
    killer.measure(named=False)
    number = 0
    while killer.kills < KILLS:
        where = {0: "anywhere", 1: "commit", 2: "commit", 3: "last byte"}.get(number % 20, "body")
        killer.kill(number, named=number // 20 % 2 == 0, where=where)
        number += 1
        assert number < 4 * KILLS, f"too many were done before: {killer.phases}"
    figures = {
        "kills": killer.kills,
        "between": killer.between,
        "hidden": killer.hidden,
        "swept": killer.swept,
        "complete": killer.complete,
        "phases": dict(sorted(killer.phases.items())),
    }
    print(f"kill -9: {figures}")
    record_property("kills", figures)
    assert killer.between >= BETWEEN
    assert killer.swept == killer.hidden > KILLS // 10
    assert store.add("after", DATA).digests["sha512"] == DIGEST
