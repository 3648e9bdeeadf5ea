"""Glance's own tests that do not run on store_lib, by name and reason."""

LEFT_OUT = {
    "glance.tests.unit.common.test_wsgi_app.TestWsgiAppInit.test_runs_staging_cleanup": (
        "takes threads away from the whole process and counts them; store_lib asks a store in one of its own"
    ),
}
