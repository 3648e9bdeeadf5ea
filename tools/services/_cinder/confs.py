"""Cinder's configuration file, as a text."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

#: Backend -> pool of Ceph's.
POOLS = {"rbd1": "volumes", "rbd2": "volumes2", "rbd3": "volumes"}
SHARES = ("nfs1", "nfs2")
BACKENDS = (*POOLS, *SHARES)
#: Volume groups of LVM, and backends of the other kind of cloud.
GROUPS = ("lvm1", "lvm2")
CEPH_USER = "cinder"


def _rbd(folder: pathlib.Path, name: str) -> str:
    return f"""[{name}]
volume_driver = cinder.volume.drivers.rbd.RBDDriver
volume_backend_name = {name}
rbd_pool = {POOLS[name]}
rbd_user = {CEPH_USER}
rbd_ceph_conf = {folder}/ceph/ceph.conf
rbd_secret_uuid = 00000000-0000-0000-0000-000000000001
# Clients look for the key ring at /etc/ceph/CLUSTER.client.USER.keyring: this leads them into the folder.
rbd_cluster_name = ../..{folder}/ceph/ceph
rbd_flatten_volume_from_snapshot = false
rbd_exclusive_cinder_pool = true
rados_connect_timeout = 20
# How long a volume that is in use is tried to be deleted: 1, 2 and 4 seconds between.
rados_connection_retries = 3
rados_connection_interval = 1
"""


def _nfs(folder: pathlib.Path, name: str) -> str:
    return f"""[{name}]
volume_driver = cinder.volume.drivers.nfs.NfsDriver
volume_backend_name = {name}
nas_host = 127.0.0.1
nas_share_path = {folder}/{name}
nfs_mount_point_base = {folder}/mnt
nas_secure_file_operations = false
nas_secure_file_permissions = false
nfs_snapshot_support = true
"""


def _lvm(folder: pathlib.Path, name: str) -> str:
    return f"""[{name}]
volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver
volume_backend_name = {name}
volume_group = {name}
lvm_type = default
# A backend does not take this from above; zeroes over what is deleted would fill the disk in memory.
volume_clear = none
volumes_dir = {folder}/lib/volumes
target_helper = lioadm
target_protocol = iscsi
target_ip_address = 127.0.0.1
# The second path, for clients that use several.
target_secondary_ip_addresses = 127.0.0.2
"""


def cinder_conf(folder: pathlib.Path, venv: pathlib.Path, port: int, keystone: str, names: Sequence[str]) -> str:
    """Return cinder.conf.

    :param port: where the API listens.
    :param keystone: address of Keystone, without a path.
    :param names: of the backends.
    """
    etc = folder / "etc"
    helper = f"helper_command = {venv}/bin/privsep-helper --config-file {etc}/cinder.conf"
    kinds = dict.fromkeys(POOLS, _rbd) | dict.fromkeys(SHARES, _nfs) | dict.fromkeys(GROUPS, _lvm)
    backends = [kinds[name](folder, name) for name in names]
    return f"""[DEFAULT]
auth_strategy = keystone
transport_url = fake:/
host = tests
my_ip = 127.0.0.1
state_path = {folder}/lib
image_conversion_dir = {folder}/lib/conversion
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = {port}
osapi_volume_workers = 1
api_paste_config = {etc}/api-paste.ini
resource_query_filters_file = {etc}/resource_filters.json
rootwrap_config = {etc}/rootwrap.conf
log_file = {folder}/log/cinder.log
enabled_backends = {",".join(names)}
default_volume_type = {names[0]}
quota_volumes = -1
quota_snapshots = -1
quota_gigabytes = -1
volume_clear = none
# A busy machine may stand still for long, and that is no failure.
rpc_response_timeout = 180
migration_create_volume_timeout_secs = 60
# The scheduler hears of the backends when they start.  Five services that report more often than that they live, and
# how much room they have, would take a good part of a busy processor.
periodic_interval = 15
periodic_fuzzy_delay = 0
backend_stats_polling_interval = 30
report_interval = 30
service_down_time = 300

[database]
connection = sqlite:///{folder}/lib/cinder.sqlite
# Nobody waits for the disk: what a killed process wrote is there without that.
sqlite_synchronous = false

[oslo_concurrency]
lock_path = {folder}/lib/lock

[coordination]
backend_url = file://{folder}/lib/coordination

[oslo_messaging_notifications]
driver = noop

[keystone_authtoken]
www_authenticate_uri = {keystone}/v3
auth_url = {keystone}/v3
auth_type = password
username = cinder
password = cinder-pw
project_name = service
user_domain_id = default
project_domain_id = default
service_token_roles_required = true

[privsep]
{helper}
[cinder_sys_admin]
{helper}
[privsep_osbrick]
{helper}

{"".join(backends)}"""
