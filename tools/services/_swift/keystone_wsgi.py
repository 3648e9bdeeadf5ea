"""Keystone for a WSGI server; its configuration is what OS_KEYSTONE_CONFIG_FILES names."""

import sys

sys.argv = ["keystone"]  # it parses the arguments when it loads: those of the WSGI server would stop it
from keystone.server import wsgi  # noqa: E402

application = wsgi.initialize_public_application()
