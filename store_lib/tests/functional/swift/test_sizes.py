"""Images around the borders of segments, by the sizes that nobody set, and spoilt on their way."""

import gc
import io
import logging

import pytest

from store_lib.drivers.swift.client import Blocks
from store_lib.tests.functional.swift.support import MIB, client, image, names, opened, own_account
from store_lib.tests.support import content

pytestmark = pytest.mark.usefixtures("one_login")


@pytest.fixture
def it(server, container, tmp_path):
    """Return a store whose images above 1 MiB are in segments of 1 MiB."""
    with opened(tmp_path, own_account(server, container=container)) as stores:
        yield stores["it"]


def test_every_size_around_the_segment_border(it, server, container):
    """Known or not, an image of any size comes back, and is deleted with all its segments."""
    sizes = [(0, True), (1, False), (MIB - 1, False), (MIB, False), (MIB, True), (MIB + 1, True), (MIB + 1, False)]
    for size, known in [*sizes, (2 * MIB, True), (3 * MIB + 7, True), (3 * MIB, False)]:
        there_and_gone(it, client(server), container, size, known=known, border=MIB)


def there_and_gone(it, connection, container, size, *, known, border):
    """Add an image, read it, and delete it; above the border it is in segments of 1 MiB, and nothing stays."""
    data = image(size)
    record = it.add("image", io.BytesIO(data), size if known else None)
    assert record.size == size
    assert content(it, record.location) == data
    found = names(connection, container)
    assert "image" in found
    segments = -(-size // MIB) if size > border else 0
    assert sum(each.startswith(".segments/image/") for each in found) == len(found) - 1 == segments
    it.delete(record.location)
    assert names(connection, container) == []  # no mark and no claim either


@pytest.mark.long
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_every_size_around_each_border(server, container, tmp_path, known):
    """Likewise around the size from which on there are segments, which is another one than that of a segment here."""
    with opened(tmp_path, own_account(server, container=container, swift_store_large_object_size=2)) as stores:
        around = [border * MIB + more for border in (1, 2, 3, 4, 8) for more in (-1, 0, 1)]
        for size in [0, 1, 2, *around]:
            there_and_gone(stores["it"], client(server), container, size, known=known, border=2 * MIB)


def test_sizes_that_nobody_set(server, container, tmp_path):
    """64 MiB go in one request, even where nobody told how many they are; more is in segments of 16 MiB."""
    lines = own_account(server, container=container).splitlines(keepends=True)
    with opened(tmp_path, "".join(line for line in lines if "large_object" not in line)) as stores:
        data = image(MIB) * 64
        stores["it"].add("whole", io.BytesIO(data))
        stores["it"].add("parts", io.BytesIO(data + b"1"), len(data) + 1)
        found = client(server).get_container(container)[1]
        sizes = [each["bytes"] for each in found if each["name"].startswith(".segments/parts/")]
        assert sizes == [16 * MIB] * 4 + [1]
        assert [each.size for each in stores["it"].list()] == [len(data) + 1, len(data)]


def test_bytes_that_change_on_their_way(it, caplog, monkeypatch):
    """Swift refuses them, since it was told their digest beforehand: they are sent again."""
    blocks = Blocks.__iter__
    spoilt: list[int] = []

    def once_spoilt(body):
        if not spoilt:
            spoilt.append(len(body))
            return iter([bytes(len(body))])
        return blocks(body)

    monkeypatch.setattr(Blocks, "__iter__", once_spoilt)
    for size in (1000, 2 * MIB + 5):
        spoilt.clear()
        data = image(size)
        with caplog.at_level(logging.INFO, "store_lib"):
            record = it.add(f"image-{size}", io.BytesIO(data), size)
        assert spoilt
        assert caplog.text.count("answered 422") == 1
        assert content(it, record.location) == data
        caplog.clear()


def test_nothing_of_an_image_stays_in_memory(it):
    """Connections that wait for the next request hold no bytes of the last one."""
    for size in (1000, 2 * MIB + 5):
        it.add(f"image-{size}", io.BytesIO(image(size)), size)
    assert [len(each) for each in gc.get_objects() if isinstance(each, Blocks) and len(each)] == []
