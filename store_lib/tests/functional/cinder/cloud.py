"""The servers of one folder, and what an administrator does with them."""

import contextlib
import json
import os
import pathlib
import shlex
import signal
import sqlite3
import subprocess
import types

from store_lib.tests import support
from store_lib.tests.relay import Relay

TOOL = pathlib.Path(__file__).resolve().parents[4] / "tools/services/cinder"
#: Seconds that Cinder may take for what takes it a second, on a busy machine.
PATIENCE = 120


class Cloud:
    """The servers of one folder, and what an administrator sees and does."""

    def __init__(self, folder):
        self.folder = folder
        #: Locations of images that tests share, by the type of their volumes.
        self.kept = {}
        self._clients = {}
        self.start()

    def run(self, action):
        """Have the tool do something; return what it printed."""
        done = subprocess.run([TOOL, action, self.folder], capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self):
        """Start what does not run and wait until it answers."""
        self.run("start")
        lines = (self.folder / "env").read_text().splitlines()
        self.env = {name: shlex.split(value)[0] for name, _, value in (line.partition("=") for line in lines)}

    # -- processes ----------------------------------------------------------------------------------------------------

    @property
    def pid(self):
        """The process of Cinder."""
        return int((self.folder / "run/cinder.pid").read_text().split()[0])

    @contextlib.contextmanager
    def killed(self):
        """Have Cinder gone for the time of ``with``."""
        pid = self.pid
        os.killpg(pid, signal.SIGKILL)
        support.until(lambda: support.ended(pid), 30)
        try:
            yield
        finally:
            self.start()

    def stopped(self):
        """Have Cinder hang for the time of ``with``."""
        return support.stopped(self.pid)

    def change_database(self, statement, *values):
        """Change what Cinder remembers, where its API has no means or no working one."""
        with contextlib.closing(sqlite3.connect(self.folder / "lib/cinder.sqlite", timeout=PATIENCE)) as database:
            with database:
                database.execute(statement, values)

    @contextlib.contextmanager
    def relay(self):
        """Yield a relay in front of Cinder's API, which looks at every request."""
        with Relay(int(self.env["CINDER_PORT"])) as relay:
            relay.set(http=True)
            yield relay

    @contextlib.contextmanager
    def quick_to_forget(self):
        """Have Ceph give up who opens a volume in the time of ``with``, and dies, after 8 seconds instead of 30."""
        import rados

        with rados.Rados(conffile=self.env["CEPH_CONF"], rados_id="admin") as cluster:

            def ask(**command):
                code, _, problem = cluster.mon_command(json.dumps(command), b"")
                assert not code, problem

            option = {"who": "osd", "name": "osd_client_watch_timeout"}
            ask(prefix="config set", value="8", **option)
            try:
                yield
            finally:
                ask(prefix="config rm", **option)

    # -- stores -------------------------------------------------------------------------------------------------------

    def options(self, kind, user="images"):
        """Return the options of a store whose volumes are of that type.

        :param kind: name of the volume type.
        :param user: `images`, `poor` (who has a small quota) or `cinder` (who is an administrator).
        """
        return {
            "cinder_volume_type": kind,
            "cinder_store_auth_address": self.env["AUTH_URL"],
            "cinder_store_user_name": user,
            "cinder_store_password": f"{user}-pw",
            "cinder_store_project_name": self.env[f"USER_{user.upper()}_PROJECT"],
            "cinder_os_region_name": self.env["REGION"],
            "cinder_mount_point_base": self.mounts,
            "cinder_rbd_keyring": self.env["CEPH_KEYRING"],
        }

    def configuration(self, kind, user, called, options):
        """Return the text of a configuration with one store; options that are None are left out.

        It tries nothing twice unless the test says otherwise, so that failing is quick.
        """
        given = {"retry_attempts": 1, "probe_interval": 0, "probe_timeout": 60, "operation_timeout": PATIENCE}
        given |= {"cinder_delete_timeout": PATIENCE} | self.options(kind, user) | options
        lines = ["[DEFAULT]", f"enabled_backends = {called}:cinder", f"[{called}]"]
        lines += [f"{name} = {value}" for name, value in given.items() if value is not None]
        return "\n".join(lines)

    @property
    def mounts(self):
        """The folder below which stores mount shares and keep their locks."""
        return self.folder / "client"

    # -- what is there ------------------------------------------------------------------------------------------------

    @property
    def admin(self):
        """The client of an administrator."""
        return self.client()

    def client(self, user="admin"):
        """Return the client of a user; that of an administrator shows the volumes of all projects."""
        if user not in self._clients:
            self._clients[user] = self._log_in(user)
        return self._clients[user]

    def caller(self, user="images"):
        """Return what a service knows of a user who asks it for something."""
        endpoint = {"region": self.env["REGION"], "publicURL": self.env["CINDER_URL"]}
        return types.SimpleNamespace(
            auth_token=self.client(user).client.get_token(),
            project_id=self.env[f"USER_{user.upper()}_PROJECT_ID"],
            service_catalog=[{"type": "volumev3", "endpoints": [endpoint]}],
        )

    def _log_in(self, user):
        from cinderclient import client
        from keystoneauth1 import session
        from keystoneauth1.identity import v3

        auth = v3.Password(
            auth_url=self.env["AUTH_URL"],
            username=user,
            password=f"{user}-pw",
            project_name=self.env.get(f"USER_{user.upper()}_PROJECT", "admin"),
            user_domain_id="default",
            project_domain_id="default",
        )
        logged_in = session.Session(auth=auth, timeout=PATIENCE)
        return client.Client("3.59", session=logged_in, connect_retries=3)
