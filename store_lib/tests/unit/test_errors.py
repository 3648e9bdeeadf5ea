"""Errors: one tree, with everything a caller needs, also across processes."""

import copy
import inspect
import pickle

import pytest

import store_lib
from store_lib import errors

CLASSES = [getattr(errors, name) for name in errors.__all__ if name not in ("Mistake", "Outcome")]
PLAIN = [cls for cls in CLASSES if not issubclass(cls, errors.ConfigurationError)]


@pytest.mark.parametrize("cls", CLASSES)
def test_one_except_catches_all(cls):
    assert issubclass(cls, errors.StoreLibError)
    assert cls.__name__ in errors.__doc__
    assert getattr(store_lib, cls.__name__) is cls


def test_every_class_of_the_module_is_public():
    found = {name for name, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__}
    assert found == set(errors.__all__)


@pytest.mark.parametrize("cls", PLAIN)
def test_an_error_says_where_it_happened(cls):
    error = cls("it broke")
    assert str(error) == "it broke"
    error.store, error.operation, error.location = "fast", "add", "file:///x"
    assert str(error) == "it broke (store fast, add, file:///x)"


@pytest.mark.parametrize("cls", PLAIN)
def test_an_error_without_words_says_something(cls):
    assert str(cls()).endswith(".")


@pytest.mark.parametrize("cls", PLAIN)
@pytest.mark.parametrize("through", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_crosses_processes_whole(cls, through):
    error = cls("it broke", transient=True, outcome=errors.Outcome.UNKNOWN)
    error.store, error.operation = "fast", "add"
    again = through(error)
    assert type(again) is cls
    assert vars(again) == vars(error)
    assert str(again) == str(error)
    assert again.args == error.args


def test_a_configuration_error_crosses_processes_with_its_mistakes():
    mistakes = [
        errors.Mistake("fast", "part_size", "too small", "write more"),
        errors.Mistake(None, None, "bad", "mend"),
    ]
    again = pickle.loads(pickle.dumps(errors.ConfigurationError(mistakes)))
    assert again.mistakes == tuple(mistakes)
    assert str(again).splitlines() == ["fast: part_size: too small; write more", "configuration: bad; mend"]


@pytest.mark.parametrize("cls", PLAIN)
def test_what_may_be_tried_again(cls):
    assert cls().transient is issubclass(cls, errors.StoreUnavailable)
    assert cls(transient=True).transient
    assert not cls(transient=False).transient


def test_what_may_have_happened_all_the_same():
    unknown = {cls for cls in PLAIN if cls().outcome is errors.Outcome.UNKNOWN}
    assert unknown == {errors.OperationTimeout, errors.CommitUnknown}
    assert errors.StoreUnavailable(outcome=errors.Outcome.UNKNOWN).outcome is errors.Outcome.UNKNOWN
