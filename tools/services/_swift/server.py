"""Runs one server of Swift with the swift.conf and the rings beside its configuration.

usage: server.py APP CONF    (APP: proxy-server, object-server, container-server, account-server)
"""

import os
import sys

from swift.common.utils import parse_options, set_swift_dir
from swift.common.wsgi import run_wsgi

app = sys.argv.pop(1)
set_swift_dir(os.path.dirname(os.path.abspath(sys.argv[1])))
conf, options = parse_options()
if app != "proxy-server":
    options["allow_modify_pipeline"] = False
if app == "object-server":
    from swift.obj import server

    options["global_conf_callback"] = server.global_conf_callback
sys.exit(run_wsgi(conf, app, **options))
