"""``python -m store_lib.compat COMMAND ...``: runs a service's command with store_lib in the place of glance_store.

COMMAND is the name of an installed console script (``glance-manage``), or the path of a Python script.
"""

from __future__ import annotations

import importlib.metadata
import os
import runpy
import sys
from collections.abc import Sequence

from store_lib.compat import install


def main(arguments: Sequence[str]) -> object:
    """Run the command; return what it returned, which is the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m store_lib.compat COMMAND [ARGUMENT...]", file=sys.stderr)
        return 0 if arguments else 2
    install()
    command, *rest = arguments
    sys.argv = [command, *rest]
    if os.sep in command:
        sys.path.insert(0, os.path.dirname(os.path.abspath(command)))
        runpy.run_path(command, run_name="__main__")
        return 0
    for entry in importlib.metadata.entry_points(group="console_scripts", name=command):
        result: object = entry.load()()
        return result
    print(f"there is no console script {command!r}; give the path of a Python script, or install it", file=sys.stderr)
    return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))  # type: ignore[arg-type]  # whatever a console script returns
