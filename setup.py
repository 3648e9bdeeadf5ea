import setuptools

# Everything is in setup.cfg; this file is what tools that run setup.py look for.
setuptools.setup()
