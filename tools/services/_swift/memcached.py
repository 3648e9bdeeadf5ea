"""The part of memcached's text protocol that Swift and Keystone's middleware use; for tests only, nothing is evicted.

usage: memcached.py PORT
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import time

MONTH = 30 * 24 * 3600  # a longer expiry is a time of day (protocol.txt of memcached)


@dataclasses.dataclass
class Item:
    """One value."""

    flags: bytes
    value: bytes
    until: float | None


class Cache:
    """All values, and the commands on them."""

    def __init__(self) -> None:
        self.items: dict[bytes, Item] = {}

    def live(self, key: bytes) -> Item | None:
        """Return the item of that key, if it has not expired."""
        item = self.items.get(key)
        if item is not None and item.until is not None and item.until < time.time():
            del self.items[key]
            return None
        return item

    def store(self, command: bytes, key: bytes, flags: bytes, expiry: int, value: bytes) -> bytes:
        """Run set, add or replace."""
        there = self.live(key) is not None
        if command == (b"add" if there else b"replace"):
            return b"NOT_STORED\r\n"
        until = None if not expiry else float(expiry) if expiry > MONTH else time.time() + expiry
        self.items[key] = Item(flags, value, until)
        return b"STORED\r\n"

    def run(self, command: bytes, args: list[bytes]) -> bytes:
        """Run a command that carries no value."""
        if command in (b"get", b"gets"):
            found = [(key, item) for key in args if (item := self.live(key)) is not None]
            unique = b" 1" if command == b"gets" else b""
            lines = (b"VALUE %s %s %d%s\r\n%s\r\n" % (k, i.flags, len(i.value), unique, i.value) for k, i in found)
            return b"".join(lines) + b"END\r\n"
        if command in (b"incr", b"decr"):
            if (item := self.live(args[0])) is None:
                return b"NOT_FOUND\r\n"
            item.value = b"%d" % max(0, int(item.value) + int(args[1]) * (1 if command == b"incr" else -1))
            return item.value + b"\r\n"
        if command == b"delete":
            return b"NOT_FOUND\r\n" if self.items.pop(args[0], None) is None else b"DELETED\r\n"
        if command == b"flush_all":
            self.items.clear()
            return b"OK\r\n"
        if command == b"touch":
            return b"NOT_FOUND\r\n" if self.live(args[0]) is None else b"TOUCHED\r\n"
        return b"VERSION 1.0\r\n" if command == b"version" else b"ERROR\r\n"


async def serve(cache: Cache, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection until it ends."""
    try:
        while words := (await reader.readline()).split():
            command, args = words[0].lower(), words[1:]
            if command == b"quit":
                break
            if command in (b"set", b"add", b"replace"):
                value = (await reader.readexactly(int(args[3]) + 2))[:-2]
                answer = cache.store(command, args[0], args[1], int(args[2]), value)
            else:
                answer = cache.run(command, args)
            if args[-1:] != [b"noreply"]:
                writer.write(answer)
                await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main(port: int) -> None:
    """Serve on loopback for ever."""
    cache = Cache()
    server = await asyncio.start_server(lambda r, w: serve(cache, r, w), "127.0.0.1", port, limit=4 << 20)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
