"""The table of the contract in the documentation is true, and nothing is missing in it."""

import ast
import csv
import functools
import importlib
import pathlib
import re
from types import ModuleType

import pytest

import store_lib.compat as glance_store
from store_lib.compat import _attributes
from store_lib.compat.common import utils

TESTS = pathlib.Path(__file__).resolve().parents[2]
PAGE = TESTS.parents[1] / "doc" / "source" / "contributor" / "contract.rst"


def rows():
    """Return the rows of the table."""
    lines = [line.strip() for line in PAGE.read_text().splitlines() if line.startswith('   "')]
    return [[cell.strip() for cell in row] for row in csv.reader(lines, skipinitialspace=True)]


def public():
    """Return every name that a service can use."""
    found = {name for name in glance_store.__all__ if not isinstance(getattr(glance_store, name), ModuleType)}
    found |= {f"Store.{name}" for name in dir(glance_store.Store) if not name.startswith("_")}
    found |= {"Store.core", "Store.conf", "Store.backend_group"}
    for module in (glance_store.location, glance_store.capabilities):
        found |= {f"{module.__name__.rpartition('.')[2]}.{name}" for name in module.__all__}
    found |= {f"common.utils.{name}" for name in utils.__all__}
    found |= {f"{kind}.{name}" for kind, names in _attributes.ATTRIBUTES.items() for name in names}
    return found | {"backend._load_store", "backend._list_opts", "multi_backend._list_config_opts"}


def named(cell):
    """Return the names in the first cell of a row; none where it is a sentence."""
    return re.findall(r"``([^`]+)``", cell) if re.fullmatch(r"(``[^`]+`` ?)+", cell) else []


def test_the_table_names_all_that_is_public_and_nothing_else():
    found = [name for row in rows() for name in named(row[0])]
    assert len(found) == len(set(found)), sorted(name for name in found if found.count(name) > 1)
    assert set(found) - {"python -m store_lib.compat"} == public()


@pytest.mark.parametrize("where", sorted({row[1].strip("`") for row in rows()}))
def test_every_place_exists(where):
    name, found = where, None
    while found is None and name:
        try:
            found = importlib.import_module(f"store_lib.compat.{name}")
        except ModuleNotFoundError:
            name = name.rpartition(".")[0]
    rest = where.removeprefix(name).strip(".")
    functools.reduce(getattr, filter(None, rest.split(".")), found)


@pytest.mark.parametrize("test", sorted({row[2].strip("`") for row in rows()}))
def test_every_test_exists(test):
    path, _, name = test.partition("::")
    tree = ast.parse((TESTS / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
