"""How values look on a screen; in JSON and YAML they stay what they are."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from cliff.columns import FormattableColumn

__all__ = ["Bytes", "Fields", "Options", "Settings", "human_size"]


def human_size(size: int) -> str:
    """Return a number of bytes as people read it."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024:
            return f"{value:.1f} {unit}" if unit != "B" else f"{size} B"
        value /= 1024
    return f"{value:.1f} PiB"


class Bytes(FormattableColumn[Any]):
    """A number of bytes, or None."""

    def human_readable(self) -> str:
        """Return it with a unit."""
        return "" if self._value is None else human_size(self._value)


class Fields(FormattableColumn[Any]):
    """A nested value."""

    def human_readable(self) -> str:
        """Return a line for each field."""
        if isinstance(self._value, dict):
            return "\n".join(f"{name}: {_plain(value)}" for name, value in self._value.items())
        return _plain(self._value)


class Options(FormattableColumn[Any]):
    """The options of a driver: ``{name: {type, default, help, ...}}``."""

    def human_readable(self) -> str:
        """Return some lines for each."""
        return "\n".join(
            f"{name} ({each['type']}, {_plain(each['default'])})\n"
            + textwrap.fill(each["help"] or "", 90, initial_indent="    ", subsequent_indent="    ")
            for name, each in self._value.items()
        )


class Settings(FormattableColumn[Any]):
    """The settings of a store: ``{name: {value, origin}}``."""

    def human_readable(self) -> str:
        """Return a line for each, with its origin."""
        return "\n".join(f"{name} = {_plain(each['value'])}  ({each['origin']})" for name, each in self._value.items())


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
