"""Options and the making of stores: as services with several stores start."""

import io
import threading
from typing import Any

import pytest
from oslo_config import cfg

import store_lib.compat as glance_store
from store_lib.compat import _making, exceptions, location
from store_lib.tests import support
from store_lib.tests.unit.compat.conftest import RESERVED

TWO = (
    "[DEFAULT]\nenabled_backends = fast:file, cheap:file\n[glance_store]\ndefault_backend = fast\n"
    "[fast]\nfilesystem_store_datadir = {path}/fast\n[cheap]\nfilesystem_store_datadir = {path}/cheap\n"
)


def newest():
    """Return the stores that were made last."""
    made = _making._CURRENT.multi
    assert made is not None
    return made.stores


def staging(conf):
    """Return a staging store, as services make one for each request."""
    store = glance_store.backend._load_store(conf, "file")
    assert store is not None
    return store


def stores():
    """Return the stores in use by id."""
    return {name: row["store"] for each in location.SCHEME_TO_CLS_BACKEND_MAP.values() for name, row in each.items()}


# -- options ----------------------------------------------------------------------------------------------------------


def test_each_store_has_its_options_in_its_group(configure):
    conf = configure(TWO + "weight = 3\nstore_description = for old things\n")
    glance_store.register_store_opts(conf)
    assert conf.fast.filesystem_store_chunk_size == 65536
    assert (conf.cheap.weight, conf.cheap.store_description) == (3, "for old things")
    assert (conf.fast.weight, conf.fast.store_description) == (0, None)
    assert conf.glance_store.default_backend == "fast"


def test_reserved_stores_have_their_own_directories(configure):
    conf = configure(TWO + "[backend_defaults]\nfilesystem_store_datadir = /shared\nfilesystem_store_chunk_size = 9\n")
    glance_store.register_store_opts(conf, reserved_stores=RESERVED)
    for name in RESERVED:
        assert conf[name].filesystem_store_datadir == f"/var/lib/glance/{name}"
        assert conf[name].filesystem_store_chunk_size == 65536
        assert conf.enabled_backends[name] == "file"


def test_reserved_stores_work_where_the_service_says(configure, tmp_path):
    conf = configure(TWO + "[os_glance_tasks_store]\nfilesystem_store_datadir = {path}/tasks\n")
    glance_store.register_store_opts(conf, reserved_stores=RESERVED)
    conf.set_override("filesystem_store_datadir", str(tmp_path / "staging"), "os_glance_staging_store")
    glance_store.create_multi_stores(conf, reserved_stores=RESERVED)
    assert set(conf.enabled_backends) == {"fast", "cheap", *RESERVED}
    assert stores()["os_glance_tasks_store"].datadir == f"{tmp_path}/tasks"
    staging = glance_store.get_store_from_store_identifier("os_glance_staging_store")
    assert staging.add("one", io.BytesIO(b"x"), 1)[0] == f"file://{tmp_path}/staging/one"


def test_reserved_stores_are_known_by_their_names(configure, tmp_path, monkeypatch):
    # glance-scrubber names none, but the dictionary of another part of the process has them
    conf = configure(
        "[DEFAULT]\nenabled_backends = fast:memory, os_glance_tasks_store:file\n"
        "[backend_defaults]\nfilesystem_store_datadir = {path}/shared\n"
    )
    glance_store.register_store_opts(conf)
    assert conf.os_glance_tasks_store.filesystem_store_datadir == "/var/lib/glance/os_glance_tasks_store"
    monkeypatch.setattr("store_lib.compat.driver.Store.configure", lambda store, re_raise_bsc=False: None)
    glance_store.create_multi_stores(conf)
    assert stores()["os_glance_tasks_store"].datadir == "/var/lib/glance/os_glance_tasks_store"


def test_registering_and_making_may_be_repeated(configure, tmp_path):
    conf = configure(TWO)
    for _ in range(3):
        glance_store.register_store_opts(conf, reserved_stores={"os_glance_tasks_store": "file"})
    conf.set_override("filesystem_store_datadir", str(tmp_path / "tasks"), "os_glance_tasks_store")
    for _ in range(3):
        assert glance_store.create_multi_stores(conf, reserved_stores={"os_glance_tasks_store": "file"}) == 3


def test_values_are_read_when_the_stores_are_made(configure, tmp_path):
    conf = configure(TWO)
    glance_store.register_store_opts(conf)
    conf.set_override("filesystem_store_datadir", str(tmp_path / "other"), "fast")
    glance_store.create_multi_stores(conf)
    assert stores()["fast"].datadir == str(tmp_path / "other")


def test_the_samples_of_the_service_name_every_option():
    found = dict(glance_store.multi_backend._list_config_opts())
    assert {"glance_store", "file", "http"} <= set(found)
    assert {"weight", "filesystem_store_datadir"} <= {option.name for option in found["file"]}
    ((group, options),) = glance_store.backend._list_opts()
    assert group == "glance_store"
    assert {"stores", "default_store", "filesystem_store_datadir"} <= {option.name for option in options}
    assert all(option.help for options in found.values() for option in options)


# -- making -----------------------------------------------------------------------------------------------------------


def test_directories_are_made(serve, tmp_path):
    serve(TWO)
    assert (tmp_path / "fast").is_dir()
    assert (tmp_path / "cheap").is_dir()


def test_stores_are_found_by_id(two):
    assert glance_store.get_store_from_store_identifier("cheap").core.id == "cheap"
    missing: tuple[Any, ...] = ("nope", None, "")
    for name in missing:
        with pytest.raises(glance_store.UnknownScheme) as raised:
            glance_store.get_store_from_store_identifier(name)
        assert str(name) in raised.value.msg


def test_weights(two):
    assert glance_store.get_store_weight("fast") == two.fast.weight == 7
    assert glance_store.get_store_weight("cheap") == 0
    with pytest.raises(glance_store.UnknownScheme):
        glance_store.get_store_weight("nope")
    two.set_override("weight", 9, group="cheap")
    assert glance_store.get_store_weight("cheap") == 9


def test_a_mistake_is_one_warning_and_closes_one_store(serve, caplog, tmp_path):
    text = TWO.replace("cheap:file", "cheap:file, odd:no-such-type").replace(
        "[cheap]\n", "[cheap]\nfilesystem_store_file_perm = 999\n"
    )
    serve(text)
    assert set(stores()) == {"fast", "cheap"}
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(warnings) == 2, warnings
    assert "no-such-type" in warnings[1]
    assert "filesystem_store_file_perm" in warnings[0]
    closed = stores()["cheap"]
    uri = f"file://{tmp_path}/cheap/one"
    with pytest.raises(glance_store.StoreAddDisabled, match="filesystem_store_file_perm"):
        closed.add("one", io.BytesIO(b"x"), 1)
    with pytest.raises(glance_store.RemoteServiceUnavailable, match="until its configuration is mended"):
        glance_store.get(uri, "cheap")
    for name in ("cheap", None):
        with pytest.raises(exceptions.TimeoutError):
            glance_store.delete(uri, name)
    closed.set_acls(uri, public=True)
    assert (closed.datadir, closed.chunk_size, closed.weight, closed.url_prefix) == (
        f"{tmp_path}/cheap",
        65536,
        0,
        None,
    )
    assert not (tmp_path / "cheap").exists()


def test_a_store_that_is_down_at_the_start_reads_and_does_not_add(serve, tmp_path):
    (tmp_path / "fast").write_text("in the way")
    serve(TWO)
    with pytest.raises(glance_store.StoreAddDisabled):
        stores()["fast"].add("one", io.BytesIO(b"x"), 1)
    with pytest.raises(glance_store.RemoteServiceUnavailable):
        glance_store.get(f"file://{tmp_path}/fast/one", "fast")
    stores()["cheap"].add("one", io.BytesIO(b"x"), 1)


def test_a_driver_without_schemes(configure, scripted):
    conf = configure("[DEFAULT]\nenabled_backends = odd:nameless\n")
    with pytest.raises(glance_store.BackendException, match="odd"):
        glance_store.create_multi_stores(conf)


def test_the_default_store_must_be_there(serve, conf):
    serve(TWO)
    glance_store.verify_store()
    conf.set_override("default_backend", "nope", "glance_store")
    with pytest.raises(RuntimeError, match="'nope'"):
        glance_store.verify_store()
    conf.set_override("default_backend", None, "glance_store")
    with pytest.raises(RuntimeError, match="not set"):
        glance_store.verify_store()


# -- making them again ------------------------------------------------------------------------------------------------


def test_the_newest_stores_win(two, tmp_path):
    two.set_override("filesystem_store_datadir", str(tmp_path / "newer"), "fast")
    two.set_override("enabled_backends", {"fast": "file"})
    glance_store.create_multi_stores(two)
    assert set(stores()) == {"fast"}
    assert glance_store.add(two, "one", io.BytesIO(b"x"), 1, "fast")[0] == f"file://{tmp_path}/newer/one"


def test_maps_that_were_bound_anew_are_the_ones_that_count(two):
    location.SCHEME_TO_CLS_BACKEND_MAP = {}
    with pytest.raises(glance_store.UnknownScheme):
        glance_store.get_store_from_store_identifier("fast")
    glance_store.create_multi_stores(two)
    assert set(stores()) == {"fast", "cheap", "memo"}


def test_replaced_stores_go_on_until_their_last_transfer_ends(two, tmp_path):
    uri = glance_store.add(two, "one", io.BytesIO(b"x" * 100), 0, "fast")[0]
    before = newest()
    reading, _ = glance_store.get(uri, "fast")
    gate, begun = threading.Event(), threading.Event()

    class Slow:
        def read(self, size):
            begun.set()
            assert gate.wait(60)
            return b""

    written = []
    thread = threading.Thread(target=lambda: written.append(glance_store.add(two, "two", Slow(), 0, "fast")))
    thread.start()
    assert begun.wait(60)
    glance_store.create_multi_stores(two)
    assert newest() is not before
    assert b"".join(reading) == b"x" * 100
    assert not before["fast"]._closed  # the one that writes
    gate.set()
    thread.join(60)
    assert written[0][1] == 0
    assert before["fast"]._closed
    assert glance_store.get_size_from_uri_and_backend(uri, "fast") == 100


def test_stores_that_nobody_uses_close_at_once(two):
    before = newest()
    glance_store.create_multi_stores(two)
    assert before["fast"]._closed


def test_a_store_object_from_before_goes_on(two, tmp_path):
    before = stores()["fast"]
    two.set_override("filesystem_store_datadir", str(tmp_path / "newer"), "fast")
    glance_store.create_multi_stores(two)
    glance_store.create_multi_stores(two)
    uri = before.add("one", io.BytesIO(b"x"), 1)[0]
    assert uri == f"file://{tmp_path}/newer/one"
    assert b"".join(before.get(uri)[0]) == b"x"
    before.delete(uri)


def test_a_store_that_was_taken_away(two):
    before = stores()["fast"]
    uri = before.add("one", io.BytesIO(b"x"), 1)[0]
    two.set_override("enabled_backends", {"cheap": "file"})
    glance_store.create_multi_stores(two)
    with pytest.raises(glance_store.StoreAddDisabled):
        before.add("two", io.BytesIO(b"x"), 1)
    with pytest.raises(glance_store.RemoteServiceUnavailable):
        before.get(uri)
    with pytest.raises(exceptions.TimeoutError):
        before.delete(uri)


def test_a_reader_that_is_forgotten_keeps_nothing_open(two):
    uri = glance_store.add(two, "one", io.BytesIO(b"x" * 100), 0, "fast")[0]
    before = newest()
    reading, _ = glance_store.get(uri, "fast")
    glance_store.create_multi_stores(two)
    assert not before["fast"]._closed
    del reading
    support.until(lambda: before["fast"]._closed)


# -- the single-store mode --------------------------------------------------------------------------------------------


@pytest.fixture
def single(configure):
    conf = configure("[glance_store]\nstores = file, http\nfilesystem_store_datadir = {path}/images\n")
    glance_store.register_opts(conf)
    assert glance_store.create_stores(conf) == 2
    return conf


def test_the_single_store_mode(single, tmp_path):
    glance_store.verify_default_store()
    assert {"file", "filesystem", "http", "https"} == set(glance_store.get_known_schemes())
    assert list(glance_store.get_known_schemes_for_multi_store()) == []
    uri, size, checksum, multihash, metadata = glance_store.add_to_backend_with_multihash(
        single, "one", io.BytesIO(b"abc"), 3, "sha256"
    )
    assert (uri, size, metadata) == (f"file://{tmp_path}/images/one", 3, {})
    assert (len(checksum), len(multihash)) == (32, 64)
    assert glance_store.add_to_backend(single, "two", io.BytesIO(b"d"), 1, scheme="filesystem")[1] == 1
    data, size = glance_store.get_from_backend(uri, offset=1)
    assert (b"".join(data), size) == (b"bc", 3)
    assert glance_store.get_size_from_backend(uri) == 3
    glance_store.set_acls(uri, public=True, read_tenants=[])
    glance_store.delete_from_backend(uri)
    with pytest.raises(glance_store.NotFound):
        glance_store.delete_from_backend(uri)


def test_stores_of_the_single_store_mode(single, tmp_path):
    store = glance_store.get_store_from_scheme("file")
    assert (store.url_prefix, store.weight, store.backend_group) == (None, 0, None)
    assert store.datadir == str(tmp_path / "images")
    assert glance_store.get_store_from_uri("file:///x") is store
    assert glance_store.get_store_from_location(f"file://{tmp_path}/images/x") == "file"
    for ask in (glance_store.get_store_from_scheme, glance_store.get_store_from_uri):
        with pytest.raises(glance_store.UnknownScheme):
            ask("gopher://x")
    with pytest.raises(glance_store.UnknownScheme):
        glance_store.get_from_backend("gopher://x")


def test_the_default_scheme_must_be_served(single):
    single.set_override("default_store", "rbd", "glance_store")
    with pytest.raises(RuntimeError, match="'rbd'"):
        glance_store.verify_default_store()


def test_old_names_of_types(configure):
    conf = configure(
        "[glance_store]\nstores = filesystem, glance.store.http.Store\nfilesystem_store_datadir = {path}/images\n"
    )
    assert glance_store.create_stores(conf) == 2
    assert "https" in glance_store.get_known_schemes()


def test_options_on_a_configuration_that_was_never_parsed(tmp_path):
    made = []
    for name in ("a", "b"):
        conf = cfg.ConfigOpts()
        glance_store.backend.register_opts(conf)
        glance_store.backend.register_opts(conf)
        conf.set_override("filesystem_store_datadir", str(tmp_path / name), group="glance_store")
        store = staging(conf)
        store.configure()
        made.append(store)
    for name, store in zip("ab", made, strict=True):
        uri, size, _, metadata = store.add("it", io.BytesIO(b"abc"), 3)
        assert (uri, size, metadata) == (f"file://{tmp_path}/{name}/it", 3, {})
    assert location.SCHEME_TO_CLS_MAP == {}


def test_a_staging_store_that_cannot_be_made(tmp_path):
    conf = cfg.ConfigOpts()
    glance_store.register_opts(conf)
    conf.set_override("filesystem_store_datadir", "not absolute", group="glance_store")
    assert glance_store.backend._load_store(conf, "file") is None
    assert glance_store.backend._load_store(conf, "no-such-type") is None


def test_forgotten_staging_stores_leave_nothing_behind(tmp_path, no_leaks):
    for _ in range(5):
        conf = cfg.ConfigOpts()
        glance_store.register_opts(conf)
        conf.set_override("filesystem_store_datadir", str(tmp_path / "staging"), group="glance_store")
        store = staging(conf)
        store.add("it", io.BytesIO(b"abc"), 3)
        store.delete(f"file://{tmp_path}/staging/it")
        del store, conf


def test_exceptions_are_the_same_objects_everywhere():
    for name in exceptions.__all__:
        assert getattr(glance_store, name) is getattr(exceptions, name)
