"""The transfer engine: how bytes move, once for all drivers."""
