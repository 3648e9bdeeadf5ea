"""Options of the swift store, and what can be wrong with them."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Iterator

from oslo_config import cfg

from store_lib.drivers.swift import references
from store_lib.errors import Mistake
from store_lib.interface import MIB
from store_lib.settings import StoreSettings

__all__ = ["OPTIONS", "check", "segment_size", "threshold"]

#: What serves best where the operator says nothing: requests of this size keep eight connections busy.
_THRESHOLD = 64 * MIB
_SEGMENT = 16 * MIB

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt(
        "default_swift_reference",
        default="ref1",
        help="Name of the account that this store writes to: a section of swift_store_config_file, or the account "
        "that the options swift_store_auth_address, swift_store_user, ... describe. It is part of every location.",
    ),
    cfg.StrOpt(
        "swift_store_config_file",
        help="Absolute path of a file of accounts, one section each, with auth_address, user and key, or "
        "application_credential_id and application_credential_secret. It is read again when it changes, so that "
        "credentials are replaced without a restart.",
    ),
    cfg.StrOpt("swift_store_auth_address", help="Address of Keystone, where swift_store_config_file is not used."),
    cfg.StrOpt("swift_store_user", secret=True, help="Who logs in: PROJECT:USER."),
    cfg.StrOpt("swift_store_key", secret=True, help="The password of that user."),
    cfg.StrOpt(
        "swift_store_application_credential_id",
        help="Id of an application credential, which takes the place of user and key.",
    ),
    cfg.StrOpt("swift_store_application_credential_secret", secret=True, help="The secret of that credential."),
    cfg.StrOpt("swift_store_project_name", help="Project of the account, where swift_store_user names none."),
    cfg.StrOpt("swift_store_project_id", help="Project of the account by id, in place of its name."),
    cfg.StrOpt(
        "swift_store_auth_version",
        default="3",
        help="Version of the identity API; 3 is the only one.",
    ),
    cfg.BoolOpt("swift_store_auth_insecure", default=False, help="Do not verify the certificates of the servers."),
    cfg.StrOpt("swift_store_cacert", help="File of the certificate authorities that the servers are verified by."),
    cfg.BoolOpt("swift_store_ssl_compression", default=True, help="Has no effect: TLS does not compress any more."),
    cfg.StrOpt("swift_store_region", help="Region of the endpoint in the catalog; the first that fits when not set."),
    cfg.StrOpt(
        "swift_store_endpoint",
        help="Storage URL of the account, in place of what the catalog says, such as https://host/v1/AUTH_id. With "
        "swift_store_multi_tenant it may also end before the account (https://host/v1): AUTH_ and the id of the "
        "caller's project follow then.",
    ),
    cfg.StrOpt(
        "swift_store_endpoint_type",
        default="publicURL",
        choices=["publicURL", "adminURL", "internalURL"],
        help="Which of the endpoints in the catalog is used.",
    ),
    cfg.StrOpt("swift_store_service_type", default="object-store", help="Type of the service in the catalog."),
    cfg.StrOpt(
        "swift_store_container",
        default="glance",
        help="Container of the images. With swift_store_multiple_containers_seed, and with swift_store_multi_tenant, "
        "what the names of the containers begin with.",
    ),
    cfg.ListOpt(
        "swift_store_read_containers",
        default=[],
        help="Further containers of the account in which images of old locations may be read and deleted; nothing is "
        "written there.",
    ),
    cfg.StrOpt(
        "swift_store_segments_container",
        help="Container of the segments of large images. When not set, they are beside the images, below .segments/.",
    ),
    cfg.BoolOpt(
        "swift_store_create_container_on_put", default=False, help="Make the container when the first image is added."
    ),
    cfg.IntOpt(
        "swift_store_large_object_size",
        default=5 * 1024,
        min=1,
        help="Largest image in MiB that goes in one request; a larger one, and one of unknown size that turns out "
        "larger, is stored in segments. When not set, it is 64 MiB.",
    ),
    cfg.IntOpt(
        "swift_store_large_object_chunk_size",
        default=200,
        min=1,
        help="Size of a segment in MiB. When not set, it is 16 MiB. Several segments are in memory at once: with large "
        "ones, memory_limit lets fewer travel at a time (see 'store-lib store check-config').",
    ),
    cfg.IntOpt(
        "swift_store_multiple_containers_seed",
        default=0,
        min=0,
        max=32,
        help="How many characters of an image's id are added to the name of its container, to spread the images over "
        "several; 0 means one container.",
    ),
    cfg.BoolOpt(
        "swift_store_multi_tenant",
        default=False,
        help="Store each image in the account of the project that adds it, with the token of the request, in a "
        "container of its own.",
    ),
    cfg.ListOpt(
        "swift_store_admin_tenants",
        default=[],
        help="With swift_store_multi_tenant: projects that may read and write every image whose access lists a "
        "service sets.",
    ),
    cfg.BoolOpt(
        "swift_store_use_trusts",
        default=True,
        help="With swift_store_multi_tenant: have Keystone let this service act for the user for the time of one "
        "transfer, so that it outlives the user's token.",
    ),
    cfg.IntOpt(
        "swift_store_expire_soon_interval",
        default=60,
        min=0,
        help="How long in seconds before its end a token is replaced.",
    ),
    cfg.StrOpt(
        "swift_temp_url_key",
        secret=True,
        help="The key that is set as X-Account-Meta-Temp-URL-Key of the account. With it, URLs are handed out that "
        "read one image for a while.",
    ),
    cfg.IntOpt(
        "swift_store_retry_get_count",
        default=0,
        min=0,
        help="Has no effect: see retry_attempts.",
    ),
    cfg.BoolOpt("swift_buffer_on_upload", default=False, help="Has no effect: what is sent again is sent from memory."),
    cfg.StrOpt("swift_upload_buffer_dir", help="Has no effect, as swift_buffer_on_upload."),
]

_CONTAINER = re.compile(r"[^/?#@\s][^/?#@]{0,220}")


def threshold(settings: StoreSettings) -> int:
    """Return the size in bytes of the largest image that goes in one request."""
    option = "swift_store_large_object_size"
    return int(settings[option]) * MIB if settings.origin(option).by_operator else _THRESHOLD


def segment_size(settings: StoreSettings) -> int:
    """Return the size in bytes of a segment."""
    option = "swift_store_large_object_chunk_size"
    return int(settings[option]) * MIB if settings.origin(option).by_operator else _SEGMENT


def check(settings: StoreSettings) -> Iterable[Mistake]:
    """Yield every mistake in the options."""
    yield from _check_packages(settings)
    yield from _check_names(settings)
    yield from references.check(settings)
    if settings["swift_store_auth_version"] != "3":
        yield Mistake(
            settings.id, "swift_store_auth_version", "only version 3 is supported", "write 3, or leave it out"
        )
    path = settings["swift_store_cacert"]
    if path and not os.path.isfile(path):
        yield Mistake(settings.id, "swift_store_cacert", f"there is no file {path}", "name the file of the authorities")
    chunk = segment_size(settings)
    if settings.origin("swift_store_large_object_chunk_size").by_operator and chunk > settings.base.memory_limit:
        yield Mistake(
            settings.id,
            "swift_store_large_object_chunk_size",
            f"a segment of {chunk // MIB} MiB does not fit into memory_limit {settings.base.memory_limit}",
            "write a smaller one, or a larger memory_limit",
        )


def _check_packages(settings: StoreSettings) -> Iterator[Mistake]:
    for module in ("swiftclient", "keystoneauth1"):
        if importlib.util.find_spec(module) is None:
            problem = f"the driver swift needs {module}, which is not installed"
            yield Mistake(settings.id, "enabled_backends", problem, "run: pip install store_lib[swift]")


def _check_names(settings: StoreSettings) -> Iterator[Mistake]:
    for option in ("swift_store_container", "swift_store_segments_container"):
        value = settings[option]
        if value is not None and not _CONTAINER.fullmatch(value):
            problem = f"{value!r} cannot name a container"
            yield Mistake(settings.id, option, problem, "use no slash, blank, ?, # or @, and at most 200 characters")
    if settings["swift_store_multi_tenant"] and settings["swift_store_segments_container"]:
        yield Mistake(
            settings.id,
            "swift_store_segments_container",
            "with swift_store_multi_tenant each image has a container of its own, its segments included",
            "leave it out",
        )
    endpoint = settings["swift_store_endpoint"]
    if endpoint and not re.match(r"https?://[^/@]+(/|$)", endpoint):
        yield Mistake(settings.id, "swift_store_endpoint", "it is no URL", "write https://host[:port]/v1/AUTH_account")
