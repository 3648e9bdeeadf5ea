"""Stores: made from a configuration, found by id, location and weight."""

import logging
import threading
import time

import pytest
from oslo_config import cfg

from store_lib import Location, Stores, errors
from store_lib.drivers.memory import MemoryDriver
from store_lib.interface import Status
from store_lib.stores import StoreEntry
from store_lib.tests import fakes

THREE = """
[DEFAULT]
enabled_backends = light:memory, heavy:memory, middle:memory
[glance_store]
default_backend = middle
[heavy]
weight = 10
[middle]
weight = 5
store_description = In the middle
"""


def mistakes(make, text, **arguments):
    """Return every mistake of a configuration, as texts."""
    with pytest.raises(errors.ConfigurationError) as raised:
        make(text, **arguments)
    return [str(mistake) for mistake in raised.value.mistakes]


# -- finding ----------------------------------------------------------------------------------------------------------


def test_stores_are_found_by_id(make_stores):
    stores = make_stores(THREE)
    assert list(stores) == ["light", "heavy", "middle"]
    assert len(stores) == 3
    assert stores["heavy"].id == "heavy"
    assert stores["heavy"].type == "memory"
    assert stores["middle"].description == "In the middle"
    assert "heavy" in stores
    assert "nope" not in stores
    assert stores.get("nope") is None
    with pytest.raises(errors.UnknownStore, match="there are: light, heavy, middle"):
        stores["nope"]


def test_stores_that_a_service_names_in_its_own_way(tmp_path, caplog):
    path = tmp_path / "it.conf"
    path.write_text("[common]\nmemory_store_size = 7\nweight = 4\n[backend_defaults]\nmemory_store_size = 9\n")
    conf = cfg.ConfigOpts()
    conf(["--config-file", str(path)], default_config_files=[], default_config_dirs=[])
    entries = [
        StoreEntry("one", "memory", group="common"),
        StoreEntry("two", "memory"),
        StoreEntry("kept", "memory", shared=False, defaults={"memory_store_size": 5}),
        StoreEntry("bad", "no-such-driver"),
    ]
    with Stores.from_entries(conf, entries, "two") as stores:
        assert {name: store.options()["memory_store_size"]["value"] for name, store in stores.items()} == {
            "one": 7,
            "two": 9,
            "kept": 5,
        }
        assert stores["one"].weight == 4
        assert stores.default.id == "two"
        assert list(stores.broken) == ["bad"]
        assert sum("no-such-driver" in record.getMessage() for record in caplog.records) == 1


def test_the_heaviest_comes_first(make_stores):
    assert [store.id for store in make_stores(THREE).by_weight()] == ["heavy", "middle", "light"]


def test_the_default_store(make_stores):
    assert make_stores(THREE).default.id == "middle"
    assert make_stores("[DEFAULT]\nenabled_backends = one:memory\n").default.id == "one"


def test_a_location_is_found_by_its_store_or_by_its_uri(make_stores):
    stores = make_stores(THREE)
    assert stores.locate("memory://light/x").id == "light"
    assert stores.locate(Location("memory://light/x", "light")).id == "light"
    with pytest.raises(errors.UnknownStore, match="memory://other/x"):
        stores.locate("memory://other/x")
    with pytest.raises(errors.UnknownStore):
        stores.locate("tape://x")
    with pytest.raises(errors.UnknownStore):
        stores.locate(Location("memory://light/x", "gone"))
    with pytest.raises(errors.BadLocation):
        stores.locate("memory://light/.x")
    with pytest.raises(errors.BadLocation):
        stores.locate("nonsense")


def test_of_several_owners_of_a_uri_the_heaviest_wins(make_stores):
    class Everywhere(MemoryDriver):
        def parse(self, uri):
            return super().parse(f"memory://{self.settings.id}/{uri.rpartition('/')[2]}")

    stores = make_stores(THREE.replace(":memory", ":every"), drivers={"every": Everywhere})
    assert stores.locate("memory://light/x").id == "heavy"


# -- mistakes ---------------------------------------------------------------------------------------------------------


def test_every_mistake_of_every_store_is_told_at_once(make_stores, installed, tmp_path):
    found = mistakes(
        make_stores,
        f"""
[DEFAULT]
enabled_backends = one:memory, two:memmory, glance_store:memory, three:memory, b@d:memory, four:lame,five:file,six:needy
[glance_store]
default_backend = nope
[one]
weight = heavy
digests = sha513
[three]
disabled_features = flying
memory_store_size = -1
[five]
filesystem_store_datadir = {tmp_path}/one
filesystem_store_datadirs = {tmp_path}/two
""",
        drivers={"lame": Lame},
    )
    text = "\n".join(found)
    for words in (
        "one: weight: ",
        "one: digests: 'sha513'",
        "two: enabled_backends: no driver 'memmory' is installed; did you mean 'memory'?",
        "glance_store: enabled_backends: 'glance_store' cannot be the id",
        "b@d: enabled_backends: 'b@d' cannot be the id",
        "three: disabled_features: 'flying' is no feature",
        "three: memory_store_size: ",
        "four: lame_leg: it is lame; mend it",
        "five: filesystem_store_datadir",
        "six: enabled_backends: driver 'needy' cannot be loaded",
        "[glance_store] default_backend: there is no store 'nope'",
    ):
        assert words in text
    assert len(found) == 11


class Lame(MemoryDriver):
    """A driver that never likes its settings."""

    @classmethod
    def check(cls, settings):
        yield errors.Mistake(settings.id, "lame_leg", "it is lame", "mend it")


@pytest.mark.parametrize("store_id", ["DEFAULT", "glance_store", "backend_defaults", "-x", ".x", "a/b"])
def test_ids_that_cannot_be(make_stores, store_id):
    assert (
        "cannot be the id of a store" in mistakes(make_stores, f"[DEFAULT]\nenabled_backends = {store_id}:memory\n")[0]
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no store is enabled"),
        ("[DEFAULT]\nenabled_backends =\n", "no store is enabled"),
        ("[DEFAULT]\nenabled_backends = fast\n", "write ID:TYPE"),
        ("[DEFAULT]\nenabled_backends = a:memory, a:file\n", "Duplicate key a"),
        ("[DEFAULT]\nenabled_backends = a:memory, b:memory\n", "none is the default"),
        ("[DEFAULT]\nenabled_backends = a:memory\n[glance_store]\ndefault_backend = b\n", "there is no store 'b'"),
    ],
)
def test_mistakes_that_concern_all_stores(make_stores, text, words):
    (found,) = mistakes(make_stores, text)
    assert words in found


def test_what_works_is_made_when_asked_to_be_lenient(make_stores, logged):
    stores = make_stores(
        "[DEFAULT]\nenabled_backends = good:memory, bad:nope, ugly:memory\n"
        "[glance_store]\ndefault_backend = bad\n[ugly]\nweight = x\n",
        strict=False,
    )
    assert list(stores) == ["good"]
    assert set(stores.broken) == {"bad", "ugly"}
    with pytest.raises(errors.ConfigurationError, match="no driver 'nope'"):
        stores["bad"]
    with pytest.raises(errors.ConfigurationError, match="no driver 'nope'"):
        str(stores.default)
    assert len(logged(logging.WARNING)) >= 2
    assert stores["good"].add("x", b"abc").size == 3


def test_several_stores_without_a_default_can_be_used_by_id(make_stores):
    stores = make_stores("[DEFAULT]\nenabled_backends = a:memory, b:memory\n", strict=False)
    assert stores["a"].add("x", b"abc").size == 3
    with pytest.raises(errors.UnknownStore, match="default_backend"):
        str(stores.default)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(errors.ConfigurationError, match=r"nope\.conf"):
        Stores.from_file(tmp_path / "nope.conf")
    (tmp_path / "bad.conf").write_text("this is no configuration\n")
    with pytest.raises(errors.ConfigurationError):
        Stores.from_file(tmp_path / "bad.conf")


def test_of_several_files_the_last_one_wins(tmp_path):
    (tmp_path / "one.conf").write_text("[DEFAULT]\nenabled_backends = a:memory\n[a]\nweight = 1\n")
    (tmp_path / "two.conf").write_text("[a]\nweight = 2\n")
    with Stores.from_file(tmp_path / "one.conf", str(tmp_path / "two.conf")) as stores:
        assert stores["a"].weight == 2


# -- the caller's configuration ---------------------------------------------------------------------------------------


def test_the_callers_configuration_is_not_changed_and_may_be_used_again(tmp_path):
    path = tmp_path / "it.conf"
    path.write_text(THREE + "[backend_defaults]\nmemory_store_size = 1000\n")
    conf = cfg.ConfigOpts()
    conf.register_opt(cfg.IntOpt("weight", default=77), "light")
    conf(["--config-file", str(path)], project="test", default_config_files=[], default_config_dirs=[])
    with Stores.from_config(conf) as first, Stores.from_config(conf) as second:
        assert conf.light.weight == 77
        assert conf.heavy.weight == 10
        assert conf.light.memory_store_size == 256 * 1024 * 1024
        assert conf.backend_defaults.memory_store_size == 1000
        assert first["heavy"].capacity().total == second["heavy"].capacity().total == 1000


def test_several_objects_share_no_state(make_stores):
    one, two = make_stores(THREE), make_stores(THREE)
    one["light"].add("x", b"one")
    two["light"].add("x", b"second")
    assert one["light"].open("memory://light/x").read() == b"one"
    assert two["light"].open("memory://light/x").read() == b"second"
    one["light"].delete("memory://light/x")
    one.close()
    assert two["light"].stat("memory://light/x").size == 6
    assert one["light"]._runtime.pool is not two["light"]._runtime.pool


# -- life -------------------------------------------------------------------------------------------------------------


def test_start_asks_all_stores_at_once(make_stores):
    driver = fakes.fake()
    driver.script.act("probe", lambda: time.sleep(0.3))
    stores = make_stores(THREE.replace(":memory", ":fake"), drivers={"fake": driver})
    began = time.monotonic()
    found = stores.start()
    assert time.monotonic() - began < 0.8
    assert {store_id: health.status for store_id, health in found.items()} == dict.fromkeys(stores, Status.UP)
    assert driver.script.count("probe") == 3


def test_start_leaves_out_what_is_not_to_be_asked_and_raises_nothing(make_stores):
    driver = fakes.fake()
    driver.script.fail("probe", fakes.passing("gone"))
    text = THREE.replace(":memory", ":fake") + "[light]\nprobe_on_start = false\n"
    found = make_stores(text, drivers={"fake": driver}).start()
    assert {store_id: health.status for store_id, health in found.items()} == {
        "heavy": Status.DOWN,
        "middle": Status.DOWN,
    }
    assert make_stores(THREE.replace("[heavy]", "[backend_defaults]\nprobe_on_start = no\n[heavy]")).start() == {}


def test_nothing_is_asked_before_the_first_use(make_stores):
    driver = fakes.fake()
    before = threading.active_count()
    stores = make_stores(THREE.replace(":memory", ":fake"), drivers={"fake": driver})
    assert driver.script.calls == []
    assert threading.active_count() == before
    stores["light"].add("x", b"abc")
    assert driver.script.count("probe") == 1


def test_after_close_nothing_works_and_closing_again_is_harmless(make_stores):
    stores = make_stores(THREE)
    place = stores["light"].add("x", b"abc").location
    assert stores.close() == []
    assert stores.close() == []
    store = stores["light"]
    for use in (
        lambda: store.add("y", b""),
        lambda: store.open(place),
        lambda: store.delete(place),
        lambda: list(store.list()),
        lambda: store.probe(),
        lambda: store.capacity(),
    ):
        with pytest.raises(errors.StoreClosed) as raised:
            use()
        assert raised.value.store == "light"


def test_close_takes_no_longer_than_it_may_and_tells_what_is_stuck(make_stores, monkeypatch):
    monkeypatch.setattr("store_lib.runtime.GRACE", 0.05)
    driver = fakes.fake()
    gate = driver.script.block("delete")
    text = THREE.replace(":memory", ":fake") + "[backend_defaults]\noperation_timeout = 0.1\nretry_attempts = 1\n"
    stores = make_stores(text, drivers={"fake": driver})
    place = stores["light"].add("x", b"abc").location
    with pytest.raises(errors.OperationTimeout):
        stores["light"].delete(place)
    began = time.monotonic()
    (line,) = stores.close(1)
    assert time.monotonic() - began < 2
    assert "light" in line
    gate.open()
