"""The swift store: images as objects of OpenStack Swift."""

from store_lib.drivers.swift.driver import SwiftDriver

__all__ = ["SwiftDriver"]
