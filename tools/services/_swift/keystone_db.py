"""Makes Keystone's database, keys and administrator: several keystone-manage commands for the price of one import.

usage: keystone_db.py CONF PASSWORD URL
"""

import grp
import os
import pwd
import sqlite3
import sys
import warnings

warnings.simplefilter("ignore")
from keystone.cmd.manage import main  # noqa: E402

conf, password, url = sys.argv[1:]
# Root must say whose the keys shall be.
owner = ["--keystone-user", pwd.getpwuid(os.geteuid()).pw_name, "--keystone-group", grp.getgrgid(os.getegid()).gr_name]
owner = owner if os.geteuid() == 0 else []
bootstrap = {
    "username": "admin",
    "password": password,
    "project-name": "admin",
    "role-name": "admin",
    "service-name": "keystone",
    "region-id": "RegionOne",
    "admin-url": url,
    "public-url": url,
    "internal-url": url,
}
options = [word for name, value in bootstrap.items() for word in (f"--bootstrap-{name}", value)]
for command in (["db_sync"], ["fernet_setup", *owner], ["credential_setup", *owner], ["bootstrap", *options]):
    pid = os.fork()
    if not pid:
        sys.argv = ["keystone-manage", "--config-file", conf, *command]
        os._exit(main() or 0)
    if status := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        sys.exit(f"keystone-manage {command[0]}: {status}")

# Checks of tokens then wait for no writer; it persists in the file.
with sqlite3.connect(os.path.join(os.path.dirname(conf), "keystone.db")) as database:
    database.execute("pragma journal_mode=wal")
