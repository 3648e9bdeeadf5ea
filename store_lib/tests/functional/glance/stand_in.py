"""What Glance's own tests ask of a library under them that no deployment does."""

import importlib


def correct_staging_folder():
    """Write ``file:///tmp/staging`` where Glance's tests forget the scheme.

    Glance cuts off seven characters and has a relative directory then, in which glance_store would put files.
    """
    base = importlib.import_module("glance.tests.utils").BaseTestCase
    config = base.config

    def corrected(self, **options):
        if options.get("node_staging_uri") == "/tmp/staging":
            options["node_staging_uri"] = "file:///tmp/staging"
        config(self, **options)

    base.config = corrected
