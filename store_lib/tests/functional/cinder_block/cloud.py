"""A real Cinder in the guest, with LVM, whose volumes come to this host by iSCSI."""

import pathlib
import shlex
import subprocess

from store_lib.tests.functional.devices.host import LIMIT

FOLDER = pathlib.Path("/tmp/cinder")
SERVICE = pathlib.Path(__file__).resolve().parents[4] / "tools/services/cinder"
#: The volume group of the volume type of that name.
GROUP = "lvm1"


class Cloud:
    """Cinder and Keystone, which are started."""

    def __init__(self):
        none = subprocess.DEVNULL
        subprocess.run([SERVICE, "start", FOLDER, "--lvm"], check=True, stdin=none, stdout=none, timeout=2 * LIMIT)
        lines = (FOLDER / "env").read_text().splitlines()
        self.env = {name: shlex.split(value)[0] for name, _, value in (line.partition("=") for line in lines)}

    def section(self, name, **options):
        """Return the lines of a store's group, of volumes in GROUP."""
        own = {
            "cinder_volume_type": GROUP,
            "cinder_store_auth_address": self.env["AUTH_URL"],
            "cinder_store_user_name": "images",
            "cinder_store_password": "images-pw",
            "cinder_store_project_name": "images",
            "cinder_os_region_name": self.env["REGION"],
            "cinder_mount_point_base": FOLDER / "client",
            "probe_timeout": LIMIT,
            "operation_timeout": 2 * LIMIT,
            "cinder_api_timeout": LIMIT,
            "cinder_state_transition_timeout": LIMIT,
            "cinder_delete_timeout": LIMIT,
        }
        return "\n".join([f"[{name}]", *(f"{option} = {value}" for option, value in (own | options).items())])


def volumes():
    """Return the logical volumes that are there."""
    told = subprocess.run(
        ["lvs", "--noheadings", "-o", "lv_name", GROUP], check=True, capture_output=True, text=True, timeout=LIMIT
    )
    return told.stdout.split()
