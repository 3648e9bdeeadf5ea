"""``python -m store_lib.conformance.broken``: the table of behaviours and broken drivers, as JSON.

``K/N`` as an argument makes the K-th of N shares of it, for several processes.
"""

from __future__ import annotations

import json
import sys

from store_lib.conformance.broken import broken_drivers
from store_lib.conformance.broken.table import outcomes
from store_lib.drivers.memory import MemoryDriver

if __name__ == "__main__":
    share, _, shares = (sys.argv[1] if len(sys.argv) > 1 else "1/1").partition("/")
    chosen = [number for number in broken_drivers() if number % int(shares) == int(share) % int(shares)]
    found = {number: outcomes(broken_drivers()[number][1]) for number in chosen}
    json.dump({"reference": outcomes(MemoryDriver), "broken": found}, sys.stdout)
