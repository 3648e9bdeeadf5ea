"""A real Glance under all tests of this folder."""

import contextlib
import pathlib

import pytest

from store_lib.tests.functional.glance import places as kinds
from store_lib.tests.functional.glance import served, service
from store_lib.tests.functional.glance.client import Client

_running: list[service.Glance] = []


def pytest_collection_modifyitems(items):
    """Mark the tests of this folder; each may have to wait for the start of a Glance or two."""
    for item in items:
        if pathlib.Path(__file__).parent in item.path.parents:
            item.add_marker("functional")
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(300))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Show the end of Glance's log with a test that failed."""
    report = (yield).get_result()
    if report.failed:
        for glance in _running:
            report.sections.append((f"log of {glance.folder.name}", glance.log[-6000:]))


@pytest.fixture(scope="session")
def installed():
    """See that the environment of Glance is there."""
    assert service.PYTHON.exists(), "run tools/glance first"


@pytest.fixture(scope="session")
def database(installed, tmp_path_factory):
    """Return the path of an empty database of Glance."""
    return service.make_database(tmp_path_factory.mktemp("database"))


@pytest.fixture(scope="session")
def make_glance(database):
    """Return a function that starts a Glance in a folder on some places; see :class:`service.Glance`."""

    def make(folder, places, **options):
        glance = service.Glance(folder, places, database, **options)
        _running.append(glance)
        return glance.start()

    yield make
    for glance in _running:
        glance.stop()
    _running.clear()


@pytest.fixture(scope="session")
def web():
    """Return a web server with nothing on it."""
    server = kinds.Web()
    yield server
    server.close()


@pytest.fixture(scope="session")
def servers():
    """Return a function that starts one of tools/services."""
    with contextlib.ExitStack() as stack:
        yield lambda tool: stack.enter_context(contextlib.closing(served.Server(tool)))


@pytest.fixture(scope="session")
def places(tmp_path_factory, web, servers):
    """Return the stores of the Glance that the tests share, by id; the first one is the default."""
    folder = tmp_path_factory.mktemp("places")
    rows = [
        kinds.FilePlace("fast", folder / "fast", weight="7", store_description="the quick one"),
        kinds.FilePlace("cheap", folder / "cheap"),
        kinds.HttpPlace("web", web),
        *served_places(servers),
    ]
    return {place.store: place for place in rows}


def served_places(servers):
    """Yield the stores on real servers; `fast` and these are what tests of each kind of storage run with."""
    gateway = servers("rgw")
    yield served.S3Place("bucket", gateway)
    conf = gateway.env["CEPH_CONF"]
    pool = {"rbd_store_ceph_conf": conf, "rbd_store_user": "images", "rbd_store_pool": "images"}
    yield served.RbdPlace("ceph", pool, gateway.ceph_fsid())
    yield served.SwiftPlace("container", servers("swift"))


@pytest.fixture(scope="session")
def writable(places):
    """Return the stores that take images, by id."""
    return {store: place for store, place in places.items() if place.writable}


@pytest.fixture(params=["fast", "bucket", "ceph", "container"])
def store(request):
    """Run the test with each kind of storage that takes images; this is the id of the store."""
    return request.param


@pytest.fixture(scope="session")
def glance(make_glance, tmp_path_factory, places):
    """Return the Glance that the tests share."""
    return make_glance(tmp_path_factory.mktemp("glance"), list(places.values()))


@pytest.fixture(scope="session")
def user(glance):
    """Return an administrator of the Glance that the tests share."""
    return Client(glance)
