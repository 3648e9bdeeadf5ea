"""Every error number of the kernel becomes an error of store_lib."""

import contextlib
import errno
import os
import resource

import pytest

from store_lib import errors
from store_lib.drivers import _posix
from store_lib.tests import support

MIB = support.MIB

#: What is said of the errors that operators meet; all others are StoreUnavailable.
EXPECTED = {
    errno.ENOSPC: errors.StoreFull,
    errno.EDQUOT: errors.StoreFull,
    errno.EFBIG: errors.StoreFull,
    errno.EACCES: errors.Forbidden,
    errno.EPERM: errors.Forbidden,
    errno.EROFS: errors.Forbidden,
    errno.EMFILE: errors.Busy,
    errno.ENFILE: errors.Busy,
    errno.ENOMEM: errors.Busy,
    errno.EIO: errors.StoreUnavailable,
    errno.ESTALE: errors.StoreUnavailable,
    errno.ETIMEDOUT: errors.StoreUnavailable,
    errno.ENODEV: errors.StoreUnavailable,
    errno.ENOTCONN: errors.StoreUnavailable,
    errno.ELOOP: errors.BadLocation,
    errno.EISDIR: errors.BadLocation,
    errno.ENXIO: errors.BadLocation,
    errno.ENAMETOOLONG: errors.BadLocation,
}


class _Fail:
    """A call that fails with one error number."""

    def __init__(self, code):
        self.code = code
        self.calls = 0

    def __call__(self, *arguments, **more):
        self.calls += 1
        raise OSError(self.code, os.strerror(self.code))


def _add(store, uri):
    store.add("new", support.payload(200_000))  # several parts, see below


def _read(store, uri):
    support.content(store, uri)


WAYS = {
    "create_unnamed": _add,
    "write": _add,
    "sync": _add,
    "publish": _add,
    "open_file": _read,
    "read": _read,
    "stat_name": lambda store, uri: store.stat(uri),
    "unlink": lambda store, uri: store.delete(uri),
    "scan": lambda store, uri: list(store.list()),
    "room": lambda store, uri: store.capacity(),
}


@pytest.fixture
def store(make_file_store):
    """Return a file store that writes in small parts."""
    return make_file_store(part_size=64 * 1024)


@pytest.fixture
def uri(store):
    """Return the location of an image."""
    return store.add("old", support.payload(MIB)).location.uri


@pytest.mark.parametrize("function", WAYS)
def test_every_error_number(store, uri, monkeypatch, tmp_path, function):
    """Has a call fail with each error number there is: an error of the library that names the store, nothing left."""
    for code in sorted(errno.errorcode):
        with monkeypatch.context() as patched:
            patched.setattr(_posix, function, _Fail(code))
            with pytest.raises(errors.StoreLibError) as caught:
                WAYS[function](store, uri)
        assert caught.value.store == "it", errno.errorcode[code]
        if code in EXPECTED:
            assert type(caught.value) is EXPECTED[code], errno.errorcode[code]
        assert support.names(tmp_path / "images") == ["old"]
    assert support.content(store, uri) == support.payload(MIB)


@pytest.mark.parametrize("function", ["write", "read", "stat_name", "sync", "publish", "unlink"])
@pytest.mark.parametrize(("code", "retried"), [(errno.EIO, False), (errno.ENOSPC, False), (errno.ESTALE, True)])
def test_what_is_tried_again(make_file_store, monkeypatch, function, code, retried):
    """Allows three tries: a broken disk is not asked again, a passing error is, a failed flush never."""
    store = make_file_store(retry_attempts=3, part_size=128 * 1024)
    uri = store.add("old", support.payload(MIB)).location.uri
    failing = _Fail(code)
    with monkeypatch.context() as patched:
        patched.setattr(_posix, function, failing)
        patched.setattr(store._runtime.clock, "sleep", lambda *arguments: None)
        with pytest.raises(errors.StoreLibError):
            WAYS[function](store, uri)
    tries = 3 if retried and function not in ("sync", "publish") else 1
    assert failing.calls in ((tries, 2 * tries) if function == "write" else (tries,))


def test_a_passing_error_passes(make_file_store, monkeypatch):
    """Has one write of two fail once with a passing error: the image is stored all the same."""
    store = make_file_store(retry_attempts=3)
    real, calls = _posix.write, []

    def write(file, data, offset):
        calls.append(offset)
        if calls.count(offset) == 1:
            real(file, data[:1000], offset)  # some of it was written
            raise OSError(errno.ESTALE, "Stale file handle")
        real(file, data, offset)

    monkeypatch.setattr(_posix, "write", write)
    record = store.add("one", support.payload(9 * MIB))
    assert support.content(store, record.location) == support.payload(9 * MIB)
    assert sorted(calls) == sorted([0, 4 * MIB, 8 * MIB] * 2)


def test_writes_may_be_short(store, monkeypatch):
    """Has the kernel write a part of what it is given each time."""
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: real(file, data[:100_001], offset))
    record = store.add("one", support.payload(5 * MIB))
    assert support.content(store, record.location) == support.payload(5 * MIB)


def test_no_descriptors_left(store, uri):
    """Uses up all descriptors of the process: Busy, and all is well once some are free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    held = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        for verb in (lambda: store.open(uri), lambda: store.add("new", b"x"), lambda: list(store.list())):
            with pytest.raises(errors.StoreLibError) as caught:
                verb()
            assert isinstance(caught.value, errors.Busy)
    finally:
        for file in held:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert support.content(store, uri) == support.payload(MIB)
