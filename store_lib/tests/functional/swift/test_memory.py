"""Memory stays what the buffers take, however large an image is: the command reads it from a pipe."""

import pytest

from store_lib.checking import needs
from store_lib.tests.functional.swift.support import MIB, client, opened, own_account
from store_lib.tests.support import memory_of_an_add


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_an_image_of_unknown_size(server, container, tmp_path):
    """It takes what ``store-lib store check-config`` tells beyond what one of a byte takes, and little more."""
    lines = own_account(server, container=container, operation_timeout=120).splitlines(keepends=True)
    with opened(tmp_path, "".join(line for line in lines if "large_object" not in line)) as stores:
        (conf,) = tmp_path.glob("*.conf")
        more = memory_of_an_add(conf, "large", 1024 * MIB + 1) - memory_of_an_add(conf, "small", 1)
        print(f"{more / MIB:.0f} MiB")
        assert more < needs(stores["it"]).transfer_memory + 32 * MIB
        assert client(server).head_object(container, "large")["content-length"] == str(1024 * MIB + 1)
        for image_id in ("large", "small"):
            stores["it"].delete(f"swift+config://ref1/{container}/{image_id}")
