"""Waits until Cinder's backends are up and makes the volume types; may be repeated.

usage: volume_types.py KEYSTONE_URL SECONDS POOR_PROJECT_ID BACKEND...
"""

from __future__ import annotations

import sys
import time

from cinderclient import client
from keystoneauth1 import session
from keystoneauth1.identity import v3

#: Type -> its extra specifications, besides one type for each backend; the first of those has another one.
MULTI = {"multiattach": "<is> True"}
MORE = {"nowhere": {"volume_backend_name": "a-backend-that-is-not-there"}}
#: What the project may have that is to meet its quota.
QUOTA = {"volumes": 2, "gigabytes": 3}


def wait(cinder: client.Client, wanted: set[str], until: float) -> None:
    """Wait until the volume services are alive and the scheduler knows what room they have."""
    while True:
        up = {
            each.host.partition("@")[2] for each in cinder.services.list(binary="cinder-volume") if each.state == "up"
        }
        pools = {each.name.partition("@")[2].partition("#")[0] for each in cinder.pools.list(detailed=True)}
        if wanted <= up & pools:
            return
        if time.monotonic() > until:
            sys.exit(f"these backends did not come up: {', '.join(sorted(wanted - (up & pools)))}")
        time.sleep(0.1)


def main(url: str, seconds: float, poor: str, backends: list[str]) -> None:
    """Wait, and make what is missing."""
    auth = v3.Password(
        auth_url=url,
        username="admin",
        password="admin-pw",
        project_name="admin",
        user_domain_id="default",
        project_domain_id="default",
    )
    cinder = client.Client("3.59", session=session.Session(auth=auth, timeout=60))
    wait(cinder, set(backends), time.monotonic() + seconds)
    there = {each.name for each in cinder.volume_types.list()}
    wanted = {name: {"volume_backend_name": name} for name in backends} | MORE
    wanted["multi"] = wanted[backends[0]] | MULTI
    for name in wanted.keys() - there:
        cinder.volume_types.create(name).set_keys(wanted[name])
    cinder.quotas.update(poor, **QUOTA)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4:])
