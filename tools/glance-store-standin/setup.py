"""Builds the stand-in; everything else is in setup.cfg."""

import setuptools

setuptools.setup()
