"""When a file is flushed while it grows."""

import types
from typing import Any

import pytest

from store_lib.drivers._flushing import Flushing

MIB = 1024 * 1024


class Server:
    """Takes `rate` bytes a second, by a clock of its own; stands for the operations of a helper."""

    def __init__(self, monkeypatch, rate):
        self.rate = rate
        self.now = 100.0
        self.waiting = 0
        self.flushes = []
        self.sent = []
        clock = types.SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr("store_lib.drivers._flushing.time", clock)

    def flush(self, file):
        self.now += self.waiting / self.rate
        self.flushes.append(self.waiting)
        self.waiting = 0

    def send_on(self, file, offset, size):
        self.sent.append((offset, size))


def write(server, flushing, size, part=4 * MIB):
    for offset in range(0, size, part):
        server.waiting += part
        flushing.wrote(7, offset, part)


@pytest.fixture
def make(monkeypatch):
    def made(rate, timeout=60.0):
        server: Any = Server(monkeypatch, rate)
        return server, Flushing(server, timeout)

    return made


def test_a_small_image_is_left_to_the_flush_at_its_end(make):
    server, flushing = make(rate=100 * MIB)
    write(server, flushing, 64 * MIB)
    assert (server.flushes, server.sent) == ([], [])


@pytest.mark.parametrize("rate", [2, 20, 200, 2000])
def test_what_is_left_to_one_flush_fits_into_the_time_of_a_call(make, rate):
    server, flushing = make(rate * MIB)
    write(server, flushing, 8192 * MIB)
    assert server.flushes
    largest = max(*server.flushes, server.waiting)
    assert largest <= max(68 * MIB, rate * MIB * 60 / 8 + 4 * MIB)
    assert largest <= 1028 * MIB
    assert largest / (rate * MIB) < 60


def test_a_fast_server_is_seldom_waited_for(make):
    server, flushing = make(rate=1000 * MIB)
    write(server, flushing, 8192 * MIB)
    assert len(server.flushes) <= 9


def test_parts_are_sent_on_as_they_come_but_for_the_first_and_tiny_ones(make):
    server, flushing = make(rate=1000 * MIB)
    write(server, flushing, 256 * MIB)
    assert server.sent
    assert all(offset >= 64 * MIB for offset, _ in server.sent)
    server.sent.clear()
    write(server, flushing, 8 * MIB, part=65536)
    assert server.sent == []


def test_a_flush_that_fails_is_told_to_who_wrote(make):
    server, flushing = make(rate=1000 * MIB)

    def fail(file):
        raise OSError(5, "lost")

    server.flush = fail
    with pytest.raises(OSError, match="lost"):
        write(server, flushing, 256 * MIB)
