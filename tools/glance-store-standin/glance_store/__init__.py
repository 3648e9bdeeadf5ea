"""Served by store_lib: importing this package gives `store_lib.compat` in its place."""

import sys

from store_lib import compat

#: Tells `install` that this is not the peer itself.
STANDS_IN = True

compat.install()
sys.modules[__name__] = compat
