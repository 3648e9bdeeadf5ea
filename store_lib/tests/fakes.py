"""A memory store that does what a test tells it: it fails, loses answers, blocks, and keeps a record of its calls.

It also watches the engine: whatever breaks the limits that the driver declared becomes a violation.
"""

import contextlib
import dataclasses
import threading
from typing import Any

from store_lib import errors
from store_lib.drivers.memory import MemoryAddress, MemoryDriver
from store_lib.interface import Committed, Download, Feature, HeapBuffers, Limits, Part, Upload
from store_lib.runtime import Clock
from store_lib.tests.script import Script

#: Parts by their index, as an object store has them.
OBJECTS = Limits(part_size=1000, parallel=2, ranges=True)
#: Parts by their offset, holes allowed.
BLOCKS = Limits(part_size=1000, parallel=2, sparse=100, ranges=True)
#: What a store can do whose backend copies and moves by itself.
SHARING = MemoryDriver.FEATURES | Feature.COPY | Feature.MOVE


class QuickClock(Clock):
    """A clock by which waiting between two tries takes next to no time."""

    def sleep(self, seconds, wake=None):
        super().sleep(seconds / 50, wake)


class Buffers(HeapBuffers):
    """Counts what is taken and given back."""

    def __init__(self):
        self.taken = []
        self.released = []

    def allocate(self, size):
        self.taken.append(size)
        return super().allocate(size)

    def release(self, block):
        self.released.append(len(block))
        super().release(block)


class FakeUpload(Upload[Any]):
    """An upload that watches the engine."""

    def __init__(self, inner, script):
        self.limits = inner.limits
        self.uuid = inner.uuid
        self.state = "new"
        self._inner = inner
        self._script = script
        self._capacity = inner.limits.capacity
        self._writing = 0
        self._lengths = {}
        self._lock = threading.Lock()

    def _expect(self, true, text):
        if not true:
            self._script.violation(text)

    def start(self):
        self._expect(self.state == "new", f"start when {self.state}")

        def act():
            self.state = "started"
            self._inner.start()

        return self._script.run("start", act)

    def reserve(self, at_least):
        self._expect(not (self.limits.quiet_reserve and self._writing), "reserve while parts are on their way")
        self._expect(at_least > self._capacity, "reserve of what is there")

        def act():
            self._inner.reserve(1 << 40)  # what is too little is told by this class
            self._capacity = at_least
            return at_least

        return self._script.run("reserve", act, at_least=at_least)

    def write_part(self, part):
        with self._lock:
            self._writing += 1
            self._check(part)
        if self._script.keep:
            self._script.kept.append((part.data, part.bytes()))
        try:
            return self._script.run("write_part", lambda: self._inner.write_part(part), part=_told(part))
        finally:
            with self._lock:
                self._writing -= 1

    def _check(self, part):
        limits = self.limits
        self._expect(self.state == "started", f"write_part when {self.state}")
        self._expect(self._writing <= limits.parallel, f"{self._writing} parts at once")
        self._expect(limits.max_parts is None or part.index < limits.max_parts, f"part {part.index}")
        self._expect(part.length > 0, "an empty part")
        self._expect(limits.max_part is None or part.length <= limits.max_part, f"a part of {part.length}")
        self._expect(limits.sparse or part.last or part.length >= limits.min_part, f"a part of {part.length}")
        self._expect(limits.sparse or part.offset % limits.align == 0, f"a part at {part.offset}")
        self._expect(self._capacity is None or part.offset + part.length <= self._capacity, "beyond the capacity")
        self._expect(limits.part_digest is None or part.digest or limits.sparse, "a part without digest")
        self._lengths[part.index] = (part.length, part.last)
        if limits.equal_parts:
            self._expect(len({length for length, last in self._lengths.values() if not last}) < 2, "unequal parts")

    def copy_part(self, source, address, index, offset, length):
        limits = self.limits
        self._expect(self.state == "started", f"copy_part when {self.state}")
        self._expect(0 < length <= limits.copy_max, f"a range of {length}")
        self._expect(limits.max_parts is None or index < limits.max_parts, f"range {index}")
        with self._lock:
            self._writing += 1
            self._expect(self._writing <= limits.parallel, f"{self._writing} ranges at once")
            self._expect(self._capacity is None or offset + length <= self._capacity, "beyond the capacity")

        def act():
            if not isinstance(source, FakeDriver):
                raise errors.CannotMigrate("this is another kind of storage")
            found = MemoryDriver.open(source, address, 0, None, None)  # type: ignore[arg-type]
            end = offset + length
            if not limits.sparse:
                data = memoryview(b"".join(found.read(offset, length)))
                return self._inner.write_part(Part(index, offset, data, end == found.info.size))
            for each in found.extents(offset, length) or ():
                if not each.hole:
                    data = memoryview(b"".join(found.read(each.offset, each.length)))
                    self._inner.write_part(Part(index, each.offset, data))
            return None

        try:
            return self._script.run("copy_part", act, index=index, offset=offset, length=length)
        finally:
            with self._lock:
                self._writing -= 1

    def copy_whole(self, source, address):
        self._expect(self.state == "new", f"copy_whole when {self.state}")
        self._expect(self.limits.copy_whole, "copy_whole where it is not offered")

        def act():
            if not isinstance(source, FakeDriver):
                raise errors.CannotMigrate("this is another kind of storage")
            self.state = "started"
            self._inner.start()
            found = MemoryDriver.open(source, address, 0, None, None)  # type: ignore[arg-type]
            data = memoryview(b"".join(found.read(0, found.info.size)))
            self._inner.write_part(Part(0, 0, data, True))

        return self._script.run("copy_whole", act)

    def write_whole(self, part):
        self._expect(self.state == "new", f"write_whole when {self.state}")
        self._expect(part.length <= self.limits.whole_max and part.last, f"write_whole of {part.length}")
        return self._script.run("write_whole", lambda: self._inner.write_whole(part), part=_told(part))

    def commit(self, size, parts):
        self._expect(self.state == "started", f"commit when {self.state}")
        self._expect(not self._writing, "commit while parts are on their way")
        return self._script.run("commit", lambda: self._inner.commit(size, parts), size=size, parts=len(parts))

    def outcome(self):
        return self._script.run("outcome", self._inner.outcome)

    def abort(self):
        self._expect(self.state != "aborted", "a second abort")
        self.state = "aborted"
        return self._script.run("abort", self._inner.abort)


def _told(part):
    """Return what may be kept of a part: its bytes are the engine's."""
    return dataclasses.replace(part, data=memoryview(part.bytes()))


class FakeDownload(Download):
    """A download that does what the script says."""

    def __init__(self, inner, script):
        self.info = inner.info
        self.limits = inner.limits
        self._inner = inner
        self._script = script

    def read(self, offset, length):
        chunks = self._script.run("read", lambda: self._inner.read(offset, length), offset=offset, length=length)
        return self._script.transform(chunks)

    def extents(self, offset, length):
        return self._inner.extents(offset, length)

    def close(self):
        return self._script.run("close_download", self._inner.close)


class FakeDriver(MemoryDriver):
    """See the module; made by `fake`."""

    script: Script
    UPLOAD = FakeUpload

    def stat(self, address, ctx):
        return self.script.run("stat", lambda: MemoryDriver.stat(self, address, ctx))

    def open(self, address, offset, length, ctx):
        def act():
            return FakeDownload(MemoryDriver.open(self, address, offset, length, ctx), self.script)

        return self.script.run("open", act, offset=offset, length=length, ctx=ctx)

    def upload(self, image_id, size, ctx):
        def act():
            return self.UPLOAD(MemoryDriver.upload(self, image_id, size, ctx), self.script)

        return self.script.run("upload", act, image_id=image_id, size=size, ctx=ctx)

    def delete(self, address, ctx):
        return self.script.run("delete", lambda: MemoryDriver.delete(self, address, ctx), address=address)

    def move(self, address, target, image_id, ctx):
        def act():
            if not isinstance(target, FakeDriver):
                raise errors.CannotMigrate("this is another kind of storage")
            theirs, mine = target._state.get().images, self._state.get().images
            if image_id in theirs:
                raise errors.Duplicate(f"image {image_id} is there already")
            theirs[image_id] = mine.pop(address.image_id)
            return Committed(MemoryAddress(image_id), theirs[image_id][1])

        return self.script.run("move", act, image_id=image_id, ctx=ctx)

    def list(self, ctx):
        yield from self.script.run("list", lambda: MemoryDriver.list(self, ctx))

    def probe(self, ctx):
        return self.script.run("probe", lambda: MemoryDriver.probe(self, ctx), ctx=ctx)

    def capacity(self, ctx):
        return self.script.run("capacity", lambda: MemoryDriver.capacity(self, ctx))

    def sweep(self, leftover, ctx):
        return self.script.run("sweep", lambda: MemoryDriver.sweep(self, leftover, ctx))

    def close(self):
        return self.script.run("close", lambda: MemoryDriver.close(self))


def fake(limits=OBJECTS, base=FakeDriver, **attributes):
    """Return a new class of fakes with a script of its own."""
    return type("ScriptedDriver", (base,), {"LIMITS": limits, "script": Script(), **attributes})


# -- bodies of downloads ----------------------------------------------------------------------------------------------


def cut(size, error=None):
    """Return a transform that ends a body after `size` bytes, by `error` or as if it were complete."""

    def transform(chunks):
        left = size
        with contextlib.closing(chunks):
            for chunk in chunks:
                if len(chunk) >= left:
                    if left:
                        yield chunk[:left]
                    break
                yield chunk
                left -= len(chunk)
        if error is not None:
            raise error

    return transform


def longer(more):
    """Return a transform that makes one chunk of a body, with more bytes than were asked for."""

    def transform(chunks):
        yield b"".join(chunks) + more

    return transform


def lost(message="no answer came"):
    """Return the error of a request whose outcome is unknown, worth another try."""
    return errors.OperationTimeout(message)


def passing(message="try again"):
    """Return the error of a request that was not done, worth another try."""
    return errors.StoreUnavailable(message)
