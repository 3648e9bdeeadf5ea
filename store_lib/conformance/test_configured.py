"""The suite on the store that pytest's options name; see `store_lib.conformance`."""

from __future__ import annotations

import pathlib

import pytest

from store_lib.conformance.suite import Conformance


class TestConfiguredStore(Conformance):
    """``pytest --pyargs store_lib.conformance --store-config FILE --store ID``."""

    keep_stores = True

    @pytest.fixture
    def store_config(self, request: pytest.FixtureRequest) -> str:
        """Return the file's text."""
        path, self.store_id = (request.config.getoption(name) for name in ("--store-config", "--store"))
        self.other_id = request.config.getoption("--store-other")
        if not path or not self.store_id:
            pytest.skip("not offered: no store is named; give --store-config FILE and --store ID")
        return pathlib.Path(path).read_text()
