"""A source that fails, lies about its size, or does not come to an end."""

import contextlib
import io
import os
import threading
import time

import pytest

from store_lib import errors
from store_lib.drivers import _posix
from store_lib.tests import support

MIB = support.MIB
PART = MIB
PIECE = PART // 4
DATA = support.payload(2 * PART + 1000)


@pytest.fixture
def store(make_file_store):
    """Return a file store that writes in parts of PART."""
    return make_file_store(part_size=PART)


class Broken(Exception):
    """What a source raises here; no error of the library."""


def _fails_after(data, count, error):
    yield from support.pieces(data[:count], PIECE)
    raise error


class _File(io.RawIOBase):
    """A file whose reading fails after some bytes."""

    def __init__(self, data, count, error):
        self._inner = _fails_after(data, count, error)
        self._rest = b""

    def readable(self):
        return True

    def readinto(self, buffer):
        self._rest = self._rest or next(self._inner)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _nothing_stays(store, folder):
    assert support.names(folder) == []
    assert not list(store.leftovers())
    assert store.add("one", b"again").size == 5


POINTS = {
    "at once": 0,
    "after one byte": 1,
    "within the first part": PART // 2,
    "after the first part": PART,
    "one byte later": PART + 1,
    "within the second part": PART + PART // 3,
    "after the last byte": len(DATA),
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("make", [Broken, lambda: OSError(28, "No space left on device"), errors.NotFound])
def test_it_raises(store, tmp_path, temporary, point, known, make):
    """The source raises at some point, the end included: its error comes through as it is, and nothing stays."""
    error = make()
    kind = _File if make is Broken else _fails_after
    with pytest.raises(type(error)) as caught:
        store.add("one", kind(DATA, POINTS[point], error), len(DATA) if known else None)
    assert caught.value is error
    _nothing_stays(store, tmp_path / "images")


@pytest.mark.parametrize("declared", [0, 1, PART - 1, PART, len(DATA) - 1])
def test_it_is_too_long(store, tmp_path, temporary, declared):
    """The source has more bytes than were declared, by one or by many."""
    with pytest.raises(errors.SizeMismatch):
        store.add("one", support.pieces(DATA), declared)
    with pytest.raises(errors.SizeMismatch):
        store.add("one", DATA[: declared + 1], declared)
    _nothing_stays(store, tmp_path / "images")


@pytest.mark.parametrize("short", [1, PART - 1, PART, 2 * PART, len(DATA)])
def test_it_is_too_short(store, tmp_path, temporary, short):
    """The source ends before its declared size, by one byte or by many."""
    with pytest.raises(errors.SizeMismatch):
        store.add("one", io.BytesIO(DATA[: len(DATA) - short]), len(DATA))
    _nothing_stays(store, tmp_path / "images")


@pytest.mark.parametrize("what", ["text", 5, None, object()])
def test_it_is_no_source(store, tmp_path, what):
    """Something else is given as source."""
    with pytest.raises((TypeError, errors.BadRequest)):
        store.add("one", what)
    with pytest.raises(TypeError):
        store.add("one", iter([b"good", "text"]))
    _nothing_stays(store, tmp_path / "images")


# Nobody can tell whether Python's buffer holds something, so its first read is waited for: no (0, True) here.
@pytest.mark.parametrize(
    ("before", "buffered"),
    [(0, False), (1, False), (PART, False), (2 * PART + 7, False), (1, True), (PART, True), (2 * PART + 7, True)],
)
def test_it_stalls_and_is_cancelled(store, tmp_path, temporary, before, buffered):
    """A pipe gives some bytes and then nothing: the cancellation ends the add within a second."""
    read, write = os.pipe()
    cancel = threading.Event()

    def feed():
        at = 0
        while at < before:
            at += os.write(write, DATA[at:before])
        time.sleep(0.2)
        cancel.set()

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(read, "rb", -1 if buffered else 0) as source:
        began = time.monotonic()
        with pytest.raises(errors.Cancelled):
            store.add("one", source, cancel=cancel)
        assert time.monotonic() - began < 5
    feeder.join()
    os.close(write)
    _nothing_stays(store, tmp_path / "images")


@pytest.mark.parametrize("known", [True, False])
def test_it_is_cancelled_at_any_piece(store, tmp_path, temporary, known):
    """The cancellation comes at each piece of the source in turn, and before the first one."""
    for number in range(len(DATA) // PIECE + 2):
        cancel = threading.Event()

        def source(number=number, cancel=cancel):
            for index, piece in enumerate(support.pieces(DATA, PIECE)):
                if index == number:
                    cancel.set()
                yield piece
            cancel.set()

        with pytest.raises(errors.Cancelled):
            store.add("one", source(), len(DATA) if known else None, cancel=cancel)
        assert support.names(tmp_path / "images") == []
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.Cancelled):
        store.add("one", support.unread(), cancel=cancel)
    _nothing_stays(store, tmp_path / "images")


@pytest.mark.parametrize("when", [0, PART, len(DATA)])
def test_progress_raises(store, tmp_path, temporary, when):
    """The caller's progress function raises, at the end too: its error comes through, nothing stays."""
    error = Broken("no")

    def progress(done, total):
        if done >= when:
            raise error

    with pytest.raises(Broken) as caught:
        store.add("one", DATA, progress=progress)
    assert caught.value is error
    _nothing_stays(store, tmp_path / "images")


class _Verifier:
    def __init__(self, fails):
        self.fails = fails
        self.seen = 0

    def update(self, data):
        self.seen += len(data)
        if self.fails == "update" and self.seen > PART:
            raise Broken("update")

    def verify(self):
        if self.fails == "verify":
            raise Broken("verify")


@pytest.mark.parametrize("fails", ["update", "verify"])
def test_the_verifier_raises(store, tmp_path, temporary, fails):
    """The signature verifier raises on the way or at its end."""
    with pytest.raises(Broken, match=fails):
        store.add("one", DATA, verifier=_Verifier(fails))
    _nothing_stays(store, tmp_path / "images")


def test_another_digest_is_expected(store, tmp_path, temporary):
    """The image has not the expected digest."""
    with pytest.raises(errors.DigestMismatch):
        store.add("one", DATA, expected={"sha512": support.sha512(b"other")})
    _nothing_stays(store, tmp_path / "images")
    assert store.add("two", DATA, expected={"SHA512": support.sha512(DATA).upper()}).size == len(DATA)


@pytest.mark.parametrize("size", [1, 7, 4095, PART - 1, PART + 1, 2 * PART])
def test_pieces_of_any_size(store, size):
    """The source comes in pieces of odd sizes, some of them empty."""
    data = DATA if size > 4000 else DATA[: 1000 * size]

    def source():
        for piece in support.pieces(data, size):
            yield b""
            yield memoryview(bytearray(piece))

    record = store.add("one", source())
    assert record.digests["sha512"] == support.sha512(data)
    assert support.content(store, record.location) == data


def test_it_uses_the_store_itself(store):
    """The source adds, reads and deletes other images of the same store while it is read."""

    def source():
        for number, piece in enumerate(support.pieces(DATA, PIECE)):
            inner = store.add(f"inner-{number}", support.pieces(piece, 100_000))
            yield support.content(store, inner.location)
            store.delete(inner.location)

    record = store.add("outer", source())
    assert support.content(store, record.location) == DATA
    assert [each.id for each in store.list()] == ["outer"]


def test_the_store_is_closed_meanwhile(make_stores, tmp_path, temporary):
    """Another thread closes the Stores at each piece of a source: the add ends in bounded time, with nothing left."""
    for number in range(0, len(DATA) // PIECE + 1, 3):
        stores = make_stores(
            f"[DEFAULT]\nenabled_backends = it:file\n[it]\nfilesystem_store_datadir = {tmp_path}/images\n"
            f"part_size = {PART}\n"
        )

        closer = threading.Thread(target=stores.close)

        def source(number=number, closer=closer):
            for index, piece in enumerate(support.pieces(DATA, PIECE)):
                if index == number:
                    closer.start()
                yield piece

        with contextlib.suppress(errors.StoreLibError):  # it may just have been done
            stores["it"].add("one", source())
            os.unlink(tmp_path / "images" / "one")
        closer.join()
        assert support.names(tmp_path / "images") == []


def test_the_store_is_closed_while_parts_wait(make_stores, tmp_path, monkeypatch, temporary):
    """Another thread closes the Stores while parts wait for the only thread: the add ends, with nothing left."""
    stores = make_stores(
        "[DEFAULT]\nenabled_backends = it:file\n[it]\n"
        f"filesystem_store_datadir = {tmp_path}/images\nmax_threads = 1\npart_size = {PART}\n"
    )
    writing = threading.Event()
    real = _posix.write

    def write(*arguments):
        writing.set()
        time.sleep(0.3)
        real(*arguments)

    monkeypatch.setattr(_posix, "write", write)
    ended = []

    def add():
        try:
            stores["it"].add("one", DATA)
        except errors.StoreClosed as error:
            ended.append(error)

    adding = threading.Thread(target=add)
    adding.start()
    assert writing.wait(10)
    stores.close()
    adding.join(10)
    assert not adding.is_alive()
    assert support.names(tmp_path / "images") == ([] if ended else ["one"])
