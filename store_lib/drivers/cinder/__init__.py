"""The cinder store; see `store_lib.drivers.cinder.driver`."""

from store_lib.drivers.cinder.driver import CinderDriver

__all__ = ["CinderDriver"]
