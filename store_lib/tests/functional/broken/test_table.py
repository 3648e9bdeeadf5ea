"""Each broken driver is caught, by the test of its own behaviour and by no other."""

import json
import subprocess
import sys

import pytest

from store_lib.conformance.broken import broken_drivers

SHARES = 2

pytestmark = pytest.mark.timeout(1000)


@pytest.fixture(scope="module")
def made():
    """Return what came of every behaviour with every broken driver, and with the memory driver."""
    command = [sys.executable, "-m", "store_lib.conformance.broken"]
    running = [
        subprocess.Popen([*command, f"{share}/{SHARES}"], stdout=subprocess.PIPE, text=True)
        for share in range(1, SHARES + 1)
    ]
    tables = []
    for each in running:
        told, _ = each.communicate(timeout=900)
        assert each.returncode == 0
        tables.append(json.loads(told))
    return tables[0]["reference"], {number: row for table in tables for number, row in table["broken"].items()}


def test_the_memory_driver_does_it_all(made):
    reference, _ = made
    assert {number: why for number, why in reference.items() if why} == {}


@pytest.mark.parametrize("number", broken_drivers())
def test_it_fails_its_own_test_and_no_other(made, number):
    _, table = made
    failed = {behaviour: why for behaviour, why in table[str(number)].items() if why}
    assert list(failed) == [str(number)], failed
    assert not failed[str(number)].startswith("not offered")
