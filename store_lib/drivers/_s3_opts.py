"""Options of the S3 store and the mistakes that they can hold."""

from __future__ import annotations

import base64
import binascii
import importlib.util
import os
import re
from collections.abc import Iterator

from oslo_config import cfg

from store_lib.drivers._s3_servers import AUTO, SERVERS
from store_lib.drivers._s3_values import endpoint_of
from store_lib.errors import Mistake
from store_lib.settings import StoreSettings

__all__ = ["OPTIONS", "check", "customer_key"]

_CHECKSUMS = ("when_required", "when_supported")

OPTIONS = [
    cfg.StrOpt(
        "s3_store_host",
        help="URL of the server, https://HOST[:PORT][/PATH]. Without https:// or http:// it is https.",
        sample_default="https://s3.eu-west-1.amazonaws.com",
    ),
    cfg.StrOpt(
        "s3_store_server",
        default=AUTO,
        choices=[AUTO, *SERVERS],
        help="Kind of the server, which tells what it can be relied upon for. auto recognises it by its answers. "
        "'other' is any server that honours If-None-Match on PUT, 'basic' any that does not: there, as with s3api, two "
        "writers of one image at the same moment are not kept apart, and so auto keeps such a store read-only.",
    ),
    cfg.StrOpt(
        "s3_store_region_name", default="", help="Region of the bucket. Empty: as the host or the profile says."
    ),
    cfg.StrOpt(
        "s3_store_access_key",
        secret=True,
        help="Access key. When not set, the provider chain of the AWS SDK is asked: environment, profile, web "
        "identity, the role of the container or of the instance.",
    ),
    cfg.StrOpt("s3_store_secret_key", secret=True, help="Secret key that belongs to s3_store_access_key."),
    cfg.StrOpt("s3_store_session_token", secret=True, help="Session token, where the keys are temporary ones."),
    cfg.StrOpt("s3_store_profile", help="Profile of the AWS configuration files that holds credentials and region."),
    cfg.StrOpt(
        "s3_store_role_arn",
        help="Role to assume, with the credentials above or with s3_store_web_identity_token_file. Its temporary "
        "credentials are renewed before they expire.",
    ),
    cfg.StrOpt("s3_store_role_session_name", default="store_lib", help="Name of the session of s3_store_role_arn."),
    cfg.StrOpt("s3_store_external_id", secret=True, help="External id that the role of s3_store_role_arn asks for."),
    cfg.StrOpt(
        "s3_store_web_identity_token_file",
        help="File with the token of a web identity, with which s3_store_role_arn is assumed; read at each renewal.",
    ),
    cfg.StrOpt(
        "s3_store_sts_host", help="URL of the server that hands out temporary credentials, where it is not AWS's."
    ),
    cfg.StrOpt("s3_store_bucket", help="Bucket that holds the images."),
    cfg.BoolOpt("s3_store_create_bucket_on_put", default=False, help="Make the bucket when it is not there."),
    cfg.StrOpt(
        "s3_store_key_prefix",
        default="",
        help="What the key of each image begins with, such as 'images/'. Several stores may share a bucket that way.",
    ),
    cfg.StrOpt(
        "s3_store_bucket_url_format",
        default="auto",
        choices=["auto", "virtual", "path"],
        help="Whether the bucket stands in the name of the host (virtual) or in the path; auto decides by the names.",
    ),
    cfg.IntOpt(
        "s3_store_large_object_size",
        default=100,
        min=0,
        help="Size in MiB from which an image is sent in parts; 0 sends every image in parts. When not set, an image "
        "is sent in parts as soon as it is larger than two of them.",
    ),
    cfg.IntOpt(
        "s3_store_large_object_chunk_size",
        default=10,
        min=5,
        help="Size in MiB of the parts; larger ones are used as far as an image needs them to stay within 10,000. When "
        "neither this nor part_size is set, parts have 8 MiB.",
    ),
    cfg.IntOpt(
        "s3_store_thread_pools",
        default=10,
        min=1,
        max=256,
        help="Most parts of one image that are on their way at once. Stands for parallel, which wins where both are "
        "set.",
    ),
    cfg.StrOpt(
        "s3_store_cacert",
        default="",
        help="File of the certificates that the server's is trusted by. Empty: the SDK's.",
    ),
    cfg.BoolOpt(
        "s3_store_enable_data_integrity_protection",
        default=False,
        help="Use the SDK's own checksums wherever it can. Older servers refuse requests that carry them.",
    ),
    cfg.StrOpt(
        "s3_store_request_checksum_calculation",
        default="when_required",
        choices=_CHECKSUMS,
        help="When the SDK adds its own checksum to a request. Where it is set it wins over "
        "s3_store_enable_data_integrity_protection.",
    ),
    cfg.StrOpt(
        "s3_store_response_checksum_validation",
        default="when_required",
        choices=_CHECKSUMS,
        help="When the SDK checks a checksum of an answer. Where it is set it wins over "
        "s3_store_enable_data_integrity_protection.",
    ),
    cfg.BoolOpt(
        "s3_store_content_md5",
        help="Send the MD5 of every part, which the server compares with what it got. Costs a share of a processor. "
        "When not set, it is sent where nothing else guards the bytes on their way: over plain HTTP, to a server that "
        "is not known to compare the signed SHA-256 of a body. Set it where TLS ends before the server.",
    ),
    cfg.StrOpt("s3_store_storage_class", help="Storage class of new images; the server's default when not set."),
    cfg.StrOpt(
        "s3_store_encryption",
        default="none",
        choices=["none", "AES256", "aws:kms", "customer"],
        help="How the server encrypts new images: with keys of its own (AES256), of its key management (aws:kms), or "
        "with the key in s3_store_encryption_customer_key, which is needed for reading, too (customer).",
    ),
    cfg.StrOpt(
        "s3_store_encryption_kms_key", help="Id of the key for s3_store_encryption = aws:kms, if not the default."
    ),
    cfg.StrOpt(
        "s3_store_encryption_customer_key",
        secret=True,
        help="Key for s3_store_encryption = customer: 32 bytes in base64. Images are lost without it.",
    ),
    cfg.StrOpt(
        "s3_store_proxy",
        secret=True,
        help="URL of a proxy for all requests. When not set, the environment (https_proxy, no_proxy) is looked at.",
    ),
    cfg.StrOpt("s3_store_user_agent", default="", help="Text that is added to the user agent of every request."),
    cfg.BoolOpt(
        "s3_store_probe_write",
        default=False,
        help="Have a probe write and delete a small hidden object as well, so that a lost right to write is seen.",
    ),
]


def customer_key(settings: StoreSettings) -> bytes | None:
    """Return the key that images are encrypted with on this store's word, None when there is none.

    :raises ValueError: it is no key.
    """
    if settings["s3_store_encryption"] != "customer":
        return None
    try:
        key = base64.b64decode(settings["s3_store_encryption_customer_key"] or "", validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise ValueError("it does not hold 32 bytes in base64")
    return key


def check(settings: StoreSettings) -> Iterator[Mistake]:
    """Yield every mistake in the options of an S3 store."""
    if importlib.util.find_spec("boto3") is None:
        mend = "run: pip install store_lib[s3]"
        yield Mistake(settings.id, "enabled_backends", "the driver s3 needs boto3, which is not installed", mend)
    yield from _check_place(settings)
    yield from _check_credentials(settings)
    yield from _check_encryption(settings)
    for option in ("s3_store_cacert", "s3_store_web_identity_token_file"):
        path = settings[option]
        if path and not os.access(path, os.R_OK):
            yield Mistake(settings.id, option, f"{path} cannot be read", "name a file that this user can read")


def _check_place(settings: StoreSettings) -> Iterator[Mistake]:
    for option in ("s3_store_host", "s3_store_sts_host"):
        if settings[option]:
            try:
                endpoint_of(settings[option])
            except ValueError as error:
                yield Mistake(settings.id, option, f"the value does not serve: {error}", "write https://HOST[:PORT]")
        elif option == "s3_store_host":
            yield Mistake(settings.id, option, "it is not set", "write the URL of the server, https://HOST[:PORT]")
    bucket = settings["s3_store_bucket"]
    if not bucket or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", bucket):
        problem = f"{bucket!r} cannot name a bucket" if bucket else "it is not set"
        yield Mistake(settings.id, "s3_store_bucket", problem, "write the name of the bucket that holds the images")
    prefix = settings["s3_store_key_prefix"] or ""
    if not re.fullmatch(r"([A-Za-z0-9_-][A-Za-z0-9._-]*/?)*", prefix) or len(prefix) > 255:
        problem = f"{prefix!r} cannot begin the keys of images"
        mend = "use at most 255 of A-Z a-z 0-9 . _ - and single slashes, no part beginning with a dot"
        yield Mistake(settings.id, "s3_store_key_prefix", problem, mend)


def _check_credentials(settings: StoreSettings) -> Iterator[Mistake]:
    access, secret, profile = (settings[f"s3_store_{name}"] for name in ("access_key", "secret_key", "profile"))
    if bool(access) != bool(secret):
        option = "s3_store_secret_key" if access else "s3_store_access_key"
        yield Mistake(
            settings.id, option, "only one of the two keys is set", "set both, or none to use the SDK's chain"
        )
    if access and profile:
        yield Mistake(settings.id, "s3_store_profile", "the keys are set as well", "use one of the two")
    if settings["s3_store_session_token"] and not access:
        option = "s3_store_session_token"
        yield Mistake(settings.id, option, "it is set without the keys that belong to it", "set them, or leave it out")
    role = settings["s3_store_role_arn"]
    if settings["s3_store_web_identity_token_file"] and not role:
        option = "s3_store_web_identity_token_file"
        yield Mistake(settings.id, option, "no role is named that it stands for", "set s3_store_role_arn")


def _check_encryption(settings: StoreSettings) -> Iterator[Mistake]:
    kind, key = settings["s3_store_encryption"], "s3_store_encryption_customer_key"
    try:
        customer_key(settings)
    except ValueError as error:
        yield Mistake(settings.id, key, f"the key does not serve: {error}", "make one: openssl rand -base64 32")
    if kind == "customer" and (settings["s3_store_host"] or "").strip().startswith("http:"):
        yield Mistake(settings.id, "s3_store_host", "servers take a customer's key over TLS only", "write https://")
    for option, needed in ((key, "customer"), ("s3_store_encryption_kms_key", "aws:kms")):
        if settings[option] and kind != needed:
            problem = f"s3_store_encryption is {kind}"
            yield Mistake(settings.id, option, problem, f"set s3_store_encryption = {needed}, or leave the key out")
