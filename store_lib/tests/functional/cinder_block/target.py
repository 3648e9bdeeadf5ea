"""A target of the kernel's own, made through its files: an iSCSI name with one volume, which is a file in memory."""

import contextlib
import os
import pathlib
import subprocess
import uuid

CORE = pathlib.Path("/sys/kernel/config/target/core/iblock_0")
ISCSI = pathlib.Path("/sys/kernel/config/target/iscsi")
INITIATOR = "iqn.2026-11.org.example:guest"
#: Not the address of the loopback itself, whose route is needed.
PORTALS = ("127.0.0.2:3260", "127.0.0.3:3260")
USER, PASSWORD = "images", "images-secret"
MIB = 1024 * 1024
_MADE: list["Target"] = []


class Target:
    """One volume of `size` bytes, reached over one of PORTALS or over both."""

    def __init__(self, portals=PORTALS[:1], size=64 * MIB):
        serial = uuid.uuid4()
        self.portals = portals
        self.file = pathlib.Path(f"/tmp/volume-{serial}")
        self.file.write_bytes(b"")
        os.truncate(self.file, size)
        self.iqn = f"iqn.2026-11.org.example:{serial}"
        told = subprocess.run(
            ["losetup", "-f", "--show", self.file], check=True, capture_output=True, text=True, timeout=60
        )
        self.loop = told.stdout.strip()
        self.volume = CORE / str(serial)
        self.volume.mkdir(parents=True)
        (self.volume / "control").write_text(f"udev_path={self.loop}")
        (self.volume / "wwn/vpd_unit_serial").write_text(str(serial))
        (self.volume / "enable").write_text("1")
        self._export()
        _MADE.append(self)

    def _export(self):
        self.group = ISCSI / self.iqn / "tpgt_1"
        self.group.mkdir(parents=True)
        for portal in self.portals:
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

    def grow(self, size):
        """Have the volume get larger."""
        os.truncate(self.file, size)
        subprocess.run(["losetup", "-c", self.loop], check=True, timeout=60)

    def remove(self):
        """Take it away, in use or not."""
        client = self.group / "acls" / INITIATOR
        steps = [
            lambda: (self.group / "enable").write_text("0"),
            (client / "lun_1/volume").unlink,
            (client / "lun_1").rmdir,
            client.rmdir,
            (self.group / "lun/lun_1/volume").unlink,
            (self.group / "lun/lun_1").rmdir,
            *[(self.group / "np" / portal).rmdir for portal in self.portals],
            self.group.rmdir,
            self.group.parent.rmdir,
            self.volume.rmdir,
            CORE.rmdir,  # else Cinder, which counts volumes and not folders, would make it again
            lambda: subprocess.run(["losetup", "-d", self.loop], check=False, timeout=60),
            self.file.unlink,
        ]
        for step in steps:
            with contextlib.suppress(OSError):
                step()


@contextlib.contextmanager
def silence(portal):
    """Have nothing come to a portal any more: connections to it stay, and are dumb."""
    route = ["blackhole", f"{portal.partition(':')[0]}/32", "table", "local"]
    subprocess.run(["ip", "route", "add", *route], check=True, timeout=60)
    try:
        yield
    finally:
        subprocess.run(["ip", "route", "del", *route], check=True, timeout=60)


def clear():
    """Log out of all targets and remove them."""
    for action in ("-u",), ("-o", "delete"):
        subprocess.run(["iscsiadm", "-m", "node", *action], check=False, capture_output=True, timeout=120)
    while _MADE:
        _MADE.pop().remove()
