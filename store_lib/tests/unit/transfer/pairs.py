"""Two stores of fakes that share a backend, for what the tests of copying share."""

import dataclasses

from store_lib.tests import fakes
from store_lib.tests.support import content, payload

#: Parts by their index, copied in ranges.
COPYING = dataclasses.replace(fakes.OBJECTS, copy_max=2000, part_size=1000)
#: Parts by their offset, copied in ranges.
BLOCKS = dataclasses.replace(fakes.BLOCKS, copy_max=2000)
#: Copied whole.
WHOLE = dataclasses.replace(fakes.BLOCKS, copy_whole=True)

DATA = payload(7777)


class Pair:
    """Two stores, ``a`` and ``b``, of fakes that share a backend."""

    def __init__(self, stores, one, two):
        self.stores = stores
        self.a, self.b = stores["a"], stores["b"]
        self.one, self.two = one.script, two.script

    def image(self, data=DATA, image_id="img", **arguments):
        """Add an image to ``a`` and return its location."""
        return self.a.add(image_id, data, len(data), **arguments).location

    def gone(self):
        """Return whether the image is no longer in ``a``."""
        return not [*self.a.list()]

    def check_source(self, location):
        """See that the source is as it was, and nothing in ``b``."""
        self.one.unfail("read")
        assert content(self.a, location) == DATA
        assert [*self.b.list()] == []
        assert [*self.b.leftovers()] == []
