"""Builds the three rings of a Swift of one device.

usage: rings.py FOLDER OBJECT_PORT CONTAINER_PORT ACCOUNT_PORT
"""

import os
import sys

from swift.common.ring import RingBuilder

folder, *ports = sys.argv[1:]
for name, port in zip(("object", "container", "account"), map(int, ports), strict=True):
    builder = RingBuilder(4, 1, 1)  # 16 partitions, one replica
    place = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "device": "d1", "weight": 1.0, "meta": "", **place})
    builder.rebalance()
    builder.get_ring().save(os.path.join(folder, name + ".ring.gz"))
