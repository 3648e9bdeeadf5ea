"""A progress bar for one transfer."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from store_lib.transfer.progress import ProgressFunction

__all__ = ["progress_bar"]


@contextlib.contextmanager
def progress_bar(name: str, shown: bool, line: int | None = None) -> Iterator[ProgressFunction | None]:
    """Yield what moves a bar for `name` on standard error, None when there is nobody to see it.

    :param line: of several bars at once, from 0 on.
    """
    if not shown:
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=name, unit="B", unit_scale=True, unit_divisor=1024, file=sys.stderr, position=line) as bar:

        def move(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield move
