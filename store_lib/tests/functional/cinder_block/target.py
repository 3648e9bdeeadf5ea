"""A target of the kernel's own, made through its files: an iSCSI name with one volume, which is a file in memory."""

import contextlib
import fcntl
import os
import pathlib
import subprocess
import uuid

from store_lib.drivers.cinder.block import SYSFS
from store_lib.tests.functional.devices.host import attempt_each
from store_lib.tests.support import MIB

CORE = pathlib.Path("/sys/kernel/config/target/core/iblock_0")
ISCSI = pathlib.Path("/sys/kernel/config/target/iscsi")
SESSIONS = pathlib.Path("/sys/class/iscsi_session")
INITIATOR = "iqn.2026-11.org.example:guest"
#: Not the address of the loopback itself, whose route is needed.
PORTALS = ("127.0.0.2:3260", "127.0.0.3:3260")
USER, PASSWORD = "images", "images-secret"
# What loop devices are asked for, as linux/loop.h has it: the command for it would be a process each time.
_GET_FREE, _SET_FILE, _CLEAR_FILE, _SET_CAPACITY = 0x4C82, 0x4C00, 0x4C01, 0x4C07


class Target:
    """One volume of `size` bytes, reached over one of PORTALS or over both, or not at all."""

    def __init__(self, portals=PORTALS[:1], size=64 * MIB):
        serial = uuid.uuid4()
        self.portals: tuple[str, ...] = ()
        self.file = pathlib.Path(f"/tmp/volume-{serial}")
        self.file.write_bytes(b"")
        os.truncate(self.file, size)
        self.iqn = f"iqn.2026-11.org.example:{serial}"
        self.group = ISCSI / self.iqn / "tpgt_1"
        self.loop = _loop(self.file)
        self.volume = CORE / str(serial)
        self.volume.mkdir(parents=True)
        (self.volume / "control").write_text(f"udev_path={self.loop}")
        (self.volume / "wwn/vpd_unit_serial").write_text(str(serial))
        (self.volume / "enable").write_text("1")
        if portals:
            self.export(portals)

    def export(self, portals):
        """Have it be reached."""
        self.portals = portals
        self.group.mkdir(parents=True)
        for portal in portals:
            (self.group / "np" / portal).mkdir()
        unit = self.group / "lun/lun_1"
        unit.mkdir()
        (unit / "volume").symlink_to(self.volume)
        (self.group / "attrib/authentication").write_text("1")
        client = self.group / "acls" / INITIATOR
        client.mkdir()
        (client / "auth/userid").write_text(USER)
        (client / "auth/password").write_text(PASSWORD)
        (client / "lun_1").mkdir()
        (client / "lun_1/volume").symlink_to(unit)
        (self.group / "enable").write_text("1")

    @property
    def connection(self):
        """What Cinder tells of it."""
        several = {
            "target_portals": list(self.portals),
            "target_iqns": [self.iqn] * len(self.portals),
            "target_luns": [1] * len(self.portals),
        }
        return {
            "driver_volume_type": "iscsi",
            "target_portal": self.portals[0],
            "target_iqn": self.iqn,
            "target_lun": 1,
            "auth_method": "CHAP",
            "auth_username": USER,
            "auth_password": PASSWORD,
            "encrypted": False,
            "access_mode": "rw",
            **(several if len(self.portals) > 1 else {}),
        }

    def in_use(self):
        """Return whether this host is logged in to it."""
        names = []
        for session in SESSIONS.glob("session*/targetname"):
            with contextlib.suppress(OSError):  # it ends just now
                names.append(session.read_text().strip())
        return self.iqn in names

    def grow(self, size):
        """Have the volume get larger."""
        os.truncate(self.file, size)
        with open(self.loop, "rb") as device:
            fcntl.ioctl(device, _SET_CAPACITY)

    def withdraw(self):
        """Have it be reached no more, in use or not."""
        client = self.group / "acls" / INITIATOR
        attempt_each(
            lambda: (self.group / "enable").write_text("0"),
            (client / "lun_1/volume").unlink,
            (client / "lun_1").rmdir,
            client.rmdir,
            (self.group / "lun/lun_1/volume").unlink,
            (self.group / "lun/lun_1").rmdir,
            *[(self.group / "np" / portal).rmdir for portal in self.portals],
            self.group.rmdir,
            self.group.parent.rmdir,
        )
        self.portals = ()

    def remove(self):
        """Take it away, in use or not."""
        self.withdraw()
        attempt_each(
            self.volume.rmdir,
            CORE.rmdir,  # else Cinder, which counts volumes and not folders, would make it again
            self._free,
            self.file.unlink,
        )

    def _free(self):
        with open(self.loop, "rb") as device:
            fcntl.ioctl(device, _CLEAR_FILE)


def _loop(path):
    """Return the name of a block device over a file."""
    with open("/dev/loop-control", "rb") as control:
        name = f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}"
    with open(name, "r+b", buffering=0) as device, open(path, "r+b") as file:
        fcntl.ioctl(device, _SET_FILE, file.fileno())
    return name


def log_out():
    """Log out of all targets and forget them."""
    for action in ("-u",), ("-o", "delete"):
        subprocess.run(["iscsiadm", "-m", "node", *action], check=False, capture_output=True, timeout=120)


def found():
    """Return what of iSCSI's is on this host: devices, maps of several paths, and sessions."""
    names = [path.name for path in pathlib.Path(SYSFS).glob("sd*")]
    names += [
        path.parts[4] for path in pathlib.Path(SYSFS).glob("dm-*/dm/uuid") if path.read_text().startswith("mpath-")
    ]
    return names + [path.name for path in SESSIONS.glob("session*")]
