"""Helpers under the peer's name."""
