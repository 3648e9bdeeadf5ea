"""Tests of the http store against real servers."""
