"""Options of the cinder store, and what can be wrong with them."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Iterator

from oslo_config import cfg

from store_lib.drivers._keystone import Login
from store_lib.errors import Mistake
from store_lib.settings import StoreSettings

__all__ = ["OPTIONS", "catalog", "check", "lock_path", "login"]

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "cinder_catalog_info",
        default="volumev3::publicURL",
        help="How Cinder is found in the catalog: SERVICE_TYPE:SERVICE_NAME:ENDPOINT_TYPE; the name may be empty.",
    ),
    cfg.StrOpt(
        "cinder_endpoint_template",
        help="Cinder's URL in place of what the catalog says, such as http://cinder.example.org:8776/v3/%(tenant)s, "
        "where %(tenant)s, or %(project_id)s, stands for the id of the project.",
    ),
    cfg.StrOpt("cinder_os_region_name", help="Region of the endpoint in the catalog; any when not set."),
    cfg.StrOpt(
        "cinder_ca_certificates_file", help="File of the certificate authorities that the servers are verified by."
    ),
    cfg.BoolOpt("cinder_api_insecure", default=False, help="Do not verify the certificates of the servers."),
    cfg.IntOpt("cinder_http_retries", default=3, min=0, help="Has no effect: see retry_attempts."),
    cfg.FloatOpt(
        "cinder_api_timeout",
        default=120,
        min=1,
        help="How long in seconds Cinder may take to answer one request. Exporting a volume to this host is one.",
    ),
    cfg.IntOpt(
        "cinder_state_transition_timeout",
        default=300,
        min=1,
        help="How long in seconds a volume may take to be made, extended or let go of.",
    ),
    cfg.FloatOpt(
        "cinder_attach_timeout",
        default=300,
        min=1,
        help="How long in seconds to wait for a volume that is attached elsewhere. Volumes of a type with multiattach "
        "are read by several hosts at once.",
    ),
    cfg.IntOpt("cinder_attachment_retry_attempts", default=5, min=0, help="Has no effect: see cinder_attach_timeout."),
    cfg.FloatOpt(
        "cinder_delete_timeout",
        default=60,
        min=0,
        help="How long in seconds to watch a volume that is being deleted. Until then it is known whether Cinder could "
        "delete it; a delete that takes longer counts as deferred.",
    ),
    cfg.StrOpt(
        "cinder_store_auth_address",
        help="Address of Keystone. With cinder_store_user_name, or an application credential, the volumes belong to "
        "that project; without, to the project of whoever adds an image.",
    ),
    cfg.StrOpt("cinder_store_user_name", help="Who logs in."),
    cfg.StrOpt("cinder_store_user_domain_name", default="Default", help="Domain of that user."),
    cfg.StrOpt("cinder_store_password", secret=True, help="The password of that user."),
    cfg.StrOpt(
        "cinder_store_application_credential_id",
        help="Id of an application credential, which takes the place of user and password.",
    ),
    cfg.StrOpt("cinder_store_application_credential_secret", secret=True, help="The secret of that credential."),
    cfg.StrOpt("cinder_store_project_name", help="Project that the volumes of images belong to."),
    cfg.StrOpt("cinder_store_project_domain_name", default="Default", help="Domain of that project."),
    cfg.StrOpt(
        "rootwrap_config",
        default="/etc/glance/rootwrap.conf",
        help="Configuration of rootwrap, by which a service without root's rights attaches volumes: commands run as "
        "'sudo glance-rootwrap FILE COMMAND'.",
    ),
    cfg.StrOpt("cinder_volume_type", help="Type of the volumes that are made; the cloud's default type when not set."),
    cfg.BoolOpt(
        "cinder_enforce_multipath",
        default=False,
        help="Refuse to attach volumes while multipathd does not run on this host.",
    ),
    cfg.BoolOpt("cinder_use_multipath", default=False, help="Attach volumes over several paths where there are."),
    cfg.StrOpt(
        "cinder_mount_point_base",
        default="/var/lib/glance/mnt",
        help="Directory below which shares of file-based volumes are mounted.",
    ),
    cfg.StrOpt(
        "cinder_lock_path",
        help="Directory of the locks between processes of this host, and of the notes of what they have attached. All "
        "processes that use these volumes on this host share it. When not set, it is cinder_mount_point_base/locks.",
    ),
    cfg.BoolOpt(
        "cinder_do_extend_attached",
        default=False,
        help="Extend a volume of an image of unknown size while it is attached. When not set, this is done where the "
        "kind of storage can; false never does it.",
    ),
    cfg.IntOpt(
        "cinder_extend_step",
        default=1,
        min=1,
        help="By how many GiB a volume of an image of unknown size grows at least.",
    ),
    cfg.IntOpt(
        "cinder_extend_percent",
        default=25,
        min=0,
        max=100,
        help="By what share of its size, in percent, such a volume grows when that is more. Each growth takes time; "
        "what is too much stays, since Cinder cannot shrink a volume.",
    ),
    cfg.StrOpt(
        "cinder_rbd_keyring",
        help="File of the key of the Ceph user that Cinder names for a volume. When not set, it is "
        "/etc/ceph/CLUSTER.client.USER.keyring, unless Cinder hands the key out.",
    ),
]

_CATALOG = re.compile(r"([^:]+):([^:]*):([^:]+)")


def catalog(settings: StoreSettings) -> tuple[str, str | None, str]:
    """Return service type, service name and interface of the endpoint."""
    found = _CATALOG.fullmatch(settings["cinder_catalog_info"])
    assert found is not None  # see check
    return found[1], found[2] or None, found[3]


def login(settings: StoreSettings) -> Login | None:
    """Return the service's own credentials; None when it has none and requests carry those of their callers."""
    found = Login(
        auth_url=settings["cinder_store_auth_address"] or "",
        user=settings["cinder_store_user_name"],
        password=settings["cinder_store_password"],
        application_id=settings["cinder_store_application_credential_id"],
        application_secret=settings["cinder_store_application_credential_secret"],
        project=settings["cinder_store_project_name"],
        user_domain=settings["cinder_store_user_domain_name"],
        project_domain=settings["cinder_store_project_domain_name"],
    )
    return found if found.complete else None


def lock_path(settings: StoreSettings) -> str:
    """Return the directory of locks and notes."""
    return settings["cinder_lock_path"] or os.path.join(settings["cinder_mount_point_base"], "locks")


def check(settings: StoreSettings) -> Iterable[Mistake]:
    """Yield every mistake in the options."""
    for module in ("cinderclient", "keystoneauth1", "os_brick"):
        if importlib.util.find_spec(module) is None:
            problem = f"the driver cinder needs {module}, which is not installed"
            yield Mistake(settings.id, "enabled_backends", problem, "run: pip install store_lib[cinder]")
    if not _CATALOG.fullmatch(settings["cinder_catalog_info"]):
        problem = f"{settings['cinder_catalog_info']!r} is not of the form TYPE:NAME:INTERFACE"
        yield Mistake(settings.id, "cinder_catalog_info", problem, "write for instance volumev3::publicURL")
    path = settings["cinder_ca_certificates_file"]
    if path and not os.path.isfile(path):
        mend = "name the file of the authorities"
        yield Mistake(settings.id, "cinder_ca_certificates_file", f"there is no file {path}", mend)
    yield from _check_template(settings)
    yield from _check_login(settings)


def _check_template(settings: StoreSettings) -> Iterator[Mistake]:
    template = settings["cinder_endpoint_template"]
    if not template:
        return
    try:
        url = template % {"tenant": "0", "project_id": "0"}
    except (KeyError, TypeError, ValueError):
        url = ""
    if not re.match(r"https?://[^/@]+(/|$)", url):
        problem = "it is no URL, or asks for something else than %(tenant)s or %(project_id)s"
        mend = "write for instance http://cinder.example.org:8776/v3/%(tenant)s"
        yield Mistake(settings.id, "cinder_endpoint_template", problem, mend)


def _check_login(settings: StoreSettings) -> Iterator[Mistake]:
    given = [
        name
        for name in (
            "cinder_store_auth_address",
            "cinder_store_user_name",
            "cinder_store_password",
            "cinder_store_application_credential_id",
            "cinder_store_application_credential_secret",
        )
        if settings[name]
    ]
    if given and login(settings) is None:
        yield Mistake(
            settings.id,
            given[0],
            "the credentials are not complete",
            "write cinder_store_auth_address, and cinder_store_user_name with cinder_store_password or the id and "
            "secret of an application credential; or none of them",
        )
        return
    by_password = settings["cinder_store_user_name"] and not settings["cinder_store_application_credential_id"]
    if given and by_password and not settings["cinder_store_project_name"]:
        problem = "no project is named that the volumes belong to"
        yield Mistake(settings.id, "cinder_store_project_name", problem, "name the service's project")
