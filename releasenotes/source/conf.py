"""Sphinx configuration of the release notes."""

project = "store_lib release notes"
author = "store_lib contributors"
project_copyright = "store_lib contributors"

extensions = ["reno.sphinxext"]

html_theme = "furo"
html_title = project
