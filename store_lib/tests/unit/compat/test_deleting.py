"""Deleting, access lists, locations, and what services read off a store."""

import copy
import io
import json
import pickle
from typing import Any

import pytest

import store_lib.compat as glance_store
from store_lib import errors
from store_lib.compat import _attributes, exceptions, location
from store_lib.compat.capabilities import BitMasks, StoreCapability
from store_lib.drivers import _rbd_opts
from store_lib.registry import DriverRegistry


def store(name):
    return glance_store.get_store_from_store_identifier(name)


def add(name, image="one"):
    return store(name).add(image, io.BytesIO(b"x"), 1)[0]


# -- deleting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("fast",), ("fast", None), (None,)], ids=str)
def test_delete(two, tmp_path, arguments):
    uri = add("fast")
    glance_store.delete(uri, *arguments)
    assert not (tmp_path / "fast" / "one").exists()
    with pytest.raises(glance_store.NotFound) as raised:
        glance_store.delete(uri, *arguments)
    assert raised.value.message
    assert "one" in raised.value.msg


def test_delete_without_a_store_looks_in_all(two, tmp_path):
    uri = add("cheap")
    glance_store.delete(uri, None, context=None)
    assert not (tmp_path / "cheap" / "one").exists()


def test_delete_of_a_location_object(two, tmp_path):
    uri = add("fast")
    at = location.get_location_from_uri_and_backend(uri, "fast")
    store("fast").delete(at)
    with pytest.raises(glance_store.NotFound):
        store("fast").delete(at, context=None)
    assert (at.get_store_uri(), at.store_name) == (uri, "fast")


def test_delete_outside_the_store(two, tmp_path):
    (tmp_path / "outside").write_bytes(b"secret")
    with pytest.raises(glance_store.BadStoreUri):
        glance_store.delete(f"file://{tmp_path}/outside", "fast")
    with pytest.raises(glance_store.NotFound):
        glance_store.delete(f"file://{tmp_path}/outside", None)
    assert (tmp_path / "outside").exists()


def test_a_closed_store_keeps_its_records(it):
    uri = add("it")
    it.failures["probe"] = errors.StoreUnavailable("gone fishing")
    store("it").core.probe()
    for name in ("it", None):
        with pytest.raises(exceptions.TimeoutError, match="gone fishing"):
            glance_store.delete(uri, name)
    it.failures.clear()
    glance_store.delete(uri, "it")


@pytest.mark.parametrize(
    ("failure", "wanted"),
    [
        (errors.InUse("x"), glance_store.InUseByStore),
        (errors.Forbidden("x"), glance_store.Forbidden),
        (errors.ReadOnlyStore("x"), glance_store.Forbidden),
        (errors.StoreUnavailable("x"), exceptions.TimeoutError),
        (errors.OperationTimeout("x"), exceptions.TimeoutError),
        (errors.BackendError("x"), glance_store.BackendException),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else type(each).__name__,
)
def test_failures_of_a_store(it, failure, wanted):
    uri = add("it")
    it.failures["delete"] = failure
    with pytest.raises(wanted) as raised:
        glance_store.delete(uri, "it")
    assert type(raised.value) is wanted


def test_a_store_that_cannot_delete(serve, scripted):
    serve("[DEFAULT]\nenabled_backends = it:forward, kept:memory\n[kept]\nread_only = true\n")
    with pytest.raises(glance_store.StoreDeleteNotSupported):
        glance_store.delete(add("it"), "it")
    with pytest.raises(glance_store.Forbidden):  # the record stays, as the image does
        glance_store.delete("memory://kept/one", "kept")


def test_the_context_reaches_the_driver(it):
    whose = object()
    glance_store.delete(add("it"), "it", whose)
    assert it.told[-1] == ("delete", whose)


# -- access lists -----------------------------------------------------------------------------------------------------


def test_access_lists(it):
    whose = object()
    uri = add("it")
    glance_store.set_acls_for_multi_store(uri, "it", public=False, read_tenants=["a", "b"], context=whose)
    glance_store.set_acls_for_multi_store(uri, "it", public=True, write_tenants=["c"])
    assert it.told[-2:] == [
        ("set_acls", False, ("a", "b"), (), whose),
        ("set_acls", True, (), ("c",), None),
    ]
    it.failures["set_acls"] = errors.StoreUnavailable("x")
    with pytest.raises(exceptions.TimeoutError):
        glance_store.set_acls_for_multi_store(uri, "it", public=True)


def test_access_lists_of_a_store_without_cost_nothing(two, monkeypatch):
    def touched(*arguments, **keywords):
        raise AssertionError("the storage was asked")

    monkeypatch.setattr("store_lib.drivers.file.FileDriver.operations", touched)
    glance_store.set_acls_for_multi_store("file:///anywhere", "fast", public=True, read_tenants=["a"])
    with pytest.raises(glance_store.UnknownScheme):
        glance_store.set_acls_for_multi_store("file:///anywhere", "nope")


# -- locations --------------------------------------------------------------------------------------------------------


def test_the_map_of_schemes(two, tmp_path):
    found = location.SCHEME_TO_CLS_BACKEND_MAP
    assert set(found) == {"file", "filesystem", "memory"} == set(glance_store.get_known_schemes_for_multi_store())
    assert list(found["file"]) == ["fast", "cheap"]
    row = found["file"]["fast"]
    assert row["store"] is store("fast")
    assert row["store_entry"] == "file"
    assert row["store"].url_prefix == f"file://{tmp_path}/fast"
    assert list(glance_store.get_known_schemes()) == []


@pytest.mark.parametrize("uri", ["/var/lib/glance/staging/x", "gopher://x", "", None, "memory://memo/x"])
def test_schemes_that_the_store_does_not_read(two, uri):
    with pytest.raises(glance_store.UnknownScheme):
        location.get_location_from_uri_and_backend(uri, "fast")


def test_locations_that_cannot_be(two):
    with pytest.raises(glance_store.UnknownScheme):
        location.get_location_from_uri_and_backend("file:///x", "nope")
    with pytest.raises(glance_store.BadStoreUri):
        location.get_location_from_uri_and_backend("file://host/x", "fast")
    assert location.get_location_from_uri_and_backend("file:///elsewhere/x", "fast")


def test_locations_show_no_secret(serve):
    serve("[DEFAULT]\nenabled_backends = web:http\n")
    at = location.get_location_from_uri_and_backend("https://me:SECRET@host/x", "web")
    assert "SECRET" not in f"{at!r} {at.store_location!r}"
    assert at.store_location.scheme == "https"
    with pytest.raises(glance_store.NotFound) as raised:
        glance_store.get("https://me:SECRET@host:99999/x", None)
    assert "SECRET" not in raised.value.msg
    with pytest.raises(glance_store.BadStoreUri) as malformed:
        glance_store.get("https://me:SECRET@host:99999/x", "web")
    assert "SECRET" not in malformed.value.msg


# -- what services read -----------------------------------------------------------------------------------------------


def test_attributes_of_file_stores(serve, tmp_path):
    serve(
        "[DEFAULT]\nenabled_backends = one:file, several:file\n"
        "[one]\nfilesystem_store_datadir = {path}/one\nfilesystem_store_chunk_size = 123\n"
        "[several]\nfilesystem_store_datadir =\nfilesystem_store_datadirs = {path}/a:1\n"
        "filesystem_store_datadirs = {path}/b:2\nfilesystem_thin_provisioning = true\n"
    )
    one, several = store("one"), store("several")
    assert (one.datadir, one.chunk_size, one.thin_provisioning) == (f"{tmp_path}/one", 123, False)
    assert (several.datadir, several.chunk_size, several.thin_provisioning) == (f"{tmp_path}/b", 65536, True)
    assert several.url_prefix == f"file://{tmp_path}/b"
    assert one.backend_group == "one"
    assert not hasattr(one, "pool")
    assert copy.copy(one).datadir == one.datadir


#: What must be written for a store of a type that a test can make without a server.
WRITTEN = {
    "s3": """
s3_store_host = http://127.0.0.1:1
s3_store_access_key = a
s3_store_secret_key = b
s3_store_bucket = bucket
""",
    "swift": """
swift_store_auth_address = http://127.0.0.1:1
swift_store_user = a:b
swift_store_key = c
""",
}
SHOWN: dict[str, dict[str, Any]] = {
    "s3": {
        "s3_store_large_object_size": 100 * 2**20,
        "s3_store_large_object_chunk_size": 10 * 2**20,
        "s3_store_thread_pools": 10,
    },
    "rbd": {"chunk_size": 8 * 2**20, "pool": "images", "thin_provisioning": False},
    "swift": {
        "container": "glance",
        "large_object_size": 5120 * 1024000,
        "large_object_chunk_size": 200 * 1024000,
    },
    "http": {},
}


@pytest.mark.parametrize("driver", sorted(set(_attributes.ATTRIBUTES) & set(DriverRegistry().names())))
def test_attributes_of_every_type(serve, tmp_path, monkeypatch, driver):
    monkeypatch.setattr(_rbd_opts, "missing_bindings", list)  # nothing is asked of a cluster here
    text = WRITTEN.get(driver, "filesystem_store_datadir = {path}/it\n" if driver == "file" else "")
    serve(f"[DEFAULT]\nenabled_backends = it:{driver}\n[it]\n{text}")
    found = {name: getattr(store("it"), name) for name in _attributes.ATTRIBUTES[driver]}
    json.dumps({name: vars(value) if name == "store_conf" else value for name, value in found.items()})
    for name, value in SHOWN.get(driver, {}).items():
        assert found[name] == value, name


def test_capabilities(two, serve):
    bits = BitMasks
    assert store("fast").is_capable(bits.READ_RANDOM, bits.WRITE_ACCESS, bits.DRIVER_REUSABLE)
    assert not store("fast").is_capable(bits.WRITE_RANDOM)
    held = StoreCapability(bits.READ_ACCESS)
    held.set_capabilities(bits.WRITE_ACCESS)
    assert held.is_capable(bits.RW_ACCESS)
    held.unset_capabilities(bits.WRITE_ACCESS)
    held.update_capabilities()
    assert held.capabilities == bits.READ_ACCESS
    assert not held.is_capable(bits.READ_OFFSET)
    assert StoreCapability.contains(bits.ALL, bits.RW_RANDOM)


def test_the_prefix_of_an_rbd_store_asks_the_cluster_once(it):
    from store_lib.compat._drivers.rbd import Store

    plain = store("it")
    asked: Any = Store(plain.core, plain._generation, plain.conf, "it")
    assert asked.url_prefix == "memory://it/"
    assert it.told == []  # what is known is not asked for

    plain.core.prefix = lambda: None
    it.failures["probe"] = errors.StoreUnavailable("down")
    assert [asked.url_prefix, asked.url_prefix] == ["rbd://", "rbd://"]
    assert it.told == [("probe",)]
    assert Store(plain.core, plain._generation, plain.conf, None).url_prefix is None


def test_volumes_without_a_store(two, tmp_path):
    from store_lib.compat._drivers.cinder import Store

    class Core:
        schemes = ("cinder",)

        def stat(self, uri, context):
            if uri != "cinder://mine":
                raise errors.ForeignLocation("another's") if "other" in uri else errors.NotFound("none")

    asked: Any = Store.__new__(Store)
    asked.core = Core()
    asked._generation = store("fast")._generation
    found = {each: asked.is_image_associated_with_store(None, each) for each in ("mine", "other", "absent")}
    assert found == {"mine": True, "other": False, "absent": False}


# -- exceptions -------------------------------------------------------------------------------------------------------


def test_exceptions_take_a_text_or_keywords():
    assert exceptions.NotFound(image="abc").msg == "Image abc not found"
    assert str(exceptions.NotFound("my words")) == "my words"
    assert str(exceptions.NotFound(message="my words")) == "my words"
    assert exceptions.UnknownScheme(scheme="x").msg == "Unknown scheme 'x' found in URI"
    assert exceptions.NotFound().msg == "Image %(image)s not found"
    assert exceptions.GlanceStoreException().msg
    assert str(exceptions.RedirectException("https://x").url) == "https://x"
    assert exceptions.Invalid.message
    assert not issubclass(exceptions.BackendException, exceptions.GlanceStoreException)
    assert issubclass(exceptions.UnsupportedBackend, exceptions.BackendException)


@pytest.mark.parametrize("name", exceptions.__all__)
def test_exceptions_cross_processes(name):
    made = getattr(exceptions, name)("what happened: 100% lost")
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is type(made)
    assert str(again) == str(made) == "what happened: 100% lost"
    assert getattr(again, "msg", None) == getattr(made, "msg", None)


# -- helpers ----------------------------------------------------------------------------------------------------------


def test_helpers():
    from store_lib.compat.common import utils

    assert utils.is_uuid_like("71C675AB-d94f-49cd-a114-e12490b328d9")
    assert utils.is_uuid_like("{71c675abd94f49cda114e12490b328d9}")
    assert not utils.is_uuid_like("71c675ab")
    assert not utils.is_uuid_like(None)
    assert list(utils.chunkreadable(io.BytesIO(b"abcde"), 2)) == [b"ab", b"cd", b"e"]
    chunks = [b"a"]
    assert utils.chunkreadable(chunks) is chunks
    assert utils.get_hasher("md5", False).hexdigest() == "d41d8cd98f00b204e9800998ecf8427e"
