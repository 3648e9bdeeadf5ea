"""Makes Cinder's entry in Keystone's catalog, its own user, and those of image services; may be repeated.

usage: users.py KEYSTONE_URL CINDER_URL FILE.json
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
from typing import Any

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parent.parent / "_swift"))
import accounts as keystone

#: project -> {user: roles}; a user's password is NAME-pw.
PROJECTS = {
    "service": {"cinder": ["admin", "service"]},
    # An image service, with no more rights than everybody.
    "images": {"images": ["member"]},
    # Another one, which may have little: see volume_types.py.
    "poor": {"poor": ["member"]},
}
APPLICATION = "images"


def endpoints(admin: keystone.Keystone, url: str) -> None:
    """Make the entries of the catalog, by the type of today and by that of clients that are older."""
    for kind, name in (("block-storage", "cinder"), ("volumev3", "cinderv3")):
        service = admin.ensure("service", "services", {"type": kind}, {"name": name})
        for interface in ("public", "internal", "admin"):
            key = {"service_id": service["id"], "interface": interface}
            admin.ensure("endpoint", "endpoints", key, {"region_id": "RegionOne", "url": url})


def main(url: str, cinder: str, path: str) -> None:
    """Make what is missing and write how users log in."""
    keystone.PROJECTS = PROJECTS
    admin = keystone.Keystone(url, "admin", "admin")
    endpoints(admin, cinder)
    roles = {name: admin.ensure("role", "roles", {"name": name}, {})["id"] for name in ("admin", "service", "member")}
    told: dict[str, dict[str, Any]] = {}
    for project, users in PROJECTS.items():
        found = admin.ensure("project", "projects", {"name": project, "domain_id": "default"}, {})
        for name in users:
            told[name] = keystone.user(admin, roles, project, found["id"], name)
    told[APPLICATION] |= keystone.application_credential(url, told[APPLICATION], APPLICATION)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(told, file, indent=1)
    os.rename(path + ".new", path)


if __name__ == "__main__":
    main(*sys.argv[1:])
