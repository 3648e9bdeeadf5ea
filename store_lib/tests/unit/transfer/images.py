"""What the tests of reading share."""

from store_lib.interface import Limits
from store_lib.tests.support import payload

PART = 1000
SERIAL = Limits(part_size=PART, ranges=True)
AHEAD = Limits(part_size=PART, parallel=4, ranges=True)
DATA = payload(20 * PART + 7)
#: Where it is, in the store `it`.
URI = "memory://it/image"
