"""The surface of glance_store, for services written for it: names, calls, results and errors as they expect them.

``install()`` lets ``import glance_store`` in this process mean this package.  Nothing here stores anything; every call
is handed to `store_lib.Stores`.  What is global (the stores made last) lives here and nowhere else in store_lib.
"""

from __future__ import annotations

from store_lib.compat import backend, capabilities, driver, exceptions, location, multi_backend
from store_lib.compat._install import install
from store_lib.compat.backend import *  # noqa: F403,H303
from store_lib.compat.driver import *  # noqa: F403,H303
from store_lib.compat.exceptions import *  # noqa: F403,H303
from store_lib.compat.multi_backend import *  # noqa: F403,H303

__all__ = ["backend", "capabilities", "driver", "exceptions", "install", "location", "multi_backend"]
__all__ += backend.__all__
__all__ += driver.__all__
__all__ += exceptions.__all__
__all__ += [name for name in multi_backend.__all__ if name not in backend.__all__]
