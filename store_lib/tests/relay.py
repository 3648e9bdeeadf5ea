"""A relay in front of a server, for tests and benchmarks: slow, broken, silent or lying, and with TLS where wanted.

It runs as a process of its own, so that it takes no time from the one that is measured::

    with Relay(port, rate=30 * MIB) as relay:
        talk_to(relay.port)
        relay.set(cut_down=1000)                       # from now on connections break after 1000 bytes of answers
        relay.rule("POST .*uploadId", "lose")          # requests that match, one time: done, and the answer is lost

or by hand: ``python -m store_lib.tests.relay PORT [--rate MIB] [--listen PORT] [--cert FILE --key FILE]``.
"""

import argparse
import asyncio
import contextlib
import json
import re
import select
import signal
import ssl
import subprocess
import sys
import time
from typing import Any

__all__ = ["Relay"]

_CHUNK = 256 * 1024
#: Seconds for the relay to start or to answer, on a busy machine.
_PATIENCE = 60.0
#: How a relay behaves that was told nothing.
_PLAIN = {"rate": None, "cut_down": None, "cut_up": None, "stall": False, "refuse": False}


class Relay:
    """A relay from a free port of 127.0.0.1 to another port of it.

    Its process, `pid`, lets everything pass again when it gets the signal USR1.

    :param target: port of the server.
    :param cert: file of a certificate chain: the relay speaks TLS to its clients; with `key`, the file of its key.
    :param behaviour: see `set`.
    """

    def __init__(self, target, *, listen=0, cert=None, key=None, **behaviour):
        command = [sys.executable, "-m", "store_lib.tests.relay", str(target), "--listen", str(listen), "--control"]
        command += ["--cert", str(cert), "--key", str(key)] if cert else []
        process: Any = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._process = process
        self.pid = process.pid
        self.port = int(self._answer())
        if behaviour:
            self.set(**behaviour)

    def set(self, **behaviour):
        """Change how it behaves from now on, on connections that are open as well.

        :param rate: bytes a second on each connection, each way; None for no limit.
        :param cut_down: each connection is reset once that many bytes of answers have passed since this call.
        :param cut_up: likewise for bytes of requests.
        :param stall: True: nothing passes any more; connections are taken all the same.
        :param refuse: True: connections are reset at once.
        :param delay: seconds that each request waits before it is passed on; with `http`.
        :param http: True: requests of connections made from now on are looked at for rules, even while there is none.
        """
        return self._ask({"set": behaviour})

    def rule(self, pattern, action, times=1, answer=None):
        """Do something else with the next `times` requests of new connections whose ``METHOD /target`` matches.

        :param pattern: a regular expression, searched for.
        :param action: ``reset`` (nothing of it reaches the server), ``lose`` (the server does it, the answer is lost),
            ``stall`` (it gets no answer), ``answer`` (the relay answers by itself with `answer`).
        :param answer: ``(status, headers, body)``.
        """
        return self._ask({"rule": [pattern, action, times, answer]})

    def seen(self):
        """Return ``METHOD /target`` of the requests so far that came while there was any rule."""
        return self._ask({"seen": True})

    def _ask(self, question):
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._answer())

    def _answer(self):
        ready = select.select([self._process.stdout], [], [], _PATIENCE)[0]
        assert ready, f"the relay did not answer within {_PATIENCE:g} s"
        return self._process.stdout.readline()

    @property
    def input(self):
        """The descriptor that it lives as long as, in any process."""
        return self._process.stdin.fileno()

    def close(self):
        """End it and every connection."""
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self.close()


class _State:
    """What all connections look at."""

    def __init__(self):
        self.rate = self.cut_down = self.cut_up = None
        self.delay = 0.0
        self.stall = self.refuse = False
        self.generation = 0
        self.rules = []
        self.seen = []
        self.http = False

    def change(self, behaviour):
        self.generation += 1
        for name, value in behaviour.items():
            assert hasattr(self, name), name
            setattr(self, name, value)


class _Connection:
    """One connection of a client and the one behind it."""

    def __init__(self, state, reader, writer, target):
        self._state = state
        self._client = reader, writer
        self._target = target
        self._passed = {"cut_down": 0, "cut_up": 0}
        self._generation = state.generation
        self._lose = asyncio.Event()

    async def run(self):
        reader, writer = self._client
        other = None
        try:
            if self._state.refuse:
                return
            server, other = await asyncio.open_connection("127.0.0.1", self._target, limit=_CHUNK)
            up = self._requests(reader, writer, other) if self._state.http else self._pump(reader, other, "cut_up")
            await _first(up, self._answers(server, writer))
        except (OSError, EOFError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in filter(None, (writer, other)):
                each.transport.abort()

    async def _pump(self, reader, writer, side, count=None):
        """Pass bytes on, `count` of them or all; at most as fast as told, and until the cut."""
        began = None
        sent = passed = 0
        while count is None or sent < count:
            data = await reader.read(_CHUNK if count is None else min(_CHUNK, count - sent))
            if not data:
                raise EOFError
            now = time.monotonic()
            rate = self._state.rate
            if began is None or (rate and now - began > passed / rate + 0.5):
                began, passed = now, 0  # it was idle: what was not sent then is not made up for
            await self._send(writer, data, side)
            sent += len(data)
            passed += len(data)
            if rate and (lag := began + passed / rate - time.monotonic()) > 0:
                await asyncio.sleep(lag)

    async def _send(self, writer, data, side):
        while self._state.stall:
            await asyncio.sleep(0.05)
        if self._generation != self._state.generation:
            self._generation = self._state.generation
            self._passed = dict.fromkeys(self._passed, 0)
        limit = getattr(self._state, side)
        left = len(data) if limit is None else limit - self._passed[side]
        self._passed[side] += len(data)
        writer.write(data[:left])
        await writer.drain()
        if left < len(data):
            raise EOFError

    async def _answers(self, server, writer):
        while True:
            data = await server.read(_CHUNK)
            if not data:
                raise EOFError
            if self._lose.is_set() and not data.startswith(b"HTTP/1.1 100"):
                raise EOFError
            await self._pump(_Once(data), writer, "cut_down", len(data))

    async def _requests(self, reader, writer, server):
        """Pass requests on one by one, looking for those that a rule means."""
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            request = " ".join(head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")[:2])
            found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            self._state.seen.append(request)
            rule: Any = next((each for each in self._state.rules if each[2] and re.search(each[0], request)), None)
            action = rule[1] if rule else None
            if rule:
                rule[2] -= 1
            if action == "reset":
                raise EOFError
            if action == "stall":
                await asyncio.sleep(3600)
            if action == "answer":
                await self._answer(writer, *rule[3])
                raise EOFError
            if action == "lose":
                self._lose.set()
            await asyncio.sleep(self._state.delay)
            await self._pump(_Once(head), server, "cut_up", len(head))
            if found and int(found[1]):
                await self._pump(reader, server, "cut_up", int(found[1]))

    async def _answer(self, writer, status, headers, body):
        lines = [f"HTTP/1.1 {status} Told", f"Content-Length: {len(body)}", "Connection: close", *headers, "", body]
        writer.write("\r\n".join(lines).encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()


class _Once:
    """Bytes that are there already, as a reader."""

    def __init__(self, data):
        self._data = data

    async def read(self, count):
        data, self._data = self._data[:count], self._data[count:]
        return data


async def _first(*coroutines):
    """Run all until one ends, and end the others."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _control(state):
    """Obey what comes on standard input, a JSON object a line, until it ends."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        question = json.loads(line)
        answer = None
        if "set" in question:
            state.change(question["set"])
        if "rule" in question:
            state.http = True
            state.rules.append(question["rule"])
        if "seen" in question:
            answer = state.seen
        print(json.dumps(answer), flush=True)


async def _main(args):
    context = None
    if args.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(args.cert, args.key)
    state = _State()
    state.rate = args.rate * 1024 * 1024 if args.rate else None

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.CancelledError):  # it ends with the relay
            await _Connection(state, reader, writer, args.target).run()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, state.change, _PLAIN)
    server = await asyncio.start_server(serve, "127.0.0.1", args.listen, ssl=context, limit=_CHUNK)
    print(server.sockets[0].getsockname()[1], flush=True)
    await (_control(state) if args.control else asyncio.Event().wait())


def main():
    """Run a relay until standard input ends, or for ever."""
    parser = argparse.ArgumentParser(description="Passes connections on to another port of this machine.")
    parser.add_argument("target", type=int, help="port of the server")
    parser.add_argument("--listen", type=int, default=0, help="port to listen on; default a free one, which is printed")
    parser.add_argument("--rate", type=float, help="MiB a second on each connection, each way")
    parser.add_argument("--cert", help="speak TLS to clients: certificate chain")
    parser.add_argument("--key", help="its key")
    parser.add_argument("--control", action="store_true", help=argparse.SUPPRESS)
    try:
        asyncio.run(_main(parser.parse_args()))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
