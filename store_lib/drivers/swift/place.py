"""Where new objects of one image go, and what proves that such a place is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from store_lib import errors
from store_lib.drivers.swift.client import Account, Answer
from store_lib.interface import Context

__all__ = ["Place", "missing"]

#: A container of one image may be removed by another writer of that id, who failed, as soon as it is made.
_TRIES = 4


@dataclasses.dataclass(frozen=True)
class Place:
    """The containers of one image.

    :param segments: the container of its segments; may be the same.
    :param create: whether a container that is missing is made.
    :param own: whether the container is for this image alone, and goes with it.
    """

    account: Account
    container: str
    segments: str
    create: bool
    own: bool = False

    def put(
        self,
        ctx: Context,
        container: str,
        name: str,
        body: bytes | memoryview = b"",
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Write an object and return the answer, whatever its status; makes the container where that is wanted.

        :raises StoreUnavailable: the container is missing.
        """
        for attempt in range(_TRIES):
            answer = self.account.request(ctx, "PUT", container, name, headers=headers, query=query, body=body)
            if answer.status != 404:
                return answer
            if not self.create or attempt == _TRIES - 1:
                break
            self.account.request(ctx, "PUT", container).check()
        raise errors.StoreUnavailable(
            f"container {container} is missing: make it ('store-lib store init'), or set "
            "swift_store_create_container_on_put",
            transient=False,
        )


def missing(account: Account, container: str, scattered: bool, ctx: Context) -> errors.StoreLibError:
    """Return the error for an object that was not found: NotFound once the place was seen.

    :param scattered: the container belongs to one image or a few, and goes with them: then the account is the place.
    """
    answer = account.request(ctx, "HEAD", container)
    if answer.status == 404:
        if scattered and account.request(ctx, "HEAD").ok:
            return errors.NotFound("there is no such image")
        return errors.StoreUnavailable(f"container {container} is missing", transient=False)
    return errors.NotFound("there is no such image") if answer.ok else answer.error()
