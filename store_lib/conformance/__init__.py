r"""The conformance suite: what every store does, whatever its kind, as numbered behaviours that can be run on it.

Each behaviour has a number that never changes its meaning, stands in the documentation and in the name of its test.
Which of them concern a store follows from the features that it declares; the others are skipped with a reason that
begins with ``not offered: ``.

In the tests of a driver (needs pytest)::

    import pytest
    from store_lib.conformance import Conformance

    class TestMine(Conformance):
        @pytest.fixture
        def store_config(self, tmp_path):
            return f"[DEFAULT]\nenabled_backends = it:mine\n[it]\nmine_directory = {tmp_path}\n"

`Conformance` tells what else the class may say.  On any configured store::

    pytest --pyargs store_lib.conformance --store-config FILE --store ID

Images made there have ids that begin with ``conformance-`` and are removed.  ``python -m store_lib.conformance`` lists
the behaviours.  `store_lib.conformance.broken` holds a driver for each behaviour that breaks it, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store_lib.conformance.behaviour import Behaviour, NotOffered, behaviours
    from store_lib.conformance.place import Place
    from store_lib.conformance.suite import Conformance

__all__ = ["Behaviour", "Conformance", "NotOffered", "Place", "behaviours"]

_HOMES = {"Conformance": "suite", "Place": "place"}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: pytest loads this package for its options alone."""
    if name not in __all__:
        raise AttributeError(f"module 'store_lib.conformance' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"store_lib.conformance.{_HOMES.get(name, 'behaviour')}"), name)
    globals()[name] = value
    return value
