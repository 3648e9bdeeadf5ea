"""A target of the kernel's own, made through its files: a subsystem with one volume, which is a file in memory."""

import contextlib
import os
import pathlib
import subprocess
import uuid

from store_lib.drivers.cinder.block import SYSFS
from store_lib.tests.functional.devices.host import attempt_each
from store_lib.tests.support import MIB

ROOT = pathlib.Path("/sys/kernel/config/nvmet")
#: Not the address of the loopback itself, whose route is needed.
ADDRESSES: tuple[str, ...] = ("127.0.0.2", "127.0.0.3")
PORT = "4420"
#: Where the kernel tells of this host's connections.
CONNECTIONS = pathlib.Path("/sys/class/nvme")


class Target:
    """One volume of `size` bytes, reached at some of ADDRESSES or not at all, for the host of a name or for any."""

    def __init__(self, addresses=ADDRESSES[:1], size=64 * MIB, host=None):
        self.uuid = str(uuid.uuid4())
        self.addresses: tuple[str, ...] = ()
        self.file = pathlib.Path(f"/tmp/volume-{self.uuid}")
        self.file.write_bytes(b"")
        os.truncate(self.file, size)
        self.nqn = f"nqn.2026-11.org.example:{self.uuid}"
        self.system = ROOT / "subsystems" / self.nqn
        self.volume = self.system / "namespaces/1"
        self.volume.mkdir(parents=True)
        self._allow(host)
        for name, value in ("device_path", str(self.file)), ("buffered_io", "1"), ("device_uuid", self.uuid):
            (self.volume / name).write_text(value)
        (self.volume / "enable").write_text("1")
        self.export(addresses)

    def _allow(self, host):
        (self.system / "attr_allow_any_host").write_text("0" if host else "1")
        if host:
            (ROOT / "hosts" / host).mkdir(exist_ok=True)
            (self.system / "allowed_hosts" / host).symlink_to(ROOT / "hosts" / host)

    def _ports(self):
        return [ROOT / f"ports/{ADDRESSES.index(address) + 1}" for address in self.addresses]

    def export(self, addresses):
        """Have it be reached."""
        self.addresses = addresses
        for port, address in zip(self._ports(), addresses, strict=True):
            if not port.exists():
                port.mkdir()
                values = {"trtype": "tcp", "adrfam": "ipv4", "traddr": address, "trsvcid": PORT}
                for name, value in values.items():
                    (port / f"addr_{name}").write_text(value)
            (port / "subsystems" / self.nqn).symlink_to(self.system)

    @property
    def connection(self):
        """What Cinder tells of it."""
        return {
            "driver_volume_type": "nvmeof",
            "target_nqn": self.nqn,
            "vol_uuid": self.uuid,
            "portals": [[address, PORT, "tcp"] for address in self.addresses],
            "encrypted": False,
            "access_mode": "rw",
        }

    def grow(self, size):
        """Have the volume get larger."""
        os.truncate(self.file, size)
        (self.volume / "revalidate_size").write_text("1")

    def vanish(self):
        """Have the target have no such volume any more, in use or not."""
        (self.volume / "enable").write_text("0")

    def in_use(self):
        """Return whether this host is connected to it."""
        names = []
        for name in CONNECTIONS.glob("nvme*/subsysnqn"):
            with contextlib.suppress(OSError):  # it ends just now
                names.append(name.read_text().strip())
        return self.nqn in names

    def withdraw(self):
        """Have it be reached no more, in use or not."""
        ports = self._ports()
        attempt_each(
            *[(port / "subsystems" / self.nqn).unlink for port in ports],
            *[port.rmdir for port in ports],  # with the last volume
        )
        self.addresses = ()

    def remove(self):
        """Take it away, in use or not."""
        self.withdraw()
        hosts = [*self.system.glob("allowed_hosts/*")]
        attempt_each(*[host.unlink for host in hosts], self.volume.rmdir, self.system.rmdir, self.file.unlink)


def disconnect():
    """Disconnect this host from all targets."""
    subprocess.run(["nvme", "disconnect-all"], check=False, capture_output=True, timeout=120)


def states():
    """Return in which state each connection of this host is."""
    return sorted((path / "state").read_text().strip() for path in CONNECTIONS.glob("nvme*"))


def found():
    """Return the names of the connections and the devices of such targets on this host."""
    return [path.name for path in (*CONNECTIONS.glob("nvme*"), *pathlib.Path(SYSFS).glob("nvme*"))]
