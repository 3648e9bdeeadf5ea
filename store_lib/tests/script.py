"""What a fake does at which call of which verb, and what it was asked: a test writes it, a fake follows it.

It may be used from any thread.
"""

import dataclasses
import threading
import time
from typing import Any

from store_lib.runtime import on_fork


class Gate:
    """Where calls stop until the test lets them go on."""

    def __init__(self):
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self):
        self.entered.set()
        assert self.opened.wait(30), "nobody opened the gate"

    def wait(self):
        """Wait until a call has come."""
        assert self.entered.wait(10), "no call came to the gate"

    def open(self):
        """Let all calls pass."""
        self.opened.set()


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a verb; `detail` holds what matters of its arguments."""

    verb: str
    thread: threading.Thread
    at: float
    detail: Any


@dataclasses.dataclass(frozen=True)
class _Rule:
    verb: str
    numbers: tuple[int, ...]
    after: bool
    act: Any


class Script:
    """What the fake does at which call of which verb, counted from 1; and what it was asked."""

    def __init__(self):
        self.calls = []
        self.violations = []
        self.kept = []
        self.keep = False
        self._rules = []
        self._gates = []
        self._bodies = {}
        self._instead = {}
        self._local = threading.local()
        self.after_fork()
        on_fork(self)

    def after_fork(self):
        """Have a lock that nobody holds."""
        self._lock = threading.RLock()  # a collected reader closes itself in the middle of anything

    def fail(self, verb, error, *numbers, after=False):
        """Raise `error` at these calls of `verb` (all, without numbers), before or after it took effect."""

        def act():
            raise error() if callable(error) else error

        self.act(verb, act, *numbers, after=after)

    def unfail(self, verb):
        """Let `verb` work again."""
        self._rules = [rule for rule in self._rules if rule.verb != verb]

    def block(self, verb, *numbers, after=False):
        """Stop these calls at a gate, which is returned."""
        gate = Gate()
        self._gates.append(gate)
        self.act(verb, gate, *numbers, after=after)
        return gate

    def act(self, verb, function, *numbers, after=False):
        """Call `function` at these calls."""
        self._rules.append(_Rule(verb, numbers, after, function))

    def replace(self, verb, function, *numbers):
        """Call `function` instead of the verb at these calls."""
        self._instead.update({(verb, number): function for number in numbers})

    def body(self, number, transform):
        """Have the body of that `read` pass through ``transform(chunks)``."""
        self._bodies[number] = transform

    def release(self):
        """Open every gate."""
        for gate in self._gates:
            gate.open()

    def of(self, verb):
        """Return the calls of `verb`."""
        return [call for call in self.calls if call.verb == verb]

    def count(self, verb):
        """Return how often `verb` was called."""
        return len(self.of(verb))

    def run(self, verb, function, **detail):
        """Record a call and do what was told."""
        with self._lock:
            self.calls.append(Call(verb, threading.current_thread(), time.monotonic(), detail))
            number = self._local.number = self.count(verb)
        rules = [rule for rule in self._rules if rule.verb == verb and (not rule.numbers or number in rule.numbers)]
        for rule in rules:
            if not rule.after:
                rule.act()
        result = self._instead.get((verb, number), function)()
        for rule in rules:
            if rule.after:
                rule.act()
        return result

    def transform(self, chunks):
        """Return the body of the read that this thread called last."""
        return self._bodies.get(self._local.number, lambda same: same)(chunks)

    def violation(self, text):
        """Note that the engine broke a rule."""
        self.violations.append(text)
