"""Lets ``import glance_store`` mean `store_lib.compat` in this process."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
import types
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["LIKE", "install"]

#: The release of the peer whose surface this is; what requirements are checked against.
LIKE = "5.7.0"

_NAME = "glance_store"
_HOME = "store_lib.compat"


class _Alias(importlib.abc.Loader):
    """Loads a module by giving the one of store_lib that stands for it."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._own: tuple[Any, Any] | None = None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = importlib.import_module(self._target)
        self._own = (module.__spec__, module.__loader__)
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Run nothing; put back what the import system wrote over, since the module has another name of its own."""
        if self._own is not None:
            module.__spec__, module.__loader__ = self._own


class _Metadata(importlib.metadata.Distribution):
    """What tools find that ask for the installed package: checks of requirements, of versions."""

    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA":
            return f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: {LIKE}\nSummary: served by store_lib\n"
        return None

    def locate_file(self, path: Any) -> Any:
        raise FileNotFoundError(f"{_NAME} is served by store_lib and has no files")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of the peer in store_lib."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _NAME and not fullname.startswith(f"{_NAME}."):
            return None
        home = _HOME + fullname.removeprefix(_NAME)
        if importlib.util.find_spec(home) is None:
            return None
        return importlib.machinery.ModuleSpec(fullname, _Alias(home), is_package=fullname == _NAME)

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context | None = None
    ) -> Iterable[importlib.metadata.Distribution]:
        """Yield the stand-in where that name is asked for."""
        name = context.name if context is not None else None
        if name is not None and name.replace("-", "_").lower() == _NAME:
            yield _Metadata()


def install() -> None:
    """Let ``import glance_store``, in this process and those forked from it, mean `store_lib.compat`.

    To be called before the service is imported; harmless when repeated.

    :raises RuntimeError: another glance_store is imported already.
    """
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    found = sys.modules.get(_NAME)
    if found is not None and not getattr(found, "STANDS_IN", False):
        raise RuntimeError("glance_store is imported already; call store_lib.compat.install() before the service")
    sys.meta_path.insert(0, _Finder())
