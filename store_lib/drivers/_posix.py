"""File operations below a directory that is held open: plain functions of numbers, names and buffers.

Nothing here knows options, the engine or other drivers, and every function takes and returns simple values, so that the
same functions can run in a helper process that may be killed when a file system hangs.

No link is followed below the directory, and no name leads out of it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["Room", "Seen"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: O_NONBLOCK: opening a pipe that lies there must not wait for its writer; regular files ignore it.
_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Seen(NamedTuple):
    """What stat tells: bytes, seconds since 1970, numbers."""

    size: int
    modified: float
    device: int
    inode: int
    links: int
    regular: bool


class Room(NamedTuple):
    """What statvfs tells, in bytes."""

    total: int
    free: int
    device: int


class Span(NamedTuple):
    """Bytes of a block of memory that a helper process sees, too."""

    number: int
    start: int
    end: int


def make_directories(path: str) -> str:
    """Make the directory `path` with its parents where it is missing; return it with all links resolved."""
    os.makedirs(path, exist_ok=True)
    return os.path.realpath(path)


def resolve(path: str) -> str:
    """Return `path` with all links resolved."""
    return os.path.realpath(path)


def open_directory(path: str) -> int:
    """Return a descriptor of the directory `path`, an absolute one without a link anywhere in it.

    :raises NotADirectoryError: a link lies in the way now.
    """
    file = os.open(path, _DIRECTORY | os.O_NOFOLLOW)
    if os.path.realpath(path) != path:
        os.close(file)
        raise NotADirectoryError(errno.ENOTDIR, "a link lies in the way to it", path)
    return file


def mount_point(path: str) -> str:
    """Return where the file system of the directory `path` is mounted."""
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def same_directory(device: int, inode: int, path: str) -> bool:
    """Return whether `path` still is the directory of these numbers; held open, its numbers are nobody else's.

    :raises FileNotFoundError: nothing is there.
    """
    found = os.stat(path, follow_symlinks=False)
    return found.st_ino == inode and found.st_dev == device


def mount_id(file: int) -> int:
    """Return the number of the mount that an open file lies on, the one of the kernel's mount table."""
    with open(f"/proc/self/fdinfo/{file}", encoding="ascii") as told:
        found = dict(line.split(":", 1) for line in told if ":" in line)
    return int(found["mnt_id"])


def read_text(directory: int, name: str) -> str:
    """Return the content of a small text file."""
    file = open_file(directory, name)
    try:
        return os.read(file, 65536).decode(errors="replace")
    finally:
        os.close(file)


def create_text(directory: int, name: str, text: str) -> None:
    """Make a small text file, whole or not at all, and bring it to the disk.

    :raises FileExistsError: it is there.
    """
    hidden = f"{name}.{os.urandom(8).hex()}"  # one that is taken must be the final name
    file = create_hidden(directory, hidden, 0o644)
    try:
        write(file, memoryview(text.encode()), 0)
        os.fsync(file)
        publish(directory, file, hidden, name)
    finally:
        os.close(file)
        os.unlink(hidden, dir_fd=directory)


def _parent(directory: int, name: str) -> tuple[int, str]:
    """Return a descriptor of what holds `name` (to be closed unless it is `directory`) and the last part of `name`."""
    *parents, last = name.split("/")
    at = directory
    for part in parents:
        try:
            inner = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
        finally:
            if at != directory:
                os.close(at)
        at = inner
    return at, last


@contextlib.contextmanager
def within(directory: int, name: str) -> Iterator[tuple[int, str]]:
    """Yield a descriptor of the directory that holds `name`, and the last part of `name`."""
    at, last = _parent(directory, name)
    try:
        yield at, last
    finally:
        if at != directory:
            os.close(at)


def open_file(directory: int, name: str) -> int:
    """Return a descriptor of the regular file `name`, open for reading.

    :raises OSError: ELOOP for a link, EISDIR or EINVAL for what is no regular file.
    """
    with within(directory, name) as (at, last):
        # Looked at first: opening a device may already do something.
        check_regular(os.stat(last, dir_fd=at, follow_symlinks=False), name)
        file = os.open(last, _FILE, dir_fd=at)
    try:
        check_regular(os.fstat(file), name)
    except OSError:
        os.close(file)
        raise
    return file


def check_regular(found: os.stat_result, name: str) -> None:
    """Raise OSError, ELOOP, EISDIR or EINVAL, for what is no regular file."""
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "a link", name)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL, "not a regular file", name)


def create_unnamed(directory: int, mode: int) -> int | None:
    """Return a descriptor of a new file without a name, None where the file system or the machine offers none."""
    if not os.path.isdir("/proc/self/fd"):
        return None  # it could never be given a name
    try:
        return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode, dir_fd=directory)
    except OSError as error:
        # EISDIR and ENOENT: kernels and file systems that do not know the flag.  EPERM: also of a directory that was
        # removed; a file with a name tells which it is.
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.EPERM):
            return None
        raise


def create_hidden(directory: int, name: str, mode: int) -> int:
    """Return a descriptor of a new file `name`, locked as long as it is open."""
    file = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, mode, dir_fd=directory)
    lock(file)
    return file


def lock(file: int) -> bool:
    """Lock `file` for this open description; return whether that was possible."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False  # file systems without locks: the owner's process and the age tell
    return True


def is_locked(directory: int, name: str) -> bool:
    """Return whether some process holds the lock on `name`."""
    file = os.open(name, _FILE, dir_fd=directory)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    finally:
        os.close(file)
    return False


def allocate(file: int, size: int) -> None:
    """Take room for `size` bytes where the file system can do that; a full one says so now and not at the end.

    :raises OSError: ENOSPC or EDQUOT.
    """
    import ctypes  # late: most helpers never need it

    # Not posix_fallocate: where the file system can't, the C library writes into every block.
    done = ctypes.CDLL(None, use_errno=True).fallocate(file, 0, ctypes.c_int64(0), ctypes.c_int64(size))
    number = ctypes.get_errno()
    if done and number in (errno.ENOSPC, errno.EDQUOT):
        raise OSError(number, os.strerror(number))


def write(file: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at `offset`."""
    while data:
        done = os.pwrite(file, data, offset)
        offset += done
        data = data[done:]


def send_on(file: int, offset: int, size: int) -> None:
    """Have the kernel bring what was written there to the disk or the server; does not wait for that."""
    # Its own call for that is not in Python; this one begins with it, and then drops what need not be kept.
    with contextlib.suppress(OSError):  # advice: what is lost of the bytes, a flush tells
        os.posix_fadvise(file, offset, size, os.POSIX_FADV_DONTNEED)


def flush(file: int) -> None:
    """Wait until all that was written is on the disk."""
    os.fdatasync(file)


def read(file: int, size: int, offset: int) -> bytes:
    """Return up to `size` bytes from `offset`; nothing at the end."""
    return os.pread(file, size, offset)


def read_into(file: int, view: memoryview, offset: int) -> int:
    """Put bytes from `offset` into `view` and return how many, 0 at the end."""
    return os.preadv(file, [view], offset)


def close(file: int) -> None:
    """Close a descriptor; what that may still tell concerns bytes that nobody wants or that were flushed before."""
    with contextlib.suppress(OSError):
        os.close(file)


def seen(file: int) -> Seen:
    """Return what stat tells of an open file."""
    return _seen(os.fstat(file))


def stat_name(directory: int, name: str) -> Seen:
    """Return what stat tells of `name`, a link itself and not what it points to."""
    if "/" not in name:
        return _seen(os.stat(name, dir_fd=directory, follow_symlinks=False))
    with within(directory, name) as (at, last):
        return _seen(os.stat(last, dir_fd=at, follow_symlinks=False))


def _seen(found: os.stat_result) -> Seen:
    regular = stat.S_ISREG(found.st_mode)
    return Seen(found.st_size, found.st_mtime, found.st_dev, found.st_ino, found.st_nlink, regular)


def sync(file: int, size: int, mode: int) -> Seen:
    """Give `file` its final size and permissions (0: leave them), bring it to the disk and return what stat tells then.

    What it has already is not set anew: a file server would bring that to its disk, too, each by itself.
    """
    found = os.fstat(file)
    if found.st_size != size:
        os.ftruncate(file, size)
    if mode and stat.S_IMODE(found.st_mode) != mode:
        os.fchmod(file, mode)
    os.fsync(file)
    return _seen(os.fstat(file))


def publish(directory: int, file: int, temporary: str | None, name: str) -> None:
    """Give `file` its final name and bring the name to the disk; exclusive and atomic.

    :param temporary: its hidden name, which it keeps; None when it has none.
    :raises FileExistsError: the name is taken.
    """
    if temporary is None:
        # CPython follows the link /proc/self/fd/N only when it is told a directory for the target.
        os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=directory, follow_symlinks=True)
    else:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    try:
        sync_directory(directory)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=directory)  # what may be gone after a power cut must not be called stored
        raise


def sync_directory(directory: int) -> None:
    """Bring the names in the directory to the disk."""
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # file systems that know no such thing
            raise


def publish_alone(directories: Sequence[int], directory: int, file: int, temporary: str | None, name: str) -> None:
    """As `publish`, with the name free in all of `directories`; exclusive among all that name one of the same.

    :raises FileExistsError: the name is taken in one of them.
    """
    with exclusive(directories):
        for each in directories:
            with contextlib.suppress(FileNotFoundError):
                stat_name(each, name)
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        publish(directory, file, temporary, name)


@contextlib.contextmanager
def exclusive(directories: Sequence[int]) -> Iterator[None]:
    """Keep others that use this function out meanwhile, as long as they name one of the same directories."""
    with contextlib.ExitStack() as opened:
        places: dict[tuple[int, int], int] = {}
        for directory in directories:
            own = os.open(".", _DIRECTORY, dir_fd=directory)
            opened.callback(os.close, own)
            found = os.fstat(own)
            places[found.st_dev, found.st_ino] = own
        for _, own in sorted(places.items()):  # everybody in the same order, each directory once
            fcntl.flock(own, fcntl.LOCK_EX)
        yield


def allow_search(directory: int, mode: int) -> None:
    """Let those enter the directory who may read files of permissions `mode` in it."""
    found = stat.S_IMODE(os.fstat(directory).st_mode)
    wanted = found | (0o010 if mode & 0o040 else 0) | (0o001 if mode & 0o004 else 0)
    if wanted != found:
        os.fchmod(directory, wanted)


def unlink(directory: int, name: str) -> None:
    """Remove the file `name`."""
    with within(directory, name) as (at, last):
        os.unlink(last, dir_fd=at)


def room(directory: int) -> Room:
    """Return size and free space of the file system, as an ordinary user sees it."""
    found = os.fstatvfs(directory)
    return Room(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, os.fstat(directory).st_dev)


def read_only(directory: int) -> bool:
    """Return whether the file system is mounted read-only."""
    return bool(os.fstatvfs(directory).f_flag & os.ST_RDONLY)


def writable(directory: int) -> bool:
    """Return whether this process may make files in the directory."""
    return os.access(".", os.W_OK | os.X_OK, dir_fd=directory, effective_ids=True)


def scan(directory: int) -> list[tuple[str, Seen]]:
    """Return the regular files in the directory, those below it not."""
    found = []
    # A descriptor of its own: the one held open has one position for all threads.
    own = os.open(".", _DIRECTORY, dir_fd=directory)
    try:
        with os.scandir(own) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # gone since
                    told = _seen(os.stat(entry.name, dir_fd=own, follow_symlinks=False))
                    if told.regular:
                        found.append((entry.name, told))
    finally:
        os.close(own)
    return found


def extents(file: int, offset: int, length: int) -> list[tuple[int, int, bool]]:
    """Return ``(offset, length, hole)`` of the runs of data and holes in a range, in order."""
    found: list[tuple[int, int, bool]] = []
    at, end = offset, offset + length
    while at < end:
        try:
            data = min(os.lseek(file, at, os.SEEK_DATA), end)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = end  # no data any more
        if data > at:
            found.append((at, data - at, True))
        at = data
        if at < end:
            hole = min(os.lseek(file, at, os.SEEK_HOLE), end)
            found.append((at, hole - at, False))
            at = hole
    return found
