"""Sphinx directives for pages that are generated from the code: drivers, their features, options and packages."""

from __future__ import annotations

import importlib.metadata
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from docutils import nodes
from oslo_config import cfg
from packaging.requirements import Requirement
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective
from sphinx.util.rst import escape

from store_lib import opts
from store_lib.interface import Driver, Feature
from store_lib.registry import DriverRegistry

TOP = pathlib.Path(__file__).resolve().parents[2]
REGISTRY = DriverRegistry()
#: What a driver needs from the distribution instead of PyPI stands in bindep.txt under a profile of its name.
BINDEP = TOP / "bindep.txt"


def drivers() -> dict[str, type[Driver[Any]]]:
    """Return the drivers of this package by name; their client libraries need not be there."""
    found = {}
    for point in importlib.metadata.entry_points(group="store_lib.drivers"):
        if point.dist is not None and point.dist.name == "store_lib":
            found[point.name] = REGISTRY.load(point.name)
    return dict(sorted(found.items()))


def feature_texts() -> dict[Feature, str]:
    """Return what each feature means, from the comments beside it."""
    found = ModuleAnalyzer.for_module(Feature.__module__).find_attr_docs()
    return {each: " ".join(found["Feature", str(each.name)]).strip() for each in Feature}


def requirements(extra: str) -> list[str]:
    """Return the names of the packages that an extra brings."""
    found = []
    for text in importlib.metadata.requires("store_lib") or []:
        each = Requirement(text)
        if each.marker is not None and each.marker.evaluate({"extra": extra}) and not each.marker.evaluate():
            found.append(each.name)
    return sorted(found)


def packages(profile: str) -> list[str]:
    """Return the Debian packages of a profile in bindep.txt."""
    lines = (re.fullmatch(r"(\S+)\s+\[(.*)\]", line.strip()) for line in BINDEP.read_text().splitlines())
    return [found[1] for found in lines if found and profile in found[2].split()]


def table(widths: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a list-table with one row of headers."""
    yield from (".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", "")
    for row in rows:
        for index, cell in enumerate(row):
            yield f"   {'*' if not index else ' '} - {cell}"
    yield ""


KINDS = {
    "Bool": "true or false",
    "Dict": "pairs NAME:VALUE, separated by commas",
    "Float": "number",
    "Int": "whole number",
    "List": "list, separated by commas",
    "MultiStr": "text; may stand there several times",
    "Str": "text",
}


def option_kind(option: cfg.Opt) -> str:
    """Return what may be written for an option, for people."""
    name = type(option).__name__.removesuffix("Opt")
    kind = option.type
    found = (("at least", getattr(kind, "min", None)), ("at most", getattr(kind, "max", None)))
    words = [KINDS.get(name, name.lower()), *(f"{word} {number}" for word, number in found if number is not None)]
    choices = getattr(kind, "choices", None)
    return ", ".join(words) if not choices else f"one of {', '.join(f'``{choice}``' for choice in choices)}"


def option_text(option: cfg.Opt) -> Iterator[str]:
    """Yield the description of one option."""
    default = "" if option.default in (None, [], {}, "") else f"; default ``{option.default}``"
    yield from (f".. confval:: {option.dest}", "", f"   {option_kind(option)}{default}", "")
    yield f"   {escape(str(option.help))}"
    if option.secret:
        yield from ("", "   It is a secret: never shown, never logged.")
    old = [each for each in option.deprecated_opts if each.name]
    if old:
        yield from ("", f"   Read, too, as {', '.join(f'``{each.name}``' for each in old)}.")
    yield ""


def heading(text: str) -> Iterator[str]:
    """Yield a section's title."""
    yield from (text, "=" * len(text), "")


class Generated(SphinxDirective):
    """Puts the text that `lines` yields in its place."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        for source in (opts.__file__, BINDEP, __file__, TOP / "setup.cfg"):
            self.env.note_dependency(str(source))
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True)

    def lines(self) -> Iterator[str]:
        raise NotImplementedError

    def page(self, name: str) -> str:
        """Return a link to the page of a driver, or its bare name where there is none."""
        return f":doc:`{name} </drivers/{name}>`" if f"drivers/{name}" in self.env.found_docs else f"``{name}``"


class DriversCompared(Generated):
    """``.. drivers-compared::`` all drivers side by side."""

    def lines(self) -> Iterator[str]:
        found = drivers()
        rows = [["feature", *(self.page(name) for name in found)]]
        for feature, text in feature_texts().items():
            name = f"``{str(feature.name).lower()}``: {text}"
            rows.append([name, *("yes" if feature in driver.FEATURES else "" for driver in found.values())])
        yield from table(" ".join(["40", *["8"] * len(found)]), rows)


class DriversListed(Generated):
    """``.. drivers-listed::`` what each driver is, and the URI schemes that it reads."""

    def lines(self) -> Iterator[str]:
        rows = [["driver", "what it is", "schemes"]]
        for name, driver in drivers().items():
            about = (driver.__doc__ or "").strip().partition(".")[0] + "."
            rows.append([self.page(name), escape(about), " ".join(f"``{scheme}``" for scheme in driver.SCHEMES)])
        yield from table("10 60 30", rows)


class DriversInstalled(Generated):
    """``.. drivers-installed::`` what each driver needs, and the command for it."""

    def lines(self) -> Iterator[str]:
        for name in drivers():
            pip, debian = requirements(name), packages(name)
            yield from heading(name)
            if pip:
                yield f"``pip install 'store_lib[{name}]'`` brings {', '.join(pip)}."
            if debian:
                also = " also" if pip else ""
                yield f"It needs{also} from the distribution: ``apt-get install {' '.join(debian)}``."
            if not pip and not debian:
                yield "Nothing but store_lib itself: ``pip install store_lib``."
            yield from ("", f"See {self.page(name)}.", "")


class Options(Generated):
    """``.. all-options::`` every option, by where it stands."""

    def lines(self) -> Iterator[str]:
        yield from self.section("options-global", "All stores together", ())
        for group, found in (("DEFAULT", opts.DEFAULT_OPTIONS), (opts.GLOBAL_GROUP, opts.GLOBAL_OPTIONS)):
            yield from (f"In the group ``[{group}]``:", "")
            for option in found:
                yield from option_text(option)
        intro = "In the group of a store, or in ``[backend_defaults]`` for all stores, whatever their driver:"
        yield from self.section("options-base", "Every store", [intro])
        for option in opts.BASE_OPTIONS:
            yield from option_text(option)
        seen: set[str] = set()
        for name, driver in drivers().items():
            yield from self.driver(name, driver, seen)

    def section(self, label: str, title: str, intro: Sequence[str]) -> Iterator[str]:
        yield from (f".. _{label}:", "", *heading(title), *intro, "")

    def driver(self, name: str, driver: type[Driver[Any]], seen: set[str]) -> Iterator[str]:
        intro = [f"In the group of a store of this kind, or in ``[backend_defaults]``; see {self.page(name)}."]
        defaults = [f":confval:`{option}` is ``{value}``" for option, value in driver.DEFAULTS.items()]
        if defaults:
            intro += ["", f"Other defaults of options that every store has: {', '.join(defaults)}."]
        for option, base in driver.STANDS_FOR.items():
            intro += ["", f"Where :confval:`{option}` is set and :confval:`{base}` is not, it counts for it, too."]
        if not driver.OPTIONS:
            intro = ["It has none of its own."]
        yield from self.section(f"options-{name}", f"Stores of type {name}", intro)
        again = [option.dest for option in driver.OPTIONS if option.dest in seen]
        if again:
            yield from (f"As above: {', '.join(f':confval:`{each}`' for each in again)}.", "")
        for option in driver.OPTIONS:
            if option.dest not in seen:
                yield from option_text(option)
                seen.add(option.dest)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("drivers-compared", DriversCompared)
    app.add_directive("drivers-listed", DriversListed)
    app.add_directive("drivers-installed", DriversInstalled)
    app.add_directive("all-options", Options)
    return {"parallel_read_safe": True, "env_version": 1}
