"""Glance's own tests that do not run on store_lib, by name and reason."""

_VALUES = (
    "gives store_lib impossible values (segments of 204800000 MiB, objects of 8688388 MiB, a file that is not there), "
    "for which it leaves the store out"
)
_DISCOVERY = "glance.tests.unit.v2.test_discovery_stores.TestInfoControllers"

LEFT_OUT = {
    f"{_DISCOVERY}.test_get_stores_detail": _VALUES,
    f"{_DISCOVERY}.test_get_stores_detail_properties": _VALUES,
    f"{_DISCOVERY}.test_get_stores_detail_with_store_weight": _VALUES,
    f"{_DISCOVERY}.test_swift_multitenant_and_conf_file_enabled": _VALUES,
    "glance.tests.unit.common.test_wsgi_app.TestWsgiAppInit.test_runs_staging_cleanup": (
        "takes threads away from the whole process and counts them; store_lib asks a store in one of its own"
    ),
}
