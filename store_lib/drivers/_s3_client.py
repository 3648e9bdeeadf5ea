"""Clients of an S3 server: how they are made from the settings, and what is learned of the server through them.

The SDK is imported when the first client of a process is made, which takes some tenths of a second.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
import threading
from collections.abc import Mapping
from typing import Any

from store_lib import errors
from store_lib.drivers._s3_errors import code_of, status_of
from store_lib.drivers._s3_opts import customer_key
from store_lib.drivers._s3_servers import AUTO, SERVERS, Server, recognise
from store_lib.drivers._s3_values import Place, endpoint_of
from store_lib.settings import StoreSettings

__all__ = ["Connection", "Encryption"]

_REGION = re.compile(r"(?:^|\.)s3[.-](?:dualstack\.|fips\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com")
#: Written once into a bucket whose server nobody knows: it tells whether the server honours the condition on PUT.
_MARKER = "this object shows store_lib whether the server honours If-None-Match on PUT"
_NOT_EXCLUSIVE = (
    "the server does not keep two writers of one image at the same moment apart; to write all the same, set "
    "s3_store_server to its kind ({})"
)
_VERSIONS = (
    "in a bucket that keeps versions {} does not keep two writers of one image at the same moment apart; suspend its "
    "versioning, or set s3_store_server to basic to write all the same"
)
#: Seconds that the SDK waits for a server's leave before it sends a body (Expect), on top of its read time-out.
_CONTINUE = 1.0
#: Requests that run beside those of the engine's threads: probes, clearing away.
_SPARE = 8


class Encryption:
    """What the settings say of encryption, as parameters of requests.

    :param reading: for every request that looks at an object's content or properties.
    :param parts: for every part.
    :param creating: for what makes an object.
    :param plain_tags: whether the ETag of an object sent whole is its MD5.
    """

    def __init__(self, settings: StoreSettings) -> None:
        kind, key = settings["s3_store_encryption"], customer_key(settings)
        self.reading: Mapping[str, Any] = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key} if key else {}
        self.parts = self.reading
        self.creating: dict[str, Any] = dict(self.reading)
        if kind in ("AES256", "aws:kms"):
            self.creating["ServerSideEncryption"] = kind
        if settings["s3_store_encryption_kms_key"]:
            self.creating["SSEKMSKeyId"] = settings["s3_store_encryption_kms_key"]
        self.plain_tags = kind in ("none", "AES256")

    def confirmed(self, answer: Mapping[str, Any]) -> bool:
        """Whether an answer about an object says that it is encrypted as it was asked for; some servers ignore that."""
        asked = {name: self.creating.get(name) for name in ("ServerSideEncryption", "SSECustomerAlgorithm")}
        return all(value is None or answer.get(name) == value for name, value in asked.items())

    def source(self) -> dict[str, Any]:
        """Return what a copy inside the server needs to read an object of this store."""
        return {f"CopySource{name}": value for name, value in self.reading.items()}


class Connection:
    """The clients of one store in one process, made at first use; safe for threads."""

    def __init__(self, settings: StoreSettings, place: Place) -> None:
        self._settings = settings
        self._place = place
        self._lock = threading.Lock()
        self._learned: Server | None = None
        self._versions: bool | None = None
        named = settings["s3_store_server"]
        self.named: Server | None = None if named == AUTO else SERVERS[named]
        self._session = _session(settings, place)
        base = settings.base
        waited = _waited(base.operation_timeout)
        # The SDK's time-out for connecting is that of each piece that is sent as well.
        self.client = self._make(min(base.connect_timeout, waited or base.connect_timeout), waited)
        self._quick: Any = None

    @property
    def quick(self) -> Any:
        """The client for probes: its requests take no longer than a probe may."""
        with self._lock:
            if self._quick is None:
                base = self._settings.base
                limit = base.probe_timeout
                self._quick = self._make(min(limit, base.connect_timeout), min(limit, base.operation_timeout or limit))
            return self._quick

    def _make(self, connect_timeout: float, read_timeout: float | None) -> Any:
        settings = self._settings
        checksums = settings["s3_store_enable_data_integrity_protection"]
        return self._session.create_client(
            "s3",
            endpoint_url=self._place.endpoint,
            region_name=_region(settings, self._place, self._session),
            verify=settings["s3_store_cacert"] or None,
            config=_config(
                settings,
                connect_timeout=connect_timeout,
                read_timeout=read_timeout,
                max_pool_connections=settings.base.max_threads + _SPARE,
                s3={
                    "addressing_style": settings["s3_store_bucket_url_format"],
                    # Over TLS neither another digest of each body is needed, nor another way of sending it.
                    **({"payload_signing_enabled": False} if self._place.secure else {}),
                },
                **{
                    name: settings[f"s3_store_{name}"]
                    if settings.origin(f"s3_store_{name}").by_operator
                    else ("when_supported" if checksums else "when_required")
                    for name in ("request_checksum_calculation", "response_checksum_validation")
                },
            ),
        )

    # -- the kind of server -------------------------------------------------------------------------------------------

    @property
    def server(self) -> Server | None:
        """The kind of server, named or recognised; None as long as that is not known."""
        return self.named or self._learned

    def learn(self, headers: Mapping[str, str], *, may_write: bool = False) -> Server | None:
        """Note what the headers of an answer tell of the server and return its kind as far as it is known.

        :param headers: of an answer that concerned the bucket.
        :param may_write: whether a server that nobody knows may be tried with a hidden object.
        """
        if self.server is None:
            self._learned = recognise(headers, self._place.host.partition("/")[0])
        if self.server is None and may_write:
            self._learned = self._tried()
        return self.server

    def _tried(self) -> Server:
        """Find out what an unknown server does with a condition: at most one small object is made, once a bucket."""
        marker = {"Bucket": self._place.bucket, "Key": f"{self._place.hidden}marker", "Body": _MARKER.encode()}
        for _ in range(2):
            try:
                self.client.put_object(**marker, IfNoneMatch="*")
            except self.client.exceptions.ClientError as error:
                if status_of(error) == 412:
                    return SERVERS["other"]
                if code_of(error) == "NotImplemented" or status_of(error) == 501:
                    return SERVERS["basic"]
                raise
        return SERVERS["basic"]

    def unsafe(self, client: Any = None) -> str | None:
        """Return why nothing may be written there, None when it may or the kind of server is not known.

        :param client: asks the server anew whether the bucket keeps versions.
        """
        server = self.server
        if server is None or (self.named and not server.exclusive_put):
            return None
        if not server.exclusive_put:
            return _NOT_EXCLUSIVE.format(server.name)
        if not server.exclusive_versions and (client is not None or self._versions is None):
            self._versions = self._keeps_versions(client or self.client)
        return _VERSIONS.format(server.name) if self._versions else None

    def _keeps_versions(self, client: Any) -> bool:
        try:
            return bool(client.get_bucket_versioning(Bucket=self._place.bucket).get("Status") == "Enabled")
        except self.client.exceptions.ClientError as error:
            if status_of(error) in (403, 404):  # nobody tells, or there is no bucket yet
                return False
            raise

    def bucket_headers(self, client: Any) -> Mapping[str, str]:
        """Return the headers of HEAD of the bucket.

        :raises ClientError: its answer is an error; what the headers tell of the server was noted all the same.
        """
        try:
            answer = client.head_bucket(Bucket=self._place.bucket)
        except self.client.exceptions.ClientError as error:
            self.learn(error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}))
            raise
        headers: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
        self.learn(headers)
        return headers

    def close(self) -> None:
        """Close the connections."""
        for client in filter(None, (self.client, self._quick)):
            client.close()


def _config(settings: StoreSettings, **more: Any) -> Any:
    from botocore.config import Config

    proxy = settings["s3_store_proxy"]
    agent = f"store_lib/{importlib.metadata.version('store_lib')} {settings['s3_store_user_agent'] or ''}".strip()
    return Config(
        user_agent_extra=agent,
        proxies={"http": proxy, "https": proxy} if proxy else None,
        tcp_keepalive=True,
        retries={"total_max_attempts": 1, "mode": "standard"},  # the engine tries again, and knows when not to
        **more,
    )


def _session(settings: StoreSettings, place: Place) -> Any:
    """Return a session of the SDK with the credentials that the settings tell of."""
    import botocore.session

    session = botocore.session.Session(profile=settings["s3_store_profile"] or None)
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    access = settings["s3_store_access_key"]
    if access:
        session.set_credentials(access, settings["s3_store_secret_key"], settings["s3_store_session_token"])
    if settings["s3_store_role_arn"]:
        _assume(session, settings, place)
    return session


@functools.lru_cache(maxsize=8)
def _loader(path: str | None) -> Any:
    """Return what reads the SDK's description of S3: one for all stores, since that takes most of making a client.

    :param path: further folders of descriptions.
    """
    import botocore.loaders

    return botocore.loaders.create_loader(path)


def _waited(timeout: float | None) -> float | None:
    """Return for how many seconds an answer is waited for, so that the request as a whole takes `timeout` seconds."""
    return None if timeout is None else max(timeout / 2, timeout - _CONTINUE)


def _assume(session: Any, settings: StoreSettings, place: Place) -> None:
    """Have the session use the temporary credentials of a role, got when needed and renewed before they expire."""
    from botocore import credentials

    sts = settings["s3_store_sts_host"]
    base = settings.base
    create = functools.partial(
        session.create_client,
        endpoint_url=endpoint_of(sts) if sts else None,
        region_name=_region(settings, place, session),
        verify=settings["s3_store_cacert"] or None if sts else None,
    )

    def client(*names: Any, config: Any = None, **arguments: Any) -> Any:
        ours = _config(settings, connect_timeout=base.connect_timeout, read_timeout=base.operation_timeout)
        return create(*names, config=ours.merge(config) if config else ours, **arguments)

    extra = {"RoleSessionName": settings["s3_store_role_session_name"]}
    token = settings["s3_store_web_identity_token_file"]
    if token:
        fetcher = credentials.AssumeRoleWithWebIdentityCredentialFetcher(
            client, credentials.FileWebIdentityTokenLoader(token), settings["s3_store_role_arn"], extra
        )
    else:
        if settings["s3_store_external_id"]:
            extra["ExternalId"] = settings["s3_store_external_id"]
        source = session.get_credentials()
        if source is None:
            raise errors.Forbidden("there are no credentials with which the role could be assumed")
        fetcher = credentials.AssumeRoleCredentialFetcher(client, source, settings["s3_store_role_arn"], extra)
    role = credentials.DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
    session._credentials = role  # the SDK has no public way of setting credentials that renew themselves


def _region(settings: StoreSettings, place: Place, session: Any) -> str:
    found = _REGION.search(place.host)
    configured = session.get_config_variable("region")
    return settings["s3_store_region_name"] or (found[1] if found else None) or configured or "us-east-1"
