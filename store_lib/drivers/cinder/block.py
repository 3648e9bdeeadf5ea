"""Volumes that are block devices of this host: what is the same whatever protocol brings them here."""

from __future__ import annotations

import functools
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from store_lib import errors
from store_lib.drivers.cinder import failures
from store_lib.drivers.cinder.base import Device, PathDevice, refuse_encrypted
from store_lib.drivers.cinder.brick import BrickConnector

__all__ = ["BlockConnector", "eventually"]

LOG = logging.getLogger(__name__)

#: Where the kernel tells of its block devices.
SYSFS = "/sys/class/block"
#: Where it tells which start of it this is: numbers of devices begin anew with each.
BOOT = "/proc/sys/kernel/random/boot_id"
#: Seconds of waiting at a time for what os-brick does: a kernel was seen to lose the news that a thread has ended.
_STEP = 0.5
#: Tries to detach what stays.
_TRIES = 2

T = TypeVar("T")


class BlockConnector(BrickConnector):
    """Block devices, by os-brick's connector of the protocol.

    A volume of this kind may hold what somebody else has written before, so that nothing is taken for zeroes.
    """

    #: What to look at on this host when a volume does not appear.
    HINT: ClassVar[str]
    #: The device goes when this host is told to let go of it; else only once Cinder has taken the volume away.
    LETS_GO: ClassVar[bool] = True
    #: What the volume is once it is here.
    DEVICE: ClassVar[type[PathDevice]] = PathDevice
    #: Seconds in which os-brick's connector has to attach or to detach a volume.
    PATIENCE: ClassVar[float] = 300.0
    #: Seconds in which a device that is there gets its node and size, or goes.
    SETTLING: ClassVar[float] = 20.0
    #: Seconds in which this host sees that a volume has grown.
    GROWING: ClassVar[float] = 20.0

    def attach(self, connection: Mapping[str, Any], writable: bool) -> Device:
        """Bring the volume here, wait for its node, and open it.

        :raises StoreUnavailable: it does not appear.
        :raises Forbidden: it may only be read and is to be written.
        :raises BackendError: it is encrypted.
        """
        refuse_encrypted(connection)
        if writable and connection.get("access_mode") == "ro":
            raise errors.Forbidden("Cinder lets this host only read the volume")
        found = self._bounded("attach", lambda: self.brick(connection).connect_volume(dict(connection)))
        path = os.fsdecode(found["path"])
        if not eventually(lambda: _ready(path), self.SETTLING):
            raise errors.StoreUnavailable(f"the volume is {path} here, which is no block device with a size")
        self.host.own(path, writable)
        told = {name: value for name, value in found.items() if isinstance(value, (str, int, bool, list))}
        return self.DEVICE(path, writable, told | {"path": path, "devices": instances(path)})

    def detach(self, connection: Mapping[str, Any], info: Mapping[str, Any], own: bool) -> None:
        """Take the device away, by force where it must be, and see that it and its parts are gone.

        :raises StoreUnavailable: something of it stays.
        """
        devices = parts(info)
        for left in range(_TRIES - 1, -1, -1):
            problem: errors.StoreLibError | None = None
            try:
                self._bounded("detach", lambda: self._disconnect(connection, info))
            except errors.OperationTimeout:  # another try would wait for the same
                raise
            except errors.StoreUnavailable as error:
                problem = error
            if self._is_gone(devices, problem):
                break
            if left:
                self._end_maps(connection, devices)
            else:
                names = ", ".join(remaining(devices))
                raise problem or errors.StoreUnavailable(f"{names} of the volume cannot be taken away from this host")
        if problem is not None:
            LOG.warning("the volume is gone from this host, but not quietly: %s", problem.message)

    def _is_gone(self, devices: Mapping[str, str], problem: errors.StoreLibError | None) -> bool:
        """Whether nothing of the volume is here, as its devices tell, where they are known and are to go."""
        if self.LETS_GO and devices:
            return eventually(lambda: not remaining(devices), self.SETTLING)
        return problem is None

    def _end_maps(self, connection: Mapping[str, Any], devices: Mapping[str, str]) -> None:
        """Have maps go that somebody held while their paths were taken away: os-brick does not find them without."""
        for name in remaining(devices):
            if name.startswith("dm-"):
                scsi = self.brick(connection)._linuxscsi
                try:
                    self._bounded("detach", functools.partial(scsi.multipath_del_map, name))
                except errors.StoreUnavailable as error:
                    LOG.info("the map %s stays: %s", name, error.message)

    def _disconnect(self, connection: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        known = {name: value for name, value in info.items() if name != "devices"}
        self.brick(connection).disconnect_volume(dict(connection), known, force=True, ignore_errors=False)

    def grow(self, connection: Mapping[str, Any], device: Device, size: int) -> None:
        """Have this host see that Cinder extended the volume.

        :raises BackendError: it does not; detaching and attaching the volume helps.
        """
        try:
            self._bounded("extend", lambda: self.brick(connection).extend_volume(dict(connection)))
        except errors.StoreUnavailable as error:  # what counts is the device
            LOG.info("the kernel was not told that the volume has grown: %s", error.message)
        if not eventually(lambda: device.size() >= size, self.GROWING):
            raise errors.BackendError(f"the volume was extended to {size} bytes, and this host sees {device.size()}")

    def _bounded(self, what: str, step: Callable[[], T]) -> T:
        """Return what a step of os-brick returns, within a time: its commands may wait for storage that is gone.

        :raises OperationTimeout: it goes on all the same, and nobody can end it.
        :raises StoreUnavailable: it failed.
        """
        results: list[T] = []
        problems: list[BaseException] = []

        def run() -> None:
            try:
                results.append(step())
            except BaseException as error:
                problems.append(error)

        thread = threading.Thread(target=run, name=f"cinder-{what}", daemon=True)
        thread.start()
        end = time.monotonic() + self.PATIENCE
        while not (results or problems) and time.monotonic() < end:
            thread.join(_STEP)
        if results:
            return results[0]
        if not problems:
            problem = f"this host could not {what} the volume within {self.PATIENCE:g} s"
            raise errors.OperationTimeout(f"{problem}; see to {self.HINT}")
        known = failures.translate(problems[0])
        if known is None or isinstance(problems[0], errors.StoreLibError):
            raise problems[0]
        problem = f"this host cannot {what} the volume ({type(problems[0]).__name__}); see to {self.HINT}"
        raise errors.StoreUnavailable(problem, outcome=known.outcome) from problems[0]


def _ready(path: str) -> bool:
    """Whether there is a block device that has a size: a plain file in its place would swallow an image."""
    try:
        if not stat.S_ISBLK(os.stat(path).st_mode):
            return False
        with open(f"{SYSFS}/{_name(path)}/size", encoding="ascii") as file:
            return int(file.read()) > 0
    except (OSError, ValueError):
        return False


def _name(path: str) -> str:
    return os.path.basename(os.path.realpath(path))


def instances(path: str) -> dict[str, str]:
    """Return the kernel's names of a device and of those below it, each with the number of its appearance.

    A name is given again at once to whatever appears next; the number is not until the host starts anew.
    """
    name = _name(path)
    try:
        below = os.listdir(f"{SYSFS}/{name}/slaves")
    except OSError:
        below = []
    numbered = {each: _number(each) for each in (name, *sorted(below))}
    return {each: number for each, number in numbered.items() if number is not None}


def _number(name: str) -> str | None:
    try:
        with open(f"{SYSFS}/{name}/diskseq", encoding="ascii") as number, open(BOOT, encoding="ascii") as boot:
            return f"{number.read().strip()} of {boot.read().strip()}"
    except OSError:
        return None


def parts(info: Mapping[str, Any]) -> dict[str, str]:
    """Return the devices of a volume as `instances` told them, and those that joined since: a path may be late."""
    devices: dict[str, str] = dict(info.get("devices") or {})
    path = info.get("path")
    if path and _name(path) in remaining(devices):  # else the name may be another volume's by now
        devices |= instances(path)
    return devices


def remaining(devices: Mapping[str, str]) -> list[str]:
    """Return the names of those devices that are still there."""
    return [name for name, number in devices.items() if _number(name) == number]


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether something comes true in time."""
    until = time.monotonic() + seconds
    pause = 0.02
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.5)
    return True
