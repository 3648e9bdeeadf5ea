"""Images come and go through a real Glance: what users see, and what lies in the stores."""

import concurrent.futures
import os
import random

import pytest

from store_lib.tests import support
from store_lib.tests.functional.glance import service

MIB = support.MIB
WRITABLE = ["fast", "cheap"]


@pytest.mark.parametrize("store", WRITABLE)
def test_upload_and_download(user, places, store):
    """Uploads with a known and with an unknown size: record, digests, bytes and location are right."""
    for size in (0, 1, 65536, 9 * MIB + 17):
        data = support.payload(size, seed=size)
        known = user.add(data, store)
        unknown = user.add(support.pieces(data), store)
        for image in (known, unknown):
            user.check(image, data, [store])
            assert places[store].holds(image)
            user.delete(image)
            user.ask("GET", f"images/{image}", 404)
            assert not places[store].holds(image)
