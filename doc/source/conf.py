"""Sphinx configuration of the documentation."""

import importlib.metadata
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "ext"))

project = "store_lib"
author = "store_lib contributors"
project_copyright = "store_lib contributors"
release = importlib.metadata.version("store_lib")

extensions = [
    "sphinx.ext.autodoc",
    "cliff.sphinxext",
    "oslo_config.sphinxext",
    "stevedore.sphinxext",
    "store_lib_docs",
]

html_theme = "furo"
html_title = f"store_lib {release}"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "separated"
# `name` in a docstring: a link where there is something of that name, else just code.
default_role = "py:obj"

man_pages = [("cli/store-lib", "store-lib", "look after images in the stores of an image service", [author], 1)]
