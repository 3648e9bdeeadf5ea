"""The drivers: one module or folder a kind of storage, loaded by entry point only."""
