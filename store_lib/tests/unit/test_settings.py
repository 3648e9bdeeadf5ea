"""Settings: where a value comes from, and every mistake at once."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from oslo_config import cfg

from store_lib import errors, opts
from store_lib.drivers.memory import MemoryDriver
from store_lib.interface import MIB, Feature
from store_lib.settings import Origin, resolve


class Tape(MemoryDriver):
    """A driver with options of every kind."""

    OPTIONS = (
        *MemoryDriver.OPTIONS,
        cfg.StrOpt("tape_host", default="localhost"),
        cfg.StrOpt("tape_password", secret=True, default="builtin"),
        cfg.IntOpt("tape_pin", secret=True, default=0),
        cfg.IntOpt("tape_timeout", default=7),
        cfg.IntOpt("tape_level", default=1, min=0, max=9),
        cfg.StrOpt("tape_mode", default="slow", choices=["slow", "fast"]),
        cfg.MultiStrOpt("tape_dirs", default=["/a"]),
    )
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"part_size": 16 * MIB, "parallel": 4}
    STANDS_FOR: ClassVar[Mapping[str, str]] = {"tape_timeout": "operation_timeout"}


@pytest.fixture
def conf_of(tmp_path):
    """Return a function that returns the configuration object of a file."""

    def make(text=""):
        path = tmp_path / "test.conf"
        path.write_text(text)
        conf = cfg.ConfigOpts()
        conf(["--config-file", str(path)], project="test", default_config_files=[], default_config_dirs=[])
        return conf

    return make


def settings_of(conf, store="it", **arguments):
    settings, mistakes = resolve(conf, store, "tape", Tape, **arguments)
    assert not mistakes
    assert settings is not None
    return settings


def mistakes_of(conf):
    settings, mistakes = resolve(conf, "it", "tape", Tape)
    assert settings is None
    return {mistake.option: mistake for mistake in mistakes}


@pytest.mark.parametrize(
    ("text", "value", "origin"),
    [
        ("", "localhost", Origin.OPTION),
        ("[backend_defaults]\ntape_host = shared\n", "shared", Origin.SHARED),
        ("[it]\ntape_host = own\n", "own", Origin.STORE),
        ("[it]\ntape_host = own\n[backend_defaults]\ntape_host = shared\n", "own", Origin.STORE),
        ("[other]\ntape_host = other\n[DEFAULT]\ntape_host = x\n", "localhost", Origin.OPTION),
        ("[it]\ntape_host = localhost\n[backend_defaults]\ntape_host = shared\n", "localhost", Origin.STORE),
    ],
)
def test_a_value_and_its_origin(conf_of, text, value, origin):
    settings = settings_of(conf_of(text))
    assert settings["tape_host"] == value
    assert settings.origin("tape_host") is origin


@pytest.mark.parametrize(
    ("text", "value", "origin"),
    [
        ("", 16 * MIB, Origin.DRIVER),
        ("[backend_defaults]\npart_size = 1048576\n", MIB, Origin.SHARED),
        ("[it]\npart_size = 1048576\n", MIB, Origin.STORE),
    ],
)
def test_the_drivers_default_comes_before_the_options(conf_of, text, value, origin):
    settings = settings_of(conf_of(text))
    assert settings.base.part_size == value
    assert settings.origin("part_size") is origin
    assert settings.base.weight == 0
    assert settings.origin("weight") is Origin.OPTION


def test_only_what_somebody_wrote_is_by_the_operator():
    assert [origin for origin in Origin if origin.by_operator] == [Origin.STORE, Origin.SHARED]


@pytest.mark.parametrize(
    ("text", "timeout"),
    [
        ("", 60),
        ("[it]\ntape_timeout = 9\n", 9),
        ("[backend_defaults]\ntape_timeout = 9\n", 9),
        ("[it]\ntape_timeout = 9\noperation_timeout = 5\n", 5),
        ("[it]\noperation_timeout = 0\n", None),
    ],
)
def test_an_option_that_stands_for_a_base_one(conf_of, text, timeout):
    assert settings_of(conf_of(text)).base.operation_timeout == timeout


def test_a_reserved_store_takes_no_driver_option_of_the_shared_group(conf_of):
    conf = conf_of("[backend_defaults]\ntape_host = shared\nweight = 5\n")
    settings = settings_of(conf, shared=False)
    assert settings["tape_host"] == "localhost"
    assert settings.base.weight == 5


def test_a_group_of_another_name_and_other_defaults(conf_of):
    conf = conf_of("[common]\ntape_host = written\n[it]\ntape_host = nobody asks here\n")
    assert settings_of(conf, group="common")["tape_host"] == "written"
    settings = settings_of(conf, group="empty", defaults={"tape_host": "other", "weight": 3})
    assert (settings["tape_host"], settings.base.weight) == ("other", 3)
    assert not settings.origin("tape_host").by_operator
    assert settings_of(conf, group="common", defaults={"tape_host": "other"})["tape_host"] == "written"


def test_settings_with_their_mistakes_for_showing(conf_of):
    settings, mistakes = resolve(conf_of("[it]\ntape_timeout = soon\nweight = 4\n"), "it", "tape", Tape, anyway=True)
    assert settings is not None
    assert settings.base.weight == 4
    assert [each.option for each in mistakes] == ["tape_timeout"]


def test_values_are_typed_and_read_only(conf_of):
    conf = conf_of("[it]\ndigests = sha256,sha512\ndisabled_features = list, Ranges\ntape_dirs = /x\ntape_dirs = /y\n")
    settings = settings_of(conf)
    assert settings.base.digests == ("sha256", "sha512")
    assert settings.base.disabled_features == Feature.LIST | Feature.RANGES
    assert settings["tape_dirs"] == ["/x", "/y"]
    with pytest.raises(TypeError):
        settings["tape_host"] = "x"
    with pytest.raises(AttributeError):
        settings.base.weight = 5


def test_values_are_read_once(conf_of):
    conf = conf_of("[it]\ntape_host = own\n")
    settings = settings_of(conf)
    conf.set_override("tape_host", "changed", "it")
    assert settings["tape_host"] == "own"


def test_overrides_of_the_service_count(conf_of):
    conf = conf_of()
    settings_of(conf)
    conf.set_override("tape_host", "by the service", "backend_defaults")
    conf.set_default("tape_level", 3, "it")
    settings = settings_of(conf)
    assert settings["tape_host"] == "by the service"
    assert settings["tape_level"] == 3


def test_the_configuration_object_is_not_changed(conf_of):
    conf = conf_of("[it]\ntape_host = own\n")
    conf.register_opt(cfg.StrOpt("tape_mode", default="the service's own"), "it")
    before = conf.it.tape_mode
    first = settings_of(conf)
    second = settings_of(conf)
    assert (first["tape_host"], first["tape_mode"]) == (second["tape_host"], second["tape_mode"])
    assert conf.it.tape_mode == before
    assert conf.it.tape_host == "own"
    assert conf.it.part_size is None, "the driver's default must not become the option's"
    assert conf.backend_defaults.tape_host == "localhost"


def test_every_mistake_is_reported_at_once(conf_of):
    found = mistakes_of(
        conf_of(
            "[it]\nweight = heavy\ntape_level = 12\ntape_mode = quick\nparallel = 0\ndigests = md5,sha513\n"
            "disabled_features = lists\nread_only = maybe\noperation_timeout = soon\n"
            "[backend_defaults]\npart_size = 5\nretry_attempts = 0\n"
        )
    )
    assert set(found) == {
        "weight",
        "tape_level",
        "tape_mode",
        "parallel",
        "digests",
        "disabled_features",
        "read_only",
        "operation_timeout",
        "part_size",
        "retry_attempts",
    }
    assert all(mistake.store == "it" for mistake in found.values())
    assert "a whole number" in found["weight"].mend
    assert "at least 0" in found["tape_level"].mend
    assert "at most 9" in found["tape_level"].mend
    assert "one of slow, fast" in found["tape_mode"].mend
    assert "true or false" in found["read_only"].mend
    assert "a number" in found["operation_timeout"].mend
    assert "sha512" in found["digests"].mend
    assert "ranges" in found["disabled_features"].mend
    assert "heavy" in found["weight"].problem


def test_a_mistake_does_not_show_a_secret(conf_of):
    found = mistakes_of(conf_of("[it]\ntape_pin = hunter2\n"))
    assert "hunter2" not in str(found["tape_pin"])


def test_parts_that_do_not_fit_into_the_memory(conf_of):
    found = mistakes_of(conf_of("[it]\npart_size = 8388608\nmemory_limit = 8388608\n"))
    assert "two parts" in found["part_size"].problem
    settings_of(conf_of("[it]\npart_size = 4194304\nmemory_limit = 8388608\n"))


@pytest.mark.parametrize("name", ["shake_128", "md5-sha1-x", "", "SHA-512"])
def test_digests_that_cannot_be_computed(conf_of, name):
    if name:
        assert "digests" in mistakes_of(conf_of(f"[it]\ndigests = {name}\n"))
    else:
        assert settings_of(conf_of("[it]\ndigests =\n")).base.digests == ()


def test_a_driver_that_checks_its_options_is_heard_with_the_others(conf_of):
    class Strict(Tape):
        @classmethod
        def check(cls, settings):
            if settings["tape_host"] == "nowhere":
                yield errors.Mistake(settings.id, "tape_host", "no such host", "write another")

    conf = conf_of("[it]\ntape_host = nowhere\nweight = x\n")
    settings, mistakes = resolve(conf, "it", "tape", Strict)
    assert settings is None
    assert {mistake.option for mistake in mistakes} == {"tape_host", "weight"}


def test_what_is_shown_to_people_holds_no_secret(conf_of):
    conf = conf_of("[it]\ntape_password = hunter2\ntape_host = own\n")
    shown = settings_of(conf).shown([*opts.BASE_OPTIONS, *Tape.OPTIONS])
    assert shown["tape_password"] == {"value": "***", "origin": "the store's group"}
    assert shown["tape_host"] == {"value": "own", "origin": "the store's group"}
    assert shown["part_size"] == {"value": 16 * MIB, "origin": "the driver's default"}
    assert "hunter2" not in str(shown)


def test_every_option_of_a_store_says_what_it_is():
    for option in [*opts.BASE_OPTIONS, *opts.GLOBAL_OPTIONS, *opts.DEFAULT_OPTIONS, *MemoryDriver.OPTIONS]:
        assert option.help
        assert option.help.endswith((".", "none.", ")."))
