"""What the tests of uploads share."""

from store_lib.interface import Limits
from store_lib.tests import fakes

PART = fakes.OBJECTS.part_size
WHOLE = Limits(part_size=PART, parallel=2, whole_max=4 * PART, ranges=True)


class Failure(Exception):
    """Something that is not store_lib's."""


def ids(store):
    """Return the ids of the images that are visible."""
    return sorted(image.id for image in store.list())


def unfinished(store):
    """Return what uploads have left."""
    return list(store.leftovers())


def parts(driver):
    """Return the parts that were written, by index."""
    return sorted((call.detail["part"] for call in driver.script.of("write_part")), key=lambda part: part.index)


def sizes(driver):
    """Return the lengths of the parts that were written, by index."""
    return [part.length for part in parts(driver)]
