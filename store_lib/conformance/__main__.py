"""``python -m store_lib.conformance``: the behaviours as reStructuredText, as they stand in the documentation."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
from collections.abc import Iterator

from store_lib.conformance.behaviour import behaviours
from store_lib.interface import Feature

__all__ = ["document"]

_HEAD = """\
Behaviours
==========

What every store does, whatever its kind.  Each behaviour has a number that never changes its meaning and stands in
the name of its test (``test_021_...``).  The suite that tests them is part of the package; how to run it on a driver
or on a configured store says :py:mod:`store_lib.conformance`.  A behaviour that needs a feature concerns only stores
that declare it.

This page is written by ``python -m store_lib.conformance``; a test keeps both the same.
"""


def document() -> str:
    """Return the page of the documentation."""
    lines = [_HEAD]
    for topic, group in itertools.groupby(behaviours(), key=lambda each: each.topic):
        about = importlib.import_module(f"store_lib.conformance.checks.{topic}").__doc__ or topic
        lines += [*_heading(about.strip().rstrip(".").partition(";")[0]), ""]
        for each in group:
            lines += [f"**{each.number:03}** {_sentence(each.name)}{_needs(each.needs)}"]
            lines += [textwrap.indent(each.text, "    "), ""]
    return "\n".join(lines).rstrip() + "\n"


def _heading(text: str) -> Iterator[str]:
    yield text
    yield "-" * len(text)


def _sentence(name: str) -> str:
    return name.replace("_", " ")


def _needs(features: Feature) -> str:
    names = ", ".join(str(feature.name).lower() for feature in features)
    return f" *(needs {names})*" if names else ""


if __name__ == "__main__":
    sys.stdout.write(document())
