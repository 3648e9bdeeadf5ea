"""The file that a command writes: complete under its name, or not there."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["output_file"]


@contextlib.contextmanager
def output_file(name: str) -> Iterator[BinaryIO]:
    """Yield a binary file whose content gets the name `name` when the ``with`` ends well.

    ``-`` is standard output; a device or a pipe of that name is written as it is.
    """
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif os.path.exists(name) and not stat.S_ISREG(os.stat(name).st_mode):
        with open(name, "r+b" if stat.S_ISBLK(os.stat(name).st_mode) else "wb", buffering=0) as file:
            yield file
    else:
        with _replacing(os.path.realpath(name)) as made:
            yield made


@contextlib.contextmanager
def _replacing(name: str) -> Iterator[BinaryIO]:
    descriptor, temporary = tempfile.mkstemp(prefix=".store-lib-", dir=os.path.dirname(name))
    try:
        with open(descriptor, "w+b") as file:
            yield file
        os.chmod(temporary, _permissions(name))
        os.replace(temporary, name)
    except BaseException:
        os.unlink(temporary)
        raise


def _permissions(name: str) -> int:
    """Return the permissions of the file that is replaced, else those that a new file gets."""
    try:
        return stat.S_IMODE(os.stat(name).st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
