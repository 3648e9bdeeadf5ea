"""The connection of an rbd store to its cluster: made once, kept, made again when it breaks.

What librbd has no call for is asked below it, by the object classes that every OSD has: which image a name stands for
(object ``rbd_id.NAME``), which name an image is listed under (object ``rbd_directory``), and which snapshots it has
(object ``rbd_header.ID``); formats as in Ceph's src/cls/rbd/cls_rbd.cc.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

from store_lib import errors
from store_lib.drivers._rbd_handle import Handle, never_free
from store_lib.drivers._rbd_opts import MEND, written_fsid
from store_lib.drivers._rbd_values import ceph_error, is_ceph
from store_lib.interface import Runtime
from store_lib.settings import StoreSettings

__all__ = ["Cluster", "Pool", "bounds"]

#: Seconds for which a connection that failed is not tried again: who waited meanwhile need not wait once more each.
_REFUSED = 1.0
_DIRECTORY = "rbd_directory"
_TRASH = "rbd_trash"


class Pool:
    """The store's pool through one connection.  Safe for threads.

    :param cluster: a connected rados.Rados.
    """

    def __init__(self, cluster: Any, ioctx: Any, name: str) -> None:
        import rados
        import rbd

        self.rados, self.rbd = rados, rbd
        self.cluster = cluster
        self.ioctx = ioctx
        self.name = name
        self.images = rbd.RBD()
        self.id: int = ioctx.get_pool_id()
        self.fsid: str = cluster.get_fsid()
        #: What must not be freed in a forked child.
        self.opened: set[Any] = set()
        self._has_trash = False

    def id_of(self, name: str) -> str | None:
        """Return the id of the image of that name, None when there is none; the image itself may be gone."""
        try:
            return _text(self.ioctx.read(f"rbd_id.{name}"))
        except self.rados.ObjectNotFound:
            return None

    def name_of(self, image_id: str) -> str | None:
        """Return the name that an image is listed under, None when it is not."""
        try:
            return _text(self.ioctx.execute(_DIRECTORY, "rbd", "dir_get_name", _packed(image_id))[1])
        except self.rados.ObjectNotFound:
            return None

    def has_snapshot(self, image_id: str, snapshot: int) -> bool:
        """Return whether the image is there and has that snapshot, by its number."""
        try:
            found = self.ioctx.execute(f"rbd_header.{image_id}", "rbd", "get_snapcontext", b"")[1]
        except self.rados.ObjectNotFound:
            return False
        _, count = struct.unpack_from("<QI", found)
        return snapshot in struct.unpack_from(f"<{count}Q", found, 12)

    def claim(self, name: str, image_id: str) -> bool:
        """Have a name stand for an image, if it stands for none: return whether it does now.

        librbd's own renaming looks before and then overwrites: of several at the same moment, all would succeed.
        """
        with self.rados.WriteOpCtx() as operation:
            operation.new(self.rados.LIBRADOS_CREATE_EXCLUSIVE)
            operation.write_full(_packed(image_id))
            try:
                self.ioctx.operate_write_op(operation, f"rbd_id.{name}")
            except self.rados.ObjectExists:
                return False
        return True

    def list_as(self, image_id: str, old: str, new: str) -> bool:
        """Do what remains of renaming once the new name stands for the image; repeatable.

        :returns: False when the directory holds the new name for another image, of which nothing else may be left.
        """
        try:
            self.ioctx.execute(_DIRECTORY, "rbd", "dir_rename_image", _packed(old) + _packed(new) + _packed(image_id))
        except self.rados.ObjectNotFound:
            pass  # it was done before
        except self.rados.ObjectExists:
            return False
        with contextlib.suppress(self.rados.ObjectNotFound):  # nobody else ever has the old name
            self.ioctx.remove_object(f"rbd_id.{old}")
        return True

    def free(self, name: str, image_id: str) -> None:
        """Have a name stand for nothing, if it stands for that image."""
        if self.id_of(name) == image_id:
            with contextlib.suppress(self.rados.ObjectNotFound):
                self.ioctx.remove_object(f"rbd_id.{name}")

    def make_trash(self) -> None:
        """See that the pool has the object that lists its trash.

        Ceph removes images by way of it, and makes it for the first one.  A full pool would refuse that, and there
        nothing could be removed any more.
        """
        if not self._has_trash:
            with self.rados.WriteOpCtx() as operation:
                operation.new(self.rados.LIBRADOS_CREATE_IDEMPOTENT)
                self.ioctx.operate_write_op(operation, _TRASH)
            self._has_trash = True

    def prove(self) -> None:
        """Make sure that the pool is there, and that it is the one that was opened.

        :raises StoreUnavailable: it is not.
        """
        try:
            self.ioctx.stat(_DIRECTORY)  # it is there once the pool had an image
            return
        except self.rados.ObjectNotFound:
            pass
        found = {each["poolname"]: each["poolnum"] for each in self.ask("osd lspools")}
        if found.get(self.name) != self.id:
            raise PoolGone(f"the pool {self.name} is gone")

    def ask(self, prefix: str, **arguments: Any) -> Any:
        """Return the monitor's answer to a command."""
        return ask(self.cluster, prefix, **arguments)

    def ask_osd(self, timeout: float) -> None:
        """Return once the OSD of one object has answered.

        :raises OperationTimeout: it has not within `timeout` seconds.
        """
        answered = threading.Event()
        self.ioctx.aio_stat(_DIRECTORY, lambda *_: answered.set())
        if not answered.wait(timeout):
            raise errors.OperationTimeout(f"no OSD answered within {timeout:g} s")

    def close(self) -> None:
        self.ioctx.close()
        self.cluster.shutdown()


class PoolGone(errors.StoreUnavailable):
    """The pool was removed since the connection was made; another of that name needs a new connection."""


class Cluster:
    """The connection of one store, in each process its own."""

    def __init__(self, settings: StoreSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._held = runtime.per_process(self._connect, _close, never_free)
        self._refused: tuple[float, errors.StoreLibError] | None = None
        self._made: Handle[Pool] | None = None
        #: Of the cluster: as it was seen, and before that as Ceph's configuration file names it.
        self.fsid: str | None = written_fsid(settings)

    @contextlib.contextmanager
    def pool(self) -> Iterator[Pool]:
        """Yield the pool; the connection stays open meanwhile, and is given up when it turns out broken."""
        handle = self.enter()
        try:
            with handle.use() as pool:
                yield pool
        except BaseException as error:
            if _broken(error):
                self._held.discard(handle)
            raise

    def enter(self) -> Handle[Pool]:
        """Return the connection, made if there is none.

        :raises StoreUnavailable: no monitor answers, or the pool is not there.
        :raises Forbidden: the cluster refuses the user.
        """
        if self._refused is not None and time.monotonic() - self._refused[0] < _REFUSED:
            known = self._refused[1]
            raise type(known)(known.message, transient=known.transient, outcome=known.outcome)
        return self._held.get()

    def renew(self) -> None:
        """Give the connection up, once nobody uses it, for another.

        An image that was closed while no OSD answered may leave its watch behind, which only this ends.
        """
        if self._made is not None:
            self._held.discard(self._made)

    def close(self) -> None:
        """End the connection of this process once nobody uses it."""
        self._held.close()

    def _connect(self) -> Handle[Pool]:
        try:
            pool = self._opened()
        except errors.StoreLibError as error:
            self._refused = (time.monotonic(), error)
            raise
        self._refused = None
        self.fsid = pool.fsid
        self._made = Handle(pool, Pool.close)
        return self._made

    def _opened(self) -> Pool:
        try:
            import rados
        except ImportError as error:
            raise errors.StoreUnavailable(f"Ceph's Python bindings are not installed; {MEND}") from error
        settings = self._settings
        with _connecting(settings):
            cluster = rados.Rados(
                conffile=settings["rbd_store_ceph_conf"] or "",
                rados_id=settings["rbd_store_user"] or None,
                conf=_limits(settings),
            )
            try:
                cluster.connect()
                return _open_pool(cluster, settings)
            except BaseException:
                cluster.shutdown()
                raise


def ask(cluster: Any, prefix: str, **arguments: Any) -> Any:
    """Return the monitors' answer to a command; bounded by the connection's time-outs."""
    code, answer, problem = cluster.mon_command(json.dumps({"prefix": prefix, "format": "json", **arguments}), b"")
    if code == -errno.ETIMEDOUT:
        raise errors.OperationTimeout("no monitor answered in time")
    if code in (-errno.EACCES, -errno.EPERM):
        raise errors.Forbidden(f"the monitors refuse the user '{prefix}'")
    if code:
        raise errors.StoreUnavailable(f"the monitors refuse '{prefix}': {problem}")
    return json.loads(answer) if answer.strip() else None


def _open_pool(cluster: Any, settings: StoreSettings) -> Pool:
    name = settings["rbd_store_pool"]
    # Opening a pool that the client does not know waits without limit once the monitors are gone: they are asked first.
    if name not in cluster.list_pools() and name not in {each["poolname"] for each in ask(cluster, "osd lspools")}:
        raise errors.StoreUnavailable(f"the cluster has no pool {name!r}; make it, or see to rbd_store_pool")
    ioctx = cluster.open_ioctx(name)
    ioctx.set_namespace(settings["rbd_store_namespace"] or "")
    # In a full pool writes fail at once instead of waiting for room, and deletes work.
    ioctx.set_osdmap_full_try()
    return Pool(cluster, ioctx, name)


def _limits(settings: StoreSettings) -> dict[str, str]:
    """Return the options without which librados waits for ever."""
    base = settings.base
    told: int = settings["rados_connect_timeout"]
    connect = request = float(told)
    if told < 0:
        # A quarter: closing the image of a request that was cut off takes up to three more, and that ends in time.
        request = (base.operation_timeout or 0) / 4
        connect = min(base.connect_timeout, base.operation_timeout or base.connect_timeout)
    return bounds(connect, request)


def bounds(connect: float, request: float) -> dict[str, str]:
    """Return the options of a connection that does not wait for ever.

    :param connect: seconds, 0 for librados' own figure; `request` likewise, for one request.
    """
    seconds = math.ceil(request)
    limits = {
        "rados_osd_op_timeout": str(seconds),
        "rados_mon_op_timeout": str(seconds),
        # What is written was acknowledged by the OSDs; parts are read ahead by the engine.
        "rbd_cache": "false",
    }
    if connect:
        limits["client_mount_timeout"] = str(math.ceil(connect))
    if seconds:
        # Ask for a newer map of the OSDs well before a request is cut off, else it never finds one that came back.
        limits |= {"objecter_tick_interval": "1", "objecter_timeout": str(max(1, min(10, seconds // 3)))}
    return limits


@contextlib.contextmanager
def _connecting(settings: StoreSettings) -> Iterator[None]:
    """Around connecting: say what the bare errors of librados mean there."""
    user = settings["rbd_store_user"] or "admin"
    conf = settings["rbd_store_ceph_conf"] or "Ceph's configuration file"
    try:
        yield
    except errors.StoreLibError:
        raise
    except Exception as error:
        if not is_ceph(error):
            raise
        number = getattr(error, "errno", None)
        if number in (errno.EACCES, errno.EPERM):
            text = f"the cluster refuses the user client.{user}; see to its key and to 'keyring' in {conf}"
            raise errors.Forbidden(text) from error
        if number == errno.ETIMEDOUT:
            raise errors.StoreUnavailable(f"no monitor of those in {conf} answered in time") from error
        if number in (errno.ENOENT, errno.EINVAL):
            text = f"no cluster can be found by {conf}: {error}; see to the file and to 'mon host' in it"
            raise errors.StoreUnavailable(text, transient=False) from error
        raise ceph_error(error) or error from error


def _broken(error: BaseException) -> bool:
    """Whether only a new connection helps: the cluster has cut this client off, or the pool is another one."""
    if isinstance(error, PoolGone):
        return True
    return is_ceph(error) and getattr(error, "errno", None) == errno.ESHUTDOWN


def _close(handle: Handle[Pool]) -> None:
    handle.close()


def _packed(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data


def _text(data: bytes) -> str:
    (length,) = struct.unpack_from("<I", data)
    return bytes(data[4 : 4 + length]).decode()
