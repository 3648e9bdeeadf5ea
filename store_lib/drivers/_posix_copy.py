"""File operations between two places: copying inside the kernel, and moving.

As plain as those of `_posix`, and run in the same places.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Sequence

from store_lib.drivers import _posix

__all__ = ["copy_range", "move"]

#: What kernels answer that cannot copy between two files, by whichever way.
_NO_COPY = (errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.EPERM, errno.ETXTBSY)
#: _IOW(0x94, 13, struct file_clone_range) and that struct, of linux/fs.h.
_FICLONERANGE = 0x4020940D
_CLONE_RANGE = struct.Struct("qQQQ")


def copy_range(source: int, target: int, offset: int, length: int) -> bool:
    """Copy a range of one open file into another at the same offset, within the kernel; holes stay holes.

    Blocks are shared where the file system does that: then it takes no time and, until one is changed, no room.

    :returns: False when the kernel cannot copy between these two; some bytes may have been copied.
    :raises OSError: EIO when the source ends before.
    """
    if _share(source, target, offset, length):
        return True
    for at, size, hole in _posix.extents(source, offset, length):
        while size and not hole:
            try:
                done = os.copy_file_range(source, target, size, at, at)
            except OSError as error:
                if error.errno in _NO_COPY:
                    return False
                raise
            if not done:
                raise OSError(errno.EIO, "the file was cut off while it was copied")
            at, size = at + done, size - done
    return True


def _share(source: int, target: int, offset: int, length: int) -> bool:
    """Have a range of `target` refer to the blocks of `source`; return whether that was possible."""
    try:
        fcntl.ioctl(target, _FICLONERANGE, _CLONE_RANGE.pack(source, offset, length, offset))
    except OSError as error:
        if error.errno in _NO_COPY:
            return False
        raise
    return True


def move(source: int, name: str, target: int, new_name: str, mode: int, alone: Sequence[int]) -> None:
    """Move the file `name` to another directory of the same file system; exclusive, and never without a name.

    A move that was cut short after its first half is completed by the same call.

    :param source: the directory that holds it.
    :param mode: its new permissions; 0 leaves them.
    :param alone: directories, `target` among them, that must not hold the new name, as in `_posix.publish_alone`.
    :raises FileExistsError: the new name is taken by another file.
    :raises OSError: EXDEV for another file system; whatever it is, the file has its old name alone.
    """
    with _posix.within(source, name) as (at, last):
        found = os.stat(last, dir_fd=at, follow_symlinks=False)
        _posix.check_regular(found, name)
        if os.path.samestat(os.fstat(at), os.fstat(target)) and last == new_name:
            raise FileExistsError(errno.EEXIST, "it is there already", name)
        with _posix.exclusive(alone):
            for each in alone:
                _check_free(each, new_name, found)
            try:
                os.link(last, new_name, src_dir_fd=at, dst_dir_fd=target, follow_symlinks=False)
            except FileExistsError:
                _check_free(target, new_name, found)
        try:
            if mode and stat.S_IMODE(found.st_mode) != mode:
                os.chmod(new_name, mode, dir_fd=target)
            _posix.sync_directory(target)
            os.unlink(last, dir_fd=at)
        except BaseException:
            _take_back(at, last, target, new_name)
            raise
        with contextlib.suppress(OSError):  # it has been moved; after a power cut it may have both names
            _posix.sync_directory(at)


def _check_free(directory: int, name: str, found: os.stat_result) -> None:
    """Raise FileExistsError when another file than `found` has that name."""
    with contextlib.suppress(FileNotFoundError):
        if not os.path.samestat(os.stat(name, dir_fd=directory, follow_symlinks=False), found):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)


def _take_back(source: int, name: str, target: int, new_name: str) -> None:
    """Remove the new name of a file, as long as it still has the old one."""
    with contextlib.suppress(OSError):
        os.stat(name, dir_fd=source, follow_symlinks=False)
        os.unlink(new_name, dir_fd=target)
