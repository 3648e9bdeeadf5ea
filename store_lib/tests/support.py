"""What tests of several folders use."""

import contextlib
import functools
import gc
import hashlib
import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter

import psutil

from store_lib.drivers import _posix

KIB = 1024
MIB = 1024 * KIB
#: What the hidden names of the file store begin with.
HIDDEN = ".store_lib-"


@functools.lru_cache(maxsize=32)
def payload(size, seed=0):
    """Return `size` bytes without a pattern, the same ones each time."""
    return random.Random(seed).randbytes(size)


def sha512(data):
    """Return the digest of bytes, in hexadecimal."""
    return hashlib.sha512(data).hexdigest()


def pieces(data, size=64 * KIB):
    """Yield `data` in pieces."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def unread():
    """Yield something that fails the test when it is asked for: a source that nobody may read."""
    yield _fail("the source was read")


def _fail(text):
    raise AssertionError(text)


def content(store, location):
    """Return the bytes of an image."""
    with store.open(location) as reader:
        return reader.read()


def names(folder):
    """Return the names of everything in a folder, hidden ones included."""
    return sorted(os.listdir(folder))


def snapshot(*folders):
    """Return what tells whether anything below the folders was touched."""
    seen = {}
    for folder in folders:
        for parent, directories, files in os.walk(folder):
            for name in (".", *directories, *files):
                path = os.path.join(parent, name)
                found = os.lstat(path)
                held = None
                if stat.S_ISREG(found.st_mode):
                    with open(path, "rb") as file:
                        held = file.read()
                seen[path] = (found.st_ino, found.st_mode, found.st_uid, found.st_size, found.st_mtime_ns, held)
    return seen


def until(ready, seconds=10.0):
    """Wait until `ready()` and return what it returned; fail after some seconds."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
    return found


@contextlib.contextmanager
def lateness():
    """Note meanwhile by how much more than a kernel's tick or two a waiting thread was woken late, in seconds."""
    found: list[float] = []
    ended = threading.Event()

    def tick():
        while not ended.is_set():
            began = time.monotonic()
            ended.wait(0.1)
            if (more := time.monotonic() - began - 0.13) > 0:
                found.append(more)

    ticking = threading.Thread(target=tick)
    ticking.start()
    try:
        yield found
    finally:
        ended.set()
        ticking.join()


def time_of_a_start():
    """Return how long a process takes to start that is as large as a helper, in seconds."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-I", "-S", "-c", "import pickle, socket, typing"], check=True, timeout=120)
    return time.monotonic() - began


def without_unnamed_files(monkeypatch):
    """Behave like a file system that knows no files without a name."""
    monkeypatch.setattr(_posix, "create_unnamed", lambda directory, mode: None)


# -- leaks ------------------------------------------------------------------------------------------------------------


def _descriptors():
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that lists them
            found[os.readlink(f"/proc/self/fd/{number}")] += 1
    found.pop(f"/proc/{os.getpid()}/fd", None)
    return found


def _counted():
    threads = Counter(thread.name for thread in threading.enumerate())
    children = Counter(f"process {child.pid}" for child in psutil.Process().children(recursive=True))
    return threads + children + _descriptors()


@contextlib.contextmanager
def nothing_left(seconds=5.0):
    """See that threads, descriptors and child processes are the same after the body as before."""
    before = _counted()
    yield
    began = time.monotonic()
    while left := _counted() - before:
        passed = time.monotonic() - began
        # Idle threads go by themselves after a while, which proves nothing; a process takes its time to end.
        patience = seconds if any(name.startswith("store_lib") for name in left) else 6 * seconds
        assert passed < patience, f"left behind: {dict(left)}"
        if passed > 0.1 or any(name.startswith("/") for name in left):
            gc.collect()  # what an error refers to goes with it
        time.sleep(0.005)  # threads need a moment to end


# -- other processes --------------------------------------------------------------------------------------------------


class Child:
    """A forked process that runs one function and sends back what it returns, as JSON.

    It is ended, whatever happens, at the end of ``with``.
    """

    def __init__(self, function, *arguments):
        self._result, theirs = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._result)
            _run(theirs, function, arguments)
        os.close(theirs)
        self.status = None

    def kill(self, number):
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self):
        """Wait for its end and return its wait status."""
        if self.status is None:
            self.status = os.waitpid(self.pid, 0)[1]
        return self.status

    def ended(self):
        """Return whether it has ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def result(self):
        """Wait for its end and return what the function returned; fail as it failed."""
        with os.fdopen(os.dup(self._result), "rb") as pipe:
            told = pipe.read()
        self.wait()
        assert told, f"the process ended with status {self.status} and told nothing"
        value, failure = json.loads(told)
        assert failure is None, failure
        return value

    def __enter__(self):
        return self

    def __exit__(self, *details):
        os.close(self._result)
        if not self.ended():
            self.kill(9)
            self.wait()


def _run(pipe, function, arguments):
    """Run the function and leave at once: pytest's own affairs are the parent's."""
    code = 1
    try:
        try:
            told = [function(*arguments), None]
        except BaseException:
            told = [None, traceback.format_exc()]
        os.write(pipe, json.dumps(told).encode())
        code = 0
    finally:
        os._exit(code)


def ended(pid):
    """Return whether a process does nothing any more: it is gone, or waits only for its parent to take notice."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextlib.contextmanager
def stopped(pid, seconds=300.0):
    """Have a process hang for the time of ``with``, yet not longer than some seconds."""
    timer = threading.Timer(seconds, os.kill, (pid, signal.SIGCONT))
    os.kill(pid, signal.SIGSTOP)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        os.kill(pid, signal.SIGCONT)


def in_child(function, *arguments):
    """Run a function in a forked process and return what it returned."""
    with Child(function, *arguments) as child:
        return child.result()


def memory_of_an_add(conf, image_id, size, *options):
    """Add an image of `size` bytes by the command, which reads it from a pipe; return its peak memory in bytes.

    :param conf: path of the configuration file.
    :param options: of ``store-lib image add``.
    """
    command = [os.path.join(os.path.dirname(sys.executable), "store-lib"), "image", "add", "--id", image_id]
    process = subprocess.Popen(
        [*command, *options, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "STORE_LIB_CONFIG": str(conf)},
    )
    assert process.stdin is not None
    piece = payload(MIB)
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # of a command that failed: its status tells
        for start in range(0, size, MIB):
            pipe.write(piece[: size - start])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024
