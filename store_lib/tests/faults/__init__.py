"""Faults, each by causing it."""
