"""Makes Cinder's pools and its user in a Ceph cluster; may be repeated.

usage: pools.py CEPH_FOLDER USER POOL...
"""

import json
import pathlib
import sys

import rados

PATIENCE = "120"  # seconds; the machine may be busy


class Problem(Exception):
    """What the monitor says."""


def main(folder: pathlib.Path, user: str, pools: list[str]) -> None:
    """Make what is missing and write the key ring of the user."""
    limits = {"client_mount_timeout": PATIENCE, "rados_mon_op_timeout": PATIENCE}
    with rados.Rados(conffile=str(folder / "ceph.conf"), conf=limits) as cluster:

        def ask(prefix: str, **arguments: object) -> bytes:
            code, answer, problem = cluster.mon_command(json.dumps({"prefix": prefix, **arguments}), b"")
            if code:
                raise Problem(f"the monitor refuses '{prefix}': {problem}")
            return answer

        for pool in set(pools) - set(cluster.list_pools()):
            ask("osd pool create", pool=pool, pg_num=8)
            ask("osd pool application enable", pool=pool, app="rbd")
        rights = ", ".join(f"profile rbd pool={pool}" for pool in pools)
        caps = ["mon", "profile rbd", "mgr", "profile rbd", "osd", rights]
        key = ask("auth get-or-create", entity=f"client.{user}", caps=caps, format="plain").decode()
    (folder / f"ceph.client.{user}.keyring").write_text(key)
    # Cinder itself uses the key ring that ceph.conf names.
    ring = folder / "keyring"
    if key not in ring.read_text():
        with ring.open("a") as file:
            file.write("\n" + key)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
