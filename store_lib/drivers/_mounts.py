"""The kernel's table of mounts, as this process sees it.  Reading it asks no server, so it cannot hang."""

from __future__ import annotations

import dataclasses
import re

__all__ = ["Mount", "mount_of", "mounts"]

_TABLE = "/proc/self/mountinfo"
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclasses.dataclass(frozen=True)
class Mount:
    """One mount; see proc_pid_mountinfo(5).

    :param id: number that no other mount of this system has at the same time.
    :param point: where it is mounted.
    :param kind: file system type, such as ``nfs4``.
    :param source: what is mounted, such as ``server:/export``.
    :param options: of the mount and of the file system.
    """

    id: int
    point: str
    kind: str
    source: str
    options: tuple[str, ...]


def mounts() -> list[Mount]:
    """Return the mounts in the order of the kernel: of several at one point, the last one is seen."""
    with open(_TABLE, encoding="utf-8", errors="surrogateescape") as table:
        return [_parsed(line) for line in table]


def _parsed(line: str) -> Mount:
    # id parent major:minor root point options [optional fields] - type source super-options
    before, _, after = line.rstrip("\n").partition(" - ")
    number, _, _, _, point, options, *_ = before.split(" ")
    kind, source, more = [*after.split(" "), "", ""][:3]
    return Mount(int(number), _plain(point), kind, _plain(source), (*options.split(","), *more.split(",")))


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


def mount_of(path: str) -> Mount:
    """Return the mount that holds `path`, an absolute one without links."""
    best: Mount | None = None
    for each in mounts():
        inside = path == each.point or path.startswith(each.point.rstrip("/") + "/")
        if inside and (best is None or len(each.point) >= len(best.point)):
            best = each
    assert best is not None  # there always is a root
    return best
