"""The configuration files of Swift and Keystone, as texts."""

from __future__ import annotations

import getpass
import os
import pathlib

#: Proxies differ in how they ask who you are and in what they offer.
_HEAD = "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats"
_AUTH = "authtoken s3api s3token keystoneauth"  # authtoken first: behind s3token it wipes what that one set
_TAIL = "copy container-quotas account-quotas slo dlo versioned_writes symlink proxy-logging proxy-server"
PIPELINES = {
    "proxy": f"{_HEAD} bulk tempurl {_AUTH} {_TAIL}",
    "temp": f"{_HEAD} bulk tempurl s3api tempauth {_TAIL}",
    # Manifests of at most four segments, and no bulk delete.
    "few": f"{_HEAD} tempurl {_AUTH} {_TAIL}",
    # As bare as a cluster may be: no static large objects, no bulk delete, no copy, no temporary URLs.
    "plain": f"{_HEAD} authtoken keystoneauth dlo proxy-logging proxy-server",
    "hasty": f"{_HEAD} {_AUTH} {_TAIL}",
}

#: Filters without settings.
_SIMPLE = ("catch_errors", "gatekeeper", "healthcheck", "listing_formats", "bulk", "tempurl", "copy", "dlo", "symlink")
_SIMPLE += ("container-quotas", "account-quotas")


#: Servers with a swift.conf and rings of their own: their listings have few names on a page.
SHORT_PAGES = ("few", "pages")
NAMES_ON_A_PAGE = 10


def swift_conf(names: int = 10_000) -> str:
    """Return swift.conf.

    :param names: most names on a page of a container's listing.
    """
    return f"""[swift-hash]
swift_hash_path_prefix = prefix
swift_hash_path_suffix = suffix
[swift-constraints]
container_listing_limit = {names}
[storage-policy:0]
name = gold
default = yes
"""


def place(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Return the folder of the configuration of a server, with its swift.conf and its rings."""
    return folder / "etc/few" if name in SHORT_PAGES else folder / "etc"


def _common(folder: pathlib.Path, name: str, port: int, workers: int) -> str:
    return f"""[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = {workers}
user = {getpass.getuser()}
swift_dir = {place(folder, name)}
devices = {folder}/devices
mount_check = false
log_level = INFO
log_statsd_host =
eventlet_debug = false
"""


def storage_conf(name: str, folder: pathlib.Path, port: int, workers: int) -> str:
    """Return the configuration of the object, container or account server, or of ``pages``, a container server."""
    reserve = os.environ.get("STORE_LIB_SWIFT_RESERVE", "0")
    kind = "container" if name == "pages" else name
    return f"""{_common(folder, name, port, workers)}
fallocate_reserve = {reserve}
[pipeline:main]
pipeline = healthcheck {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
[filter:healthcheck]
use = egg:swift#healthcheck
[{kind}-replicator]
[{kind}-updater]
"""


def proxy_conf(kind: str, folder: pathlib.Path, ports: dict[str, int], workers: int) -> str:
    """Return the configuration of one of PIPELINES.

    :param workers: processes.
    """
    account = f"""auth_url = http://127.0.0.1:{ports["keystone"]}/v3
auth_type = password
username = swift
password = swift-pw
project_name = service
user_domain_id = default
project_domain_id = default
delay_auth_decision = true"""
    text = f"""{_common(folder, kind, ports[kind], workers)}
[pipeline:main]
pipeline = {PIPELINES[kind]}
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
conn_timeout = 2
node_timeout = 20
client_timeout = {2 if kind == "hasty" else 60}
recoverable_node_timeout = 10
# One device: it must never be shut out after an error.
error_suppression_interval = 0
error_suppression_limit = 1000000
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = http://127.0.0.1:{ports["keystone"]}/v3
{account}
cache = swift.cache
include_service_catalog = false
service_token_roles_required = true
# Where Keystone is down that is told soon.
http_request_max_retries = 1
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, swiftoperator, member
project_reader_roles = reader
reseller_admin_role = ResellerAdmin
[filter:s3token]
use = egg:swift#s3token
auth_uri = http://127.0.0.1:{ports["keystone"]}/v3
{account}
secret_cache_duration = 60
[filter:tempauth]
use = egg:swift#tempauth
user_admin_admin = admin .admin .reseller_admin
user_test_tester = testing .admin
user_test_tester3 = testing3
user_test2_tester2 = testing2 .admin
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{ports["memcached"]}
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:slo]
use = egg:swift#slo
{"max_manifest_segments = 4" if kind == "few" else ""}
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
dns_compliant_bucket_names = true
max_upload_part_num = 10000
min_segment_size = 65536
"""
    return text + "".join(f"[filter:{name}]\nuse = egg:swift#{name.replace('-', '_')}\n" for name in _SIMPLE)


def keystone_conf(folder: pathlib.Path, seconds: int) -> str:
    """Return keystone.conf for tokens that live that long."""
    place = folder / "keystone"
    return f"""[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///{place}/keystone.db
sqlite_synchronous = false
[token]
provider = fernet
expiration = {seconds}
[fernet_tokens]
key_repository = {place}/fernet
[fernet_receipts]
key_repository = {place}/fernet
[credential]
key_repository = {place}/credential
[identity]
# The check of the password would else be most of a request for a token.
password_hash_rounds = 4
"""
