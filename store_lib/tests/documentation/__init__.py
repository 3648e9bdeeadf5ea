"""Tests of the documentation: it can be built, and its code runs."""
