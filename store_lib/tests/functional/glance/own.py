"""Runs Glance's own tests, in Glance's environment and from the folder of its source.

::

    python -m store_lib.tests.functional.glance.own LIBRARY REPORT NAME...

LIBRARY is what they run on, ``store_lib`` or ``glance_store``.  NAMEs are modules, classes or tests; a package means
all test modules below it.  REPORT becomes a JSON file with ``passed`` and ``left_out``, lists of tests, ``skipped``,
reasons by test, and ``failed``, tracebacks by test.  LEFT_OUT in the environment is a JSON list of tests that are not
run.
"""

import importlib
import json
import multiprocessing
import os
import pkgutil
import socket
import sys
import traceback
import unittest

#: Names that Glance's tests look up; tests must not depend on what a machine's resolver knows.
ADDRESSES = {"localhost": "127.0.0.1"}
ADDRESSES |= dict.fromkeys(["example.com", "storeurl.com", "www.example.com"], "192.0.2.80")


def resolve_here():
    """Look those names up here, and no other ones anywhere."""
    ask = socket.getaddrinfo

    def getaddrinfo(host, *arguments, **more):
        return ask(ADDRESSES.get(str(host).rstrip("."), host), *arguments, **more)

    socket.getaddrinfo = getaddrinfo


def nothing():
    """Return a report of no tests."""
    return {"passed": [], "left_out": [], "skipped": {}, "failed": {}}


class Result(unittest.TestResult):
    """Keeps how each test ended."""

    def __init__(self):
        super().__init__()
        self.told = nothing()

    def _failed(self, test, text):
        self.told["failed"][test.id()] = str(text)

    def addSuccess(self, test, details=None):  # testtools gives details instead of errors
        """Keep that it passed."""
        self.told["passed"].append(test.id())

    def addError(self, test, error=None, details=None):
        """Keep that it broke."""
        self._failed(test, text_of(error, details))

    addFailure = addError

    def addUnexpectedSuccess(self, test, details=None):
        """Keep that it passed though it should not."""
        self._failed(test, "unexpected success")

    def addExpectedFailure(self, test, error=None, details=None):
        """Keep that it failed as it should."""
        self.addSuccess(test)

    def addSkip(self, test, reason=None, details=None):
        """Keep that it was skipped."""
        self.told["skipped"][test.id()] = reason or text_of(None, details)

    def addSubTest(self, test, subtest, error):
        """Keep that a part of it failed."""
        if error is not None:
            self._failed(subtest, text_of(error, None))


def text_of(error, details):
    """Return a traceback, or what testtools says instead."""
    if error is not None:
        return "".join(traceback.format_exception(*error))
    return "\n".join(content.as_text() for content in (details or {}).values())


def modules(name):
    """Return the names of the test modules below a package; of anything else the name itself."""
    try:
        package = importlib.import_module(name)
    except ImportError:
        return [name]
    if not hasattr(package, "__path__"):
        return [name]
    found = pkgutil.walk_packages(package.__path__, f"{name}.")
    return sorted(module.name for module in found if module.name.rpartition(".")[2].startswith("test_"))


def run(name):
    """Run what a name stands for."""
    result = Result()
    left_out = set(json.loads(os.environ.get("LEFT_OUT", "[]")))
    for test in flatten(unittest.defaultTestLoader.loadTestsFromName(name)):
        if test.id() in left_out:
            result.told["left_out"].append(test.id())
        else:
            test(result)
    return result.told


def flatten(suite):
    """Yield all tests of a suite."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def prepare(library):
    """Make a process ready to import Glance."""
    if library == "store_lib":
        importlib.import_module("store_lib.compat").install()
        stand_in = importlib.import_module("store_lib.tests.functional.glance.stand_in")
        stand_in.correct_staging_folder()
    resolve_here()
    # Tests rely on options that others happen to load.
    for module in ("glance.api.versions", "glance.common.wsgi", "glance.db.migration"):
        importlib.import_module(module)


def main():
    """Run the command."""
    library, report, *names = sys.argv[1:]
    prepare(library)
    all_told = nothing()
    wanted = [module for name in names for module in modules(name)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for told in pool.imap_unordered(run, wanted):
            all_told["passed"] += told["passed"]
            all_told["left_out"] += told["left_out"]
            all_told["skipped"] |= told["skipped"]
            all_told["failed"] |= told["failed"]
            with open(report, "w") as file:  # each time, for those who wait
                json.dump(all_told, file, indent=1)


if __name__ == "__main__":
    main()
