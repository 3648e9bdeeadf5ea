"""What tests of several modules here begin with."""

import pytest

from store_lib.tests import fakes
from store_lib.tests.unit.transfer.images import DATA
from store_lib.tests.unit.transfer.pairs import COPYING, Pair


@pytest.fixture
def make_filled(make_store):
    """Return a function like `make_store` whose stores have the image of `images` already."""

    def make(driver, **options):
        store = make_store(driver, **options)
        store.add("image", DATA)
        return store

    return make


@pytest.fixture
def pair(make_stores):
    """Return a function that makes a `Pair`; at the end their memory must be free and no rule be broken."""
    made = []

    def make(limits=COPYING, sharing=fakes.SHARING, source=fakes.OBJECTS, text="", clock=None, **attributes):
        one = fakes.fake(source, FEATURES=sharing)
        two = fakes.fake(limits, FEATURES=sharing, **attributes)
        stores = make_stores(
            "[DEFAULT]\nenabled_backends = a:one, b:two\n[glance_store]\ndefault_backend = a\n"
            f"[backend_defaults]\nprobe_interval = 0\n{text}",
            drivers={"one": one, "two": two},
            clock=clock or fakes.QuickClock(),
        )
        made.append(Pair(stores, one, two))
        return made[-1]

    yield make
    for each in made:
        each.one.release()
        each.two.release()
        for store in (each.a, each.b):
            assert store._runtime.budget.used == 0, "a transfer kept its memory"
        assert each.one.violations + each.two.violations == []
        assert each.stores.close(5) == []
