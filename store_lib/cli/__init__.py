"""The ``store-lib`` command; a user of `store_lib.Stores` like any other."""
