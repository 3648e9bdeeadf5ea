"""Notes of what processes of this host have attached, so that others can clear away after a dead one.

A note is a file named after its attachment, in a directory that all processes of the host share.  The process that
wrote it holds a lock of it, which the kernel takes from it when it dies.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from store_lib.drivers.cinder.host import Host

__all__ = ["Note", "Notes"]

_FOLDER = "attachments"
#: Descriptors that hold the locks of this process, by path.
_HELD: dict[str, int] = {}
#: Notes of this process whose attachments nobody in it refers to any more.
_DROPPED: set[str] = set()


def _forget() -> None:
    """Leave the locks, in a forked child, to the parent."""
    _DROPPED.clear()
    while _HELD:
        os.close(_HELD.popitem()[1])


os.register_at_fork(after_in_child=_forget)


@dataclasses.dataclass(frozen=True)
class Note:
    """One attachment.

    :param owner: as `Owner.encode` writes it.
    :param stuck: whether that process gave up making this host let go of the volume: nobody works with it any more.
    :param dead: whether the process that wrote the note has ended, or has lost the attachment out of sight.
    :param own: whether that is this process.
    """

    attachment: str
    volume: str
    store: str
    protocol: str
    owner: str
    info: Mapping[str, Any]
    writable: bool
    stuck: bool = False
    dead: bool = False
    own: bool = False


class Notes:
    """The notes of this host.  Safe for threads and processes."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def _path(self, attachment: str) -> str:
        return os.path.join(self._host.directory(_FOLDER), f"{attachment}.json")

    def write(self, note: Note) -> None:
        """Write a note, or write it anew: at no moment it is there without its lock."""
        path = self._path(note.attachment)
        held = _HELD.get(path)
        temporary = f"{path}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        values = {name: value for name, value in dataclasses.asdict(note).items() if name not in ("dead", "own")}
        os.write(descriptor, json.dumps(values).encode())
        os.rename(temporary, path)
        _HELD[path] = descriptor
        if held is not None:
            os.close(held)

    def drop(self, attachment: str) -> None:
        """Let a note be that of a dead process: its attachment was neither ended nor is it in use."""
        path = self._path(attachment)
        held = _HELD.pop(path, None)
        if held is not None:
            _DROPPED.add(path)
            os.close(held)

    def remove(self, attachment: str) -> None:
        """Remove a note; harmless when there is none."""
        path = self._path(attachment)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        _DROPPED.discard(path)
        held = _HELD.pop(path, None)
        if held is not None:
            os.close(held)

    def all(self) -> Iterator[Note]:
        """Yield the notes, those of all stores."""
        folder = self._host.directory(_FOLDER)
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                found = _read(path)
                if found is not None and name == f"{found.attachment}.json":
                    yield found


def _read(path: str) -> Note | None:
    with open(path, encoding="utf-8") as file:
        dead = path not in _HELD
        if dead:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                dead = False
        return Note(**json.load(file), dead=dead, own=path in _DROPPED or path in _HELD)
