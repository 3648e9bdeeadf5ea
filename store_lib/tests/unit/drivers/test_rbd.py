"""The rbd store as far as it goes without a cluster and without Ceph's bindings: options, locations, names, handles."""

import gc
import threading

import pytest
from oslo_config import cfg

from store_lib import errors
from store_lib.drivers import _rbd_opts
from store_lib.drivers._rbd_handle import Handle
from store_lib.drivers._rbd_image import Requests
from store_lib.drivers._rbd_values import TEMPORARY, RbdAddress, of_unfinished, unfinished_name
from store_lib.drivers.rbd import RbdDriver
from store_lib.interface import MIB
from store_lib.location import check_image_id
from store_lib.runtime import SharedRuntime, StoreRuntime, new_owner
from store_lib.settings import resolve
from store_lib.tests.support import in_child

FSID = "b9b5e8b6-0c5b-4c55-8a4c-6f0d5a1e9d11"


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """Return a function that resolves options; the bindings count as installed."""
    monkeypatch.setattr(_rbd_opts, "missing_bindings", list)

    def settings(**options):
        path = tmp_path / "store.conf"
        path.write_text("\n".join(["[it]", *(f"{name} = {value}" for name, value in options.items())]))
        conf = cfg.ConfigOpts()
        conf(["--config-file", str(path)], default_config_files=[], default_config_dirs=[])
        return resolve(conf, "it", "rbd", RbdDriver)

    return settings


@pytest.fixture
def driver(configure, tmp_path):
    """Return a function that makes a driver of options; Ceph's configuration names the cluster."""
    conf = tmp_path / "ceph.conf"
    conf.write_text(f"[global]\n  fsid = {FSID}\n")

    def make(**options):
        settings, mistakes = configure(rbd_store_ceph_conf=conf, **options)
        assert not mistakes
        return RbdDriver(settings, StoreRuntime("it", settings.base, SharedRuntime()))

    return make


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("rbd_store_chunk_size", 33),
        ("rbd_store_pool", ""),
        ("rbd_store_pool", "a/b"),
        ("rbd_store_data_pool", "a@b"),
        ("rbd_store_user", "client.glance"),
        ("rbd_store_ceph_conf", "/nowhere/ceph.conf"),
        ("rbd_store_image_features", "layering,colour"),
        ("rbd_store_image_features", "fast-diff"),
        ("rados_connect_timeout", -2),
    ],
)
def test_mistakes_are_told(configure, option, value):
    """What cannot work is told with the option's name."""
    assert [mistake.option for mistake in configure(**{option: value})[1]] == [option]


def test_missing_bindings_are_told_with_their_packages(configure, monkeypatch):
    """The mend names what to install."""
    monkeypatch.setattr(_rbd_opts, "missing_bindings", lambda: ["rados", "rbd"])
    (mistake,) = configure()[1]
    assert "python3-rados and python3-rbd" in mistake.mend
    assert "rados, rbd" in mistake.problem


def test_locations(driver):
    """Locations are written as glance_store writes them, and both of its forms are read."""
    it = driver()
    uri = f"rbd://{FSID}/images/a-b.c/snap"
    assert it.prefix() == f"rbd://{FSID}/images/"
    assert it.parse(uri) == RbdAddress(FSID, "a-b.c", "snap")
    assert it.uri(it.parse(uri)) == uri
    assert it.uri(RbdAddress(None, "x", "snap")) == f"rbd://{FSID}/images/x/snap"
    assert it.parse("rbd://x") == RbdAddress(None, "x", None)
    assert it.uri(it.parse("rbd://x")) == "rbd://x"
    inside = driver(rbd_store_namespace="tenant")
    assert inside.parse(f"rbd://{FSID}/images%2Ftenant/x/snap") == RbdAddress(FSID, "x", "snap")


@pytest.mark.parametrize(
    "uri",
    [
        f"rbd://{FSID}/other/x/snap",
        f"rbd://{FSID[::-1]}/images/x/snap",
        f"rbd://{FSID}/images%2Ftenant/x/snap",
    ],
)
def test_foreign_locations(driver, uri):
    """Another pool, cluster or namespace is foreign, before anything is connected."""
    with pytest.raises(errors.ForeignLocation):
        driver().parse(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "rbd://",
        "rbd://a/b",
        f"rbd://{FSID}/images/x",
        f"rbd://{FSID}/images//snap",
        f"rbd://{FSID}/images/x%00/snap",
        f"rbd://{FSID}/images/x/snap%0a",
        f"rbd://{TEMPORARY}x",
    ],
)
def test_bad_locations(driver, uri):
    """What is malformed, holds hidden characters or names an unfinished image is refused."""
    with pytest.raises(errors.BadLocation):
        driver().parse(uri)


def test_requests_in_flight_decide_the_parts_at_once(driver):
    """The window holds for an image, whatever the size of its parts."""
    assert driver().limits.parallel == 30
    assert driver(rbd_store_in_flight=2).limits.parallel == 2
    assert driver(part_size=4 * MIB).limits.parallel == 15
    assert driver(part_size=256 * MIB).limits.parallel == 1


@pytest.mark.parametrize(("megabytes", "order"), [(1, 20), (8, 23), (12, 23), (32, 25)])
def test_object_size(driver, megabytes, order):
    """An object size that is no power of two is rounded down, as glance_store does."""
    assert driver(rbd_store_chunk_size=megabytes).creation(None)["order"] == order


def test_layering_is_always_there(driver):
    """Clones need it; without the option Ceph's configuration decides."""
    assert driver(rbd_store_image_features="exclusive-lock").creation(None)["features"] == 1 | 4
    assert driver().creation(None)["features"] is None


def test_names_of_unfinished_images():
    """Such a name tells owner and id, is no image's id, and other names tell nothing."""
    owner = new_owner()
    name = unfinished_name(owner, "a-b=c")
    found = of_unfinished(name)
    assert found is not None
    assert (found[0].encode(), found[1]) == (owner.encode(), "a-b=c")
    with pytest.raises(errors.BadImageId):
        check_image_id(name)
    for other in ("image", TEMPORARY, f"{TEMPORARY}x=y", name.partition("=")[0], name.removeprefix(".")):
        assert of_unfinished(other) is None


def test_a_handle_is_closed_by_the_last_who_leaves():
    """Closing under a call would crash; who comes later is refused."""
    closed: list[str] = []
    handle = Handle("value", closed.append)
    with handle.use() as value:
        closer = threading.Thread(target=handle.close)
        closer.start()
        closer.join(30)
        assert (value, closed) == ("value", [])
        with pytest.raises(errors.StoreUnavailable):
            handle.enter()
    assert closed == ["value"]
    handle.close()
    assert closed == ["value"]


def test_a_handle_that_nobody_knows_any_more_is_closed():
    """An upload that is dropped leaves no watcher behind."""
    closed: list[str] = []
    Handle("value", closed.append)
    gc.collect()
    assert closed == ["value"]


def test_a_handle_is_its_process_own():
    """A forked child neither uses nor closes it, even in the middle of a call."""
    closed: list[str] = []
    handle = Handle("value", closed.append)

    def child():
        handle.leave()
        handle.close()
        try:
            handle.enter()
        except errors.StoreUnavailable as error:
            return [len(closed), error.transient]

    with handle.use():
        assert in_child(child) == [0, False]
    assert closed == []


class Unanswered:
    """Stands for a request that is answered in the parent alone; waiting for it is counted."""

    def __init__(self):
        self.waited = 0

    def wait_for_complete_and_cb(self):
        """Count."""
        self.waited += 1


def test_a_child_does_not_wait_for_requests_of_its_parent():
    """The threads that would answer are not in it: it would wait for ever."""
    request = Unanswered()
    with Requests(2) as requests:
        requests.add(lambda answered: request)

        def child():
            requests.__exit__()
            return [request.waited, bool(requests)]

        assert in_child(child) == [0, False]
    assert request.waited == 1
