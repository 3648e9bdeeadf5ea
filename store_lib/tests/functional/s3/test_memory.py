"""Memory stays what the buffers take, however large an image is: the command reads it from a pipe."""

import pytest

from store_lib.tests.support import MIB, memory_of_an_add

GIB = 1024 * MIB


@pytest.fixture
def added(rgw, bucket, tmp_path):
    """Return a function that adds an image of some size by the command, and returns its peak memory in bytes."""
    section = rgw.section("it", bucket.name, probe_timeout=60, operation_timeout=120)  # the machine may be busy
    path = tmp_path / "store_lib.conf"
    path.write_text(f"[DEFAULT]\nenabled_backends = it:s3\n{section}")

    def add(image_id, size):
        peak = memory_of_an_add(path, image_id, size, "--digest", "md5")
        assert bucket.head(image_id)["ContentLength"] == size
        return peak

    return add


def grown(added, size):
    """Return by how many bytes an image of `size` takes more memory than one of a byte."""
    more = added("large", size) - added("small", 1)
    print(f"{more / MIB:.0f} MiB for an image of {size / MIB:.0f} MiB")
    return more


def test_an_image_of_unknown_size(added):
    """It takes at most 150 MiB more than one of a byte."""
    assert grown(added, 192 * MIB) < 150 * MIB


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_an_image_of_8_gib(added):
    """Nor does that."""
    assert grown(added, 8 * GIB) < 150 * MIB
