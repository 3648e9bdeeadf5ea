"""Volumes that are block devices of this host: what the tests of each protocol share."""

import pytest

pytest.register_assert_rewrite("store_lib.tests.functional.devices.checks")
