"""Runs one server of Swift with the swift.conf and the rings beside its configuration.

usage: server.py APP CONF    (APP: proxy-server, object-server, container-server, account-server)

With STORE_LIB_SWIFT_SYNC=no nothing is forced to the disk: it would not outlive a power failure, but comes sooner.
"""

import os
import sys
from typing import Any

from swift.common.utils import parse_options, set_swift_dir

app = sys.argv.pop(1)
set_swift_dir(os.path.dirname(os.path.abspath(sys.argv[1])))  # before the imports below, which read its swift.conf
from swift.common import db  # noqa: E402
from swift.common.wsgi import run_wsgi  # noqa: E402


def write_behind() -> None:
    """Leave it to the kernel when files are written."""
    connect = db.get_db_connection

    def connection(*args: Any, **more: Any) -> Any:
        made = connect(*args, **more)
        made.execute("PRAGMA synchronous = OFF").close()
        return made

    db.get_db_connection = connection
    os.fsync = os.fdatasync = lambda fd: None


if os.environ.get("STORE_LIB_SWIFT_SYNC") == "no":
    write_behind()
conf, options = parse_options()
if app != "proxy-server":
    options["allow_modify_pipeline"] = False
if app == "object-server":
    from swift.obj import server

    options["global_conf_callback"] = server.global_conf_callback
sys.exit(run_wsgi(conf, app, **options))
