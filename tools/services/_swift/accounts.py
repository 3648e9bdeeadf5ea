"""Makes the projects and users that the tests use, in Keystone, and writes what is needed to log in.

usage: accounts.py KEYSTONE_URL STORAGE_URL FILE.json
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import sys
import threading
from typing import Any

from keystoneauth1 import session
from keystoneauth1.identity import v3

#: project -> {user: roles}; a user's password is NAME-pw.
PROJECTS = {
    "service": {"glance": ["admin", "service"], "swift": ["service", "admin"]},
    "demo": {"demo": ["member"], "reader": ["reader"]},
    "alt": {"alt": ["member"]},
    # An image service's own project whose user may work in the account of every project.
    "images": {"imgadmin": ["member", "ResellerAdmin"]},
}
WITH_S3_KEYS = ("glance", "demo", "alt")
WITH_APPLICATION_CREDENTIALS = ("glance", "demo")


class Keystone:
    """Calls of one user; safe for threads."""

    def __init__(self, url: str, user: str, project: str) -> None:
        self.url = url.rstrip("/")
        auth = v3.Password(
            auth_url=url,
            username=user,
            password=f"{user}-pw",
            project_name=project,
            user_domain_id="default",
            project_domain_id="default",
        )
        self.session = session.Session(auth=auth, timeout=60)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.session.request(self.url + path, method, json=body)
        return answer.json() if answer.content else None

    def ensure(self, kind: str, plural: str, key: dict[str, str], rest: dict[str, Any]) -> dict[str, Any]:
        """Return the thing with those values, made if there is none."""
        query = "&".join(f"{name}={value}" for name, value in key.items())
        found = self.call("GET", f"/{plural}?{query}")[plural]
        return found[0] if found else self.call("POST", f"/{plural}", {kind: {**key, **rest}})[kind]


def endpoints(admin: Keystone, storage: str) -> None:
    service = admin.ensure("service", "services", {"type": "object-store"}, {"name": "swift"})
    for interface in ("public", "internal", "admin"):
        key = {"service_id": service["id"], "interface": interface}
        rest = {"region_id": "RegionOne", "url": storage + "/v1/AUTH_%(tenant_id)s"}
        admin.ensure("endpoint", "endpoints", key, rest)


def user(admin: Keystone, roles: dict[str, str], project: str, project_id: str, name: str) -> dict[str, Any]:
    """Make one user with his roles and credentials; return what logs him in."""
    rest = {"password": f"{name}-pw", "default_project_id": project_id}
    found = admin.ensure("user", "users", {"name": name, "domain_id": "default"}, rest)
    for role in PROJECTS[project][name]:
        admin.call("PUT", f"/projects/{project_id}/users/{found['id']}/roles/{roles[role]}")
    told = {"id": found["id"], "password": f"{name}-pw", "project": project, "project_id": project_id}
    if name in WITH_S3_KEYS:
        path = f"/users/{found['id']}/credentials/OS-EC2"
        have = admin.call("GET", path)["credentials"]
        key = have[0] if have else admin.call("POST", path, {"tenant_id": project_id})["credential"]
        told |= {"s3_access": key["access"], "s3_secret": key["secret"]}
    return told


def application_credential(url: str, told: dict[str, Any], name: str) -> dict[str, str]:
    """Make an application credential of a user, who is known already, and return it."""
    own = Keystone(url, name, told["project"])
    path = f"/users/{told['id']}/application_credentials"
    for old in own.call("GET", path)["application_credentials"]:
        own.call("DELETE", f"{path}/{old['id']}")
    secret = f"{name}-application-secret"
    # Named, since the roles that others imply cannot be handed on.
    roles = [{"name": role} for role in PROJECTS[told["project"]][name]]
    made = own.call("POST", path, {"application_credential": {"name": "tests", "secret": secret, "roles": roles}})
    return {"application_id": made["application_credential"]["id"], "application_secret": secret}


def main(url: str, storage: str, path: str) -> None:
    admin = Keystone(url, "admin", "admin")
    admin.session.get_token()
    names = sorted({role for users in PROJECTS.values() for has in users.values() for role in has} | {"reader"})
    lock = threading.Lock()
    result: dict[str, Any] = {"auth_url": url, "storage": storage, "region": "RegionOne", "projects": {}, "users": {}}
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        catalog = pool.submit(endpoints, admin, storage)
        made = pool.map(lambda name: admin.ensure("role", "roles", {"name": name}, {})["id"], names)
        roles = dict(zip(names, made, strict=True))

        def project(name: str) -> None:
            found = admin.ensure("project", "projects", {"name": name, "domain_id": "default"}, {})
            for each in PROJECTS[name]:
                told = user(admin, roles, name, found["id"], each)
                with lock:
                    result["projects"][name] = found["id"]
                    result["users"][each] = told

        list(pool.map(project, PROJECTS))
        catalog.result()
    # One after another: while other requests run, Keystone at times takes a role of the user for unassigned.
    for name in WITH_APPLICATION_CREDENTIALS:
        result["users"][name] |= application_credential(url, result["users"][name], name)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
    os.rename(path + ".new", path)


if __name__ == "__main__":
    main(*sys.argv[1:])
