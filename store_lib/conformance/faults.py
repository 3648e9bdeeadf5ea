"""Faults at the driver interface: any driver, made to fail, to lose answers and to be watched at chosen calls."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from store_lib import errors
from store_lib.interface import Address, Committed, Context, Download, Driver, Extent, Leftover, Part, Token, Upload
from store_lib.runtime import Clock

__all__ = ["Call", "QuickClock", "Script", "lost", "scripted"]

T = TypeVar("T")

#: Calls of these verbs are seen besides those of uploads and downloads.
_VERBS = ("stat", "delete", "probe", "capacity", "sweep", "describe")


class QuickClock(Clock):
    """A clock by which waiting between two tries takes next to no time."""

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> None:
        """Wait a fiftieth of `seconds`."""
        super().sleep(seconds / 50, wake)


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a verb, and what matters of its arguments."""

    verb: str
    detail: Any


@dataclasses.dataclass(frozen=True)
class _Rule:
    verb: str
    numbers: tuple[int, ...]
    after: bool
    act: Callable[[], None]
    always: bool


class Script:
    """What happens at which call of which verb, counted from 1; and which calls there were.  Safe for threads.

    Verbs are the methods of the interface; ``close_download`` is a download's ``close``.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        #: Parts that are on their way to the driver now.
        self.writing = 0
        #: How many were on their way when the store was asked to make room.
        self.writing_at_reserve: list[int] = []
        #: Buffers of the part that `keep` named, as a backend would look at them that never lets go.
        self.kept: list[memoryview] = []
        self._keep: int | None = None
        self._rules: list[_Rule] = []
        self._bodies: dict[int, Callable[[Iterator[bytes]], Iterator[bytes]]] = {}
        self._lock = threading.Lock()
        self._inside = threading.local()

    def clear(self) -> None:
        """Forget calls and rules."""
        self.calls, self._rules, self._bodies, self.writing_at_reserve = [], [], {}, []
        self.kept, self._keep = [], None

    def keep(self, index: int) -> None:
        """Keep the buffer of that part whenever it comes."""
        self._keep = index

    def fail(self, verb: str, error: Callable[[], BaseException], *numbers: int, after: bool = False) -> None:
        """Raise what `error` makes at these calls of `verb` (all, without numbers), before or after the real call."""

        def act() -> None:
            raise error()

        self.act(verb, act, *numbers, after=after)

    def act(
        self, verb: str, function: Callable[[], None], *numbers: int, after: bool = False, always: bool = False
    ) -> None:
        """Call `function` at these calls of `verb`, before or after the real call.

        :param always: after it even when it failed.
        """
        self._rules.append(_Rule(verb, numbers, after, function, always))

    def cut(self, number: int, size: int, error: Callable[[], BaseException] | None = None) -> None:
        """Have the body of the `number`-th ``read`` end after `size` bytes, by an error or as if it were complete."""
        self._bodies[number] = lambda chunks: _cut(chunks, size, error)

    def of(self, *verbs: str) -> list[Call]:
        """Return the calls of `verbs`, in order."""
        return [call for call in list(self.calls) if call.verb in verbs]

    def run(self, verb: str, function: Callable[[], T], **detail: Any) -> T:
        """Note a call and do what was told; what a driver calls of itself is not seen."""
        if getattr(self._inside, "now", False):
            return function()
        with self._lock:
            self.calls.append(Call(verb, detail))
            number = self._inside.number = len(self.of(verb))
        rules = [rule for rule in self._rules if rule.verb == verb and (not rule.numbers or number in rule.numbers)]
        for rule in rules:
            if not rule.after:
                rule.act()
        self._inside.now = True
        done = False
        try:
            result = function()
            done = True
        finally:
            self._inside.now = False
            for rule in rules:
                if rule.after and rule.always and not done:
                    rule.act()
        for rule in rules:
            if rule.after:
                rule.act()
        return result

    def read(self, function: Callable[[], Iterator[bytes]], offset: int) -> Iterator[bytes]:
        """Note a ``read`` and return its body, changed as was told."""
        chunks = self.run("read", function, offset=offset)
        transform = self._bodies.get(self._inside.number)
        return chunks if transform is None else transform(chunks)

    @contextlib.contextmanager
    def part(self, part: Part) -> Iterator[None]:
        """Count a part that is on its way."""
        with self._lock:
            self.writing += 1
            if part.index == self._keep:
                self.kept.append(part.data)
        try:
            yield
        finally:
            with self._lock:
                self.writing -= 1


def _cut(chunks: Iterator[bytes], size: int, error: Callable[[], BaseException] | None) -> Iterator[bytes]:
    try:
        for chunk in chunks:
            if piece := chunk[:size]:
                yield piece
            size -= len(piece)
            if not size:
                break
    finally:
        getattr(chunks, "close", lambda: None)()
    if error is not None:
        raise error()


class ScriptedUpload(Upload[Any]):
    """An upload whose calls go by the script."""

    def __init__(self, inner: Upload[Any], script: Script) -> None:
        self.limits = inner.limits
        self.uuid = inner.uuid
        self._inner = inner
        self._script = script

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def start(self) -> None:
        """See the interface, as for all of these."""
        self._script.run("start", self._inner.start)

    def reserve(self, at_least: int) -> int:
        self._script.writing_at_reserve.append(self._script.writing)
        return self._script.run("reserve", lambda: self._inner.reserve(at_least), at_least=at_least)

    def write_part(self, part: Part) -> Token:
        with self._script.part(part):
            return self._script.run(
                "write_part", lambda: self._inner.write_part(part), index=part.index, length=part.length
            )

    def copy_part(self, source: Driver[Any], address: Address, index: int, offset: int, length: int) -> Token:
        def act() -> Token:
            return self._inner.copy_part(source, address, index, offset, length)

        return self._script.run("copy_part", act, index=index, offset=offset, length=length)

    def copy_whole(self, source: Driver[Any], address: Address) -> None:
        self._script.run("copy_whole", lambda: self._inner.copy_whole(source, address))

    def write_whole(self, part: Part) -> Committed[Any]:
        return self._script.run("write_whole", lambda: self._inner.write_whole(part), length=part.length)

    def commit(self, size: int, parts: Sequence[tuple[Part, Token]]) -> Committed[Any]:
        return self._script.run("commit", lambda: self._inner.commit(size, parts), size=size)

    def outcome(self) -> Committed[Any] | None:
        return self._script.run("outcome", self._inner.outcome)

    def abort(self) -> Sequence[Leftover]:
        return self._script.run("abort", self._inner.abort, uuid=self.uuid)


class ScriptedDownload(Download):
    """A download whose calls go by the script."""

    def __init__(self, inner: Download, script: Script) -> None:
        self.info = inner.info
        self.limits = inner.limits
        self._inner = inner
        self._script = script

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        """See the interface, as for all of these."""
        return self._script.read(lambda: self._inner.read(offset, length), offset)

    def extents(self, offset: int, length: int) -> Iterable[Extent] | None:
        return self._inner.extents(offset, length)

    def close(self) -> None:
        self._script.run("close_download", self._inner.close)


def scripted(driver: type[Driver[Any]], script: Script) -> type[Driver[Any]]:
    """Return `driver` with every call of its verbs going by `script`; it still is a driver of its kind."""

    def upload(self: Any, image_id: str, size: int | None, ctx: Context) -> Upload[Any]:
        return ScriptedUpload(script.run("upload", lambda: driver.upload(self, image_id, size, ctx)), script)

    def open_(self: Any, address: Address, offset: int, length: int | None, ctx: Context) -> Download:
        return ScriptedDownload(script.run("open", lambda: driver.open(self, address, offset, length, ctx)), script)

    def through(verb: str) -> Callable[..., Any]:
        real = getattr(driver, verb)

        @functools.wraps(real)
        def method(self: Any, *arguments: Any) -> Any:
            return script.run(verb, lambda: real(self, *arguments), arguments=arguments)

        return method

    methods = {"upload": upload, "open": open_, **{verb: through(verb) for verb in _VERBS}}
    return type(driver.__name__, (driver,), methods)


def lost() -> errors.StoreLibError:
    """Return the error of a request whose outcome nobody knows, worth another try."""
    return errors.OperationTimeout("no answer came")
