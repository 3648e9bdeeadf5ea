"""The broken drivers are what they say: one for each behaviour, each one method away from the memory driver."""

import ast
import inspect
import textwrap

import pytest

from store_lib.conformance import behaviours
from store_lib.conformance.broken import broken_drivers
from store_lib.drivers.memory import MemoryDownload, MemoryDriver, MemoryUpload


def test_there_is_one_for_each_behaviour():
    assert [*broken_drivers()] == [each.number for each in behaviours()]


@pytest.mark.parametrize("number", broken_drivers())
def test_it_is_one_short_method_away_from_the_memory_driver(number):
    broken, _ = broken_drivers()[number]
    assert [base for base in broken.__bases__ if base in (MemoryDriver, MemoryUpload, MemoryDownload)]
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(broken))).body
    assert isinstance(tree, ast.ClassDef)
    docstring, *body = tree.body
    assert isinstance(docstring, ast.Expr)
    (method,) = body
    assert isinstance(method, ast.FunctionDef)
    assert method.end_lineno is not None
    assert method.end_lineno - method.lineno < 15
    assert hasattr(broken.__bases__[0], method.name), "it overrides nothing"
