"""Stores on the Swift of the tests, and requests beside them."""

import contextlib
import functools
import os
import uuid

from keystoneauth1 import session
from keystoneauth1.identity import v3
from oslo_config import cfg
from swiftclient.client import ClientException, Connection

from store_lib import Stores
from store_lib.drivers._keystone import make_session

MIB = 1024 * 1024
#: By Keystone and user: a token costs a busy machine a second.
_SESSIONS: dict[tuple[str, str], session.Session] = {}


def own_account(server, *, container="images", **options):
    """Return the options of a store in the account of the image service."""
    told = {
        "swift_store_auth_address": f"{server.env['KEYSTONE_URL']}/v3",
        "swift_store_user": "service:glance",
        "swift_store_key": "glance-pw",
        "swift_store_container": container,
        "swift_store_create_container_on_put": "true",
        "swift_store_large_object_size": 1,
        "swift_store_large_object_chunk_size": 1,
        "probe_timeout": 60,  # the machine may be busy
        **options,
    }
    return "".join(f"{name} = {value}\n" for name, value in told.items())


@contextlib.contextmanager
def opened(folder, text, *more):
    """Yield the stores of a configuration: the group [it], and further groups as whole texts."""
    groups = "".join(more)
    names = ["it"] + [line[1:-1] for line in groups.splitlines() if line.startswith("[")]
    path = folder / f"{uuid.uuid4().hex}.conf"
    enabled = ", ".join(f"{name}:swift" for name in names)
    path.write_text(
        f"[DEFAULT]\nenabled_backends = {enabled}\n[glance_store]\ndefault_backend = it\n[it]\n{text}\n{groups}"
    )
    conf = cfg.ConfigOpts()
    conf(["--config-file", str(path)], project="store_lib", default_config_files=[], default_config_dirs=[])
    stores = Stores.from_config(conf)
    try:
        yield stores
    finally:
        stores.close()


@functools.cache
def shared_session(login, **how):
    """Return what `make_session` makes, the same session for the same login."""
    return make_session(login, **how)


def log_in(server, user="glance", url="KEYSTONE_URL", **more):
    """Return a session of one of the tool's users."""
    env = server.env
    auth = v3.Password(
        auth_url=f"{env[url]}/v3",
        username=user,
        password=f"{user}-pw",
        project_name=env[f"USER_{user.upper()}_PROJECT"],
        user_domain_id="default",
        project_domain_id="default",
        **more,
    )
    return session.Session(auth=auth, timeout=60)


def client(server, user="glance", proxy=None):
    """Return a plain client of Swift: what else works with the account, other than the library."""
    env = server.env
    logged_in = _SESSIONS.setdefault((env["KEYSTONE_URL"], user), log_in(server, user))
    project = env[f"USER_{user.upper()}_PROJECT_ID"]
    url = f"{proxy or env['PROXY_URL']}/v1/AUTH_{project}"
    return Connection(session=logged_in, os_options={"object_storage_url": url}, retries=3)


def names(connection, container):
    """Return the names of all objects of a container, none when it is missing."""
    try:
        return [each["name"] for each in connection.get_container(container, full_listing=True)[1]]
    except ClientException as error:
        if error.http_status != 404:
            raise
        return []


def wipe(connection, container):
    """Remove a container with everything in it."""
    for name in names(connection, container):
        with contextlib.suppress(ClientException):
            connection.delete_object(container, name)
    with contextlib.suppress(ClientException):
        connection.delete_container(container)


def image(size):
    """Return bytes that nothing else has."""
    return os.urandom(size)


class Request:
    """What a service knows of who asks.

    :param url: name of the address of the Keystone that gives the token.
    """

    def __init__(self, server, user, url="KEYSTONE_URL"):
        logged_in = log_in(server, user, url)
        access = logged_in.auth.get_access(logged_in)
        self.auth_token = access.auth_token
        self.user_id = access.user_id
        self.project_id = access.project_id
        self.roles = access.role_names
        self.service_catalog = access.service_catalog.catalog
        self.expires = access.expires


def halves(data, between):
    """Yield an image in halves, `between` called in the middle."""
    middle = len(data) // 2
    yield data[:middle]
    between()
    yield data[middle:]
