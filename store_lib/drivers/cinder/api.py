"""What the store asks of Cinder: one method a request, with waits that end, and errors of store_lib alone."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

from store_lib import errors
from store_lib.drivers.cinder import failures
from store_lib.errors import Outcome
from store_lib.interface import GIB, Context

__all__ = ["Api", "Deadline", "Volume", "refused"]

T = TypeVar("T")

#: Seconds before the first look at a volume, by which factor the pauses after it grow, and their most.  Cinder takes a
#: quarter of a second for the quickest of its tasks, and each look takes a tenth of that from it.
_FIRST, _FACTOR, _MOST = 0.16, 1.4, 3.0
_PAGE = 500
#: What Cinder's messages say where no backend has room.
_NO_ROOM = ("available weighted backend", "no valid backend", "not enough", "no space", "available space")
#: Looks for a message of Cinder, and seconds after each.
_LOOKS, _MOMENT = 3, 0.3


def refused(error: errors.StoreLibError) -> bool:
    """Whether an error is that Cinder refuses a request because of the state that the volume is in."""
    return getattr(error.__cause__, "code", None) == 400


@dataclasses.dataclass(frozen=True)
class Volume:
    """What Cinder tells of a volume.

    :param size: bytes.
    """

    id: str
    name: str
    status: str
    size: int
    type: str | None
    multiattach: bool
    metadata: Mapping[str, str]
    modified: datetime.datetime | None

    @classmethod
    def of(cls, told: Any) -> Volume:
        """Return the value of a cinderclient Volume."""
        return cls(
            told.id,
            told.name or "",
            told.status,
            int(told.size) * GIB,
            told.volume_type,
            bool(told.multiattach),
            dict(told.metadata),
            moment(getattr(told, "updated_at", None) or told.created_at),
        )


def moment(text: str | None) -> datetime.datetime | None:
    """Return a time as Cinder writes it, which is UTC without saying so."""
    with contextlib.suppress(ValueError, TypeError):
        return datetime.datetime.fromisoformat(str(text)).replace(tzinfo=datetime.UTC)
    return None


class Deadline:
    """An end of waiting: with growing pauses, and given up when the operation is.

    :param seconds: from now on; no more than the operation has left.
    """

    def __init__(self, ctx: Context, seconds: float) -> None:
        left = ctx.timeout
        self.seconds = seconds if left is None else min(seconds, 0.9 * left)  # to be told before being given up
        self._ctx = ctx
        self._end = time.monotonic() + self.seconds
        self._pause = _FIRST

    def within(self, seconds: float) -> Deadline:
        """Return an end of waiting after `seconds` from now, of the same operation."""
        return Deadline(self._ctx, seconds)

    @property
    def over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self._end

    def pause(self) -> None:
        """Wait a little, longer each time; other processes wait another time."""
        end = min(self._end, time.monotonic() + self._pause * random.uniform(0.5, 1.0))
        self._pause = min(self._pause * _FACTOR, _MOST)
        while True:
            self._ctx.check()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.2))


class Api:
    """Requests of one operation.  Safe for threads.

    :param client: a cinderclient.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def ask(self, function: Callable[[Any], T]) -> T:
        """Return ``function(client)``.

        Logging in comes first, so that Keystone's errors and those of Cinder can be told apart.

        :raises BackendError: Cinder refuses; see `refused`.
        :raises StoreLibError: all else that can go wrong.
        """
        session = self._client.client
        with _telling(failures.of_keystone):
            session.get_token()
            endpoint = session.get_endpoint()
        if not endpoint:
            raise errors.StoreUnavailable(
                "the identity service's catalog has no such endpoint: look at cinder_catalog_info and "
                "cinder_os_region_name",
                transient=False,
            )
        with _telling(failures.of_request):
            return function(self._client)

    # -- volumes ------------------------------------------------------------------------------------------------------

    def volume(self, volume_id: str) -> Volume:
        """Return a volume.

        :raises NotFound: Cinder says that there is none of that id in the project.
        """
        return Volume.of(self._found(volume_id, lambda client: client.volumes.get(volume_id)))

    def _found(self, volume_id: str, function: Callable[[Any], T]) -> T:
        def asked(client: Any) -> T:
            try:
                return function(client)
            except Exception as error:
                # Anything can answer 404; Cinder names the volume.
                if getattr(error, "code", None) == 404 and volume_id in str(getattr(error, "message", "")):
                    raise errors.NotFound(f"there is no volume {volume_id}") from error
                raise

        return self.ask(asked)

    def volumes(self, search: Mapping[str, Any] | None = None) -> Iterator[Volume]:
        """Yield the volumes of the project."""
        marker = None
        while True:
            page: list[Any] = self.ask(
                lambda client, marker=marker: client.volumes.list(  # type: ignore[misc]
                    search_opts=dict(search or {}), marker=marker, limit=_PAGE
                )
            )
            yield from map(Volume.of, page)
            if len(page) < _PAGE:
                return
            marker = page[-1].id

    def create(
        self, name: str, size: int, kind: str | None, metadata: Mapping[str, str], source: str | None = None
    ) -> str:
        """Have a volume made and return its id.

        :param size: bytes, a whole number of GiB.
        :param source: id of a volume that it is to be a clone of.
        """
        told = {"name": name, "volume_type": kind, "metadata": dict(metadata), "source_volid": source}
        try:
            made = self.ask(lambda client: client.volumes.create(size // GIB, **told))
        except errors.StoreUnavailable as error:
            if getattr(error.__cause__, "code", None) == 404 and kind:
                raise errors.StoreUnavailable(
                    f"there is no volume type {kind!r} for this project; see to cinder_volume_type", transient=False
                ) from error
            raise
        return str(made.id)

    def extend(self, volume_id: str, size: int) -> None:
        """Have a volume grow to `size` bytes, a whole number of GiB; does not wait."""
        self._found(volume_id, lambda client: client.volumes.extend(volume_id, size // GIB))

    def retype(self, volume_id: str, kind: str) -> None:
        """Have a volume get another type, brought to another backend where that takes it; does not wait."""
        self._found(volume_id, lambda client: client.volumes.retype(volume_id, kind, "on-demand"))

    def rename(self, volume_id: str, name: str) -> None:
        """Give a volume another name."""
        self._found(volume_id, lambda client: client.volumes.update(volume_id, name=name))

    def delete(self, volume_id: str) -> None:
        """Have a volume deleted; does not wait."""
        self._found(volume_id, lambda client: client.volumes.delete(volume_id))

    def note(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        """Add to the metadata of a volume."""
        self._found(volume_id, lambda client: client.volumes.set_metadata(volume_id, dict(metadata)))

    def seal(self, volume_id: str) -> None:
        """Make a volume read-only for all who attach it from now on."""
        self._found(volume_id, lambda client: client.volumes.update_readonly_flag(volume_id, True))

    def wait(
        self,
        volume_id: str,
        goal: Collection[str],
        passing: Collection[str],
        deadline: Deadline,
        *,
        asked: bool = False,
    ) -> Volume:
        """Return the volume once its status is one of `goal`.

        :param passing: statuses on the way there.
        :param asked: whether that was asked for just now, so that it cannot have happened yet.
        :raises OperationTimeout: it stays in one of those.
        :raises BackendError: it got into another one; holds what Cinder tells of that, as StoreFull where it is that.
        """
        if asked:
            deadline.pause()
        while True:
            volume = self.volume(volume_id)
            if volume.status in goal:
                return volume
            if volume.status not in passing:
                raise self.problem(volume)
            if deadline.over:
                raise errors.OperationTimeout(
                    f"volume {volume_id} is still {volume.status} after {deadline.seconds:g} s", transient=False
                )
            deadline.pause()

    def problem(self, volume: Volume) -> errors.StoreLibError:
        """Return the error for a volume that got into a status that it should not have."""
        reason = self._reason(volume.id)
        text = f"volume {volume.id} is {volume.status}" + (f": {reason}" if reason else "")
        if any(each in reason.lower() for each in _NO_ROOM):
            return errors.StoreFull(text)
        return errors.BackendError(text)

    def _reason(self, volume_id: str) -> str:
        """Return what Cinder's messages for users say of a volume; they come a moment later than its status."""
        for _ in range(_LOOKS):
            try:
                found = self.ask(lambda client: client.messages.list(search_opts={"resource_uuid": volume_id}))
            except errors.StoreLibError:
                return ""
            if found:
                return str(max(found, key=lambda each: str(each.created_at)).user_message)[:300]
            time.sleep(_MOMENT)
        return ""

    # -- attachments --------------------------------------------------------------------------------------------------

    def reserve(self, volume_id: str, writable: bool) -> str:
        """Reserve a volume for this host and return the id of the attachment."""
        mode = "rw" if writable else "ro"
        made = self._found(volume_id, lambda client: client.attachments.create(volume_id, None, mode=mode))
        return str(made["id"])

    def export(self, attachment: str, connector: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have a reserved volume exported to a host and return how it is reached.  Holds secrets."""
        told = self.ask(lambda client: client.attachments.update(attachment, dict(connector)))
        found: Mapping[str, Any] = told.to_dict()["connection_info"]
        return found

    def complete(self, attachment: str) -> None:
        """Tell that the volume is attached."""
        self.ask(lambda client: client.attachments.complete(attachment))

    def release(self, attachment: str) -> None:
        """End an attachment; harmless when there is none."""
        with contextlib.suppress(_Gone):
            self.ask(lambda client: _unless_gone(lambda: client.attachments.delete(attachment)))

    def connection(self, attachment: str) -> Mapping[str, Any] | None:
        """Return how the volume of an attachment is reached; None when there is no such attachment."""
        try:
            told = self.ask(lambda client: _unless_gone(lambda: client.attachments.show(attachment)))
        except _Gone:
            return None
        return getattr(told, "connection_info", None) or {}

    def attachments(self, volume_id: str) -> list[Any]:
        """Return the attachments of a volume, as the client has them."""
        return list(
            self.ask(lambda client: client.attachments.list(detailed=True, search_opts={"volume_id": volume_id}))
        )

    # -- the cloud ----------------------------------------------------------------------------------------------------

    def place(self) -> tuple[str, str | None]:
        """Return what tells one cloud and project from another: the endpoint, and the project's id."""

        def asked(client: Any) -> tuple[str, str | None]:
            return client.client.get_endpoint(), client.client.get_project_id()

        return self.ask(asked)

    def default_type(self) -> str:
        """Return the name of the type of volumes that are made without one."""
        return str(self.ask(lambda client: client.volume_types.default()).name)

    def types(self) -> list[str]:
        """Return the names of the volume types that the project may use: asking for one by name is for admins."""
        return [str(each.name) for each in self.ask(lambda client: client.volume_types.list())]

    def pools(self) -> list[Mapping[str, Any]] | None:
        """Return the capabilities of the schedulers' pools; None when that is not for this user to know."""
        with contextlib.suppress(errors.Forbidden):
            found = self.ask(lambda client: client.pools.list(detailed=True))
            return [each.to_dict().get("capabilities") or each.to_dict() for each in found]
        return None

    def specs(self, kind: str) -> Mapping[str, str]:
        """Return the extra specs of a volume type, as far as the user may see them."""
        for each in self.ask(lambda client: client.volume_types.list()):
            if each.name == kind:
                return dict(getattr(each, "extra_specs", None) or {})
        return {}

    def services(self) -> list[tuple[str, str]] | None:
        """Return name and state of Cinder's services; None when that is not for this user to know."""
        with contextlib.suppress(errors.Forbidden):
            found = self.ask(lambda client: client.services.list())
            return [(str(each.binary), str(each.state)) for each in found if each.status != "disabled"]
        return None

    def quota(self) -> tuple[int, int] | None:
        """Return the project's quota and what of it is used, in bytes; None when there is no limit."""
        told = self.ask(lambda client: client.limits.get())
        found = {each.name: int(each.value) for each in told.absolute}
        most = found.get("maxTotalVolumeGigabytes", -1)
        return None if most < 0 else (most * GIB, found.get("totalGigabytesUsed", 0) * GIB)


class _Gone(Exception):
    """There is no such attachment."""


def _unless_gone(function: Callable[[], T]) -> T:
    try:
        return function()
    except Exception as error:
        if getattr(error, "code", None) == 404:
            raise _Gone from error
        raise


@contextlib.contextmanager
def _telling(of_keystone: Callable[[BaseException], errors.StoreLibError | None]) -> Iterator[None]:
    """Raise store_lib's error for one of the client's.

    :param of_keystone: tells what one of keystoneauth1 means here.
    """
    try:
        yield
    except (errors.StoreLibError, _Gone):
        raise
    except Exception as error:
        told = _told(error, of_keystone)
        if told is None:
            raise
        raise told from error


def _told(
    error: Exception, of_keystone: Callable[[BaseException], errors.StoreLibError | None]
) -> errors.StoreLibError | None:
    module = type(error).__module__.partition(".")[0]
    if module == "keystoneauth1":
        return of_keystone(error)
    if module == "cinderclient":
        if getattr(error, "code", None) == 400:
            return errors.BackendError(f"Cinder refuses: {str(getattr(error, 'message', ''))[:300]}")
        return failures.of_cinder(error)
    if module == "requests":
        return errors.StoreUnavailable(f"a request failed ({type(error).__name__})", outcome=Outcome.UNKNOWN)
    return None
