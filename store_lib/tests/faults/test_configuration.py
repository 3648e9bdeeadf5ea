"""Configurations that are wrong."""

import os

import pytest
from oslo_config import cfg

from store_lib import Stores, errors
from store_lib.tests import support

#: (option lines of the store's group, the option that is blamed)
MISTAKES = {
    "relative": ("filesystem_store_datadir = images", "filesystem_store_datadir"),
    "empty": ("filesystem_store_datadir =", "filesystem_store_datadir"),
    "blank": ('filesystem_store_datadir = "  "', "filesystem_store_datadir"),
    "home": ("filesystem_store_datadir = ~/images", "filesystem_store_datadir"),
    "both": (
        "filesystem_store_datadir = {top}/a\nfilesystem_store_datadirs = {top}/b",
        "filesystem_store_datadirs",
    ),
    "twice": (
        "filesystem_store_datadirs = {top}/a:1\nfilesystem_store_datadirs = {top}/a/:2",
        "filesystem_store_datadirs",
    ),
    "priority": ("filesystem_store_datadirs = {top}/a:high", "filesystem_store_datadirs"),
    "negative priority": ("filesystem_store_datadirs = {top}/a:-1", "filesystem_store_datadirs"),
    "relative of several": (
        "filesystem_store_datadirs = {top}/a:1\nfilesystem_store_datadirs = b:2",
        "filesystem_store_datadirs",
    ),
    "relative to read": (
        "filesystem_store_datadir = {top}/a\nfilesystem_store_read_datadirs = old",
        "filesystem_store_read_datadirs",
    ),
    "read twice": (
        "filesystem_store_datadir = {top}/a\nfilesystem_store_read_datadirs = {top}/a",
        "filesystem_store_read_datadirs",
    ),
    "metadata missing": ("filesystem_store_metadata_file = {top}/none", "filesystem_store_metadata_file"),
    "metadata a folder": ("filesystem_store_metadata_file = {top}", "filesystem_store_metadata_file"),
    "metadata wrong": ("filesystem_store_metadata_file = {top}/wrong.json", "filesystem_store_metadata_file"),
    "metadata no list": ("filesystem_store_metadata_file = {top}/number.json", "filesystem_store_metadata_file"),
    "permissions not octal": ("filesystem_store_file_perm = 648", "filesystem_store_file_perm"),
    "permissions too many": ("filesystem_store_file_perm = 7777", "filesystem_store_file_perm"),
    "permissions negative": ("filesystem_store_file_perm = -640", "filesystem_store_file_perm"),
    "permissions no number": ("filesystem_store_file_perm = rw", "filesystem_store_file_perm"),
    "permissions without owner": ("filesystem_store_file_perm = 044", "filesystem_store_file_perm"),
    "chunk": ("filesystem_store_chunk_size = 0", "filesystem_store_chunk_size"),
    "thin": ("filesystem_thin_provisioning = maybe", "filesystem_thin_provisioning"),
    "timeout": ("filesystem_store_timeout = -1", "filesystem_store_timeout"),
    "part size": ("part_size = 5", "part_size"),
    "part size and memory": ("part_size = 8388608\nmemory_limit = 8388608", "part_size"),
    "memory": ("memory_limit = lots", "memory_limit"),
    "digest": ("digests = md5, sha3_5000", "digests"),
    "shake": ("digests = shake_128", "digests"),
    "feature": ("disabled_features = fly", "disabled_features"),
    "weight": ("weight = heavy", "weight"),
    "threads": ("max_threads = 0", "max_threads"),
}


def _conf(tmp_path, text):
    (tmp_path / "wrong.json").write_text("{")
    (tmp_path / "number.json").write_text("5")
    (tmp_path / "conf").write_text(text)
    conf = cfg.ConfigOpts()
    conf(
        ["--config-file", str(tmp_path / "conf")], project="store_lib", default_config_files=[], default_config_dirs=[]
    )
    return conf


def _text(tmp_path, chosen):
    ids = {name.replace(" ", "_"): MISTAKES[name][0].format(top=tmp_path) for name in chosen}
    enabled = ", ".join(f"{store_id}:file" for store_id in [*ids, "good"])
    groups = [f"[{store_id}]\n{lines}" for store_id, lines in ids.items()]
    good = f"[good]\nfilesystem_store_datadir = {tmp_path}/good"
    shared = f"[backend_defaults]\nfilesystem_store_datadir = {tmp_path}/shared"
    top = f"[DEFAULT]\nenabled_backends = {enabled}\n[glance_store]\ndefault_backend = good"
    # What falls back to the shared value must not hide a mistake that is about several directories.
    several = any("datadirs" in lines or "datadir =" in lines for lines in ids.values())
    return "\n".join([top, *groups, good, "" if several else shared]) + "\n"


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake(tmp_path, name):
    """Makes one mistake: told with store, option, what is wrong and what to write; no directory is made."""
    before = None
    conf = _conf(tmp_path, _text(tmp_path, [name]))
    before = support.names(tmp_path)
    with pytest.raises(errors.ConfigurationError) as caught:
        Stores.from_config(conf)
    found = [(mistake.store, mistake.option) for mistake in caught.value.mistakes]
    assert found == [(name.replace(" ", "_"), MISTAKES[name][1])]
    (mistake,) = caught.value.mistakes
    assert mistake.problem
    assert mistake.mend
    assert str(mistake) in str(caught.value)
    assert support.names(tmp_path) == before


def test_all_of_them_at_once(tmp_path):
    """Makes every mistake in a store of its own: all are told at once, and the good store is usable on request."""
    conf = _conf(tmp_path, _text(tmp_path, MISTAKES))
    with pytest.raises(errors.ConfigurationError) as caught:
        Stores.from_config(conf)
    found = {(mistake.store, mistake.option) for mistake in caught.value.mistakes}
    assert found == {(name.replace(" ", "_"), option) for name, (_, option) in MISTAKES.items()}
    with Stores.from_config(conf, strict=False) as stores:
        assert list(stores) == ["good"]
        assert set(stores.broken) == {name.replace(" ", "_") for name in MISTAKES}
        assert stores.default.add("one", b"x").size == 1
        with pytest.raises(errors.ConfigurationError):
            stores["chunk"]
    assert sorted(set(support.names(tmp_path)) - {"conf", "good", "number.json", "wrong.json"}) == []


def test_all_in_one_store(tmp_path):
    """Makes mistakes of every kind in one store: its own and those of the base options are told together."""
    lines = [
        "filesystem_store_datadirs = relative:1",
        "filesystem_store_metadata_file = /nowhere",
        "filesystem_store_file_perm = 999",
        "filesystem_store_chunk_size = x",
        "filesystem_thin_provisioning = x",
        "filesystem_store_timeout = x",
        "part_size = 1",
        "digests = none",
        "disabled_features = none",
        "weight = x",
    ]
    text = "[DEFAULT]\nenabled_backends = it:file\n[it]\n" + "\n".join(lines) + "\n"
    with pytest.raises(errors.ConfigurationError) as caught:
        Stores.from_config(_conf(tmp_path, text))
    found = {mistake.option for mistake in caught.value.mistakes}
    assert found == {line.split()[0] for line in lines}


def test_other_mistakes_of_the_file(tmp_path):
    """Enables stores of no driver, of a bad name, and a default that does not exist: all told at once."""
    text = (
        "[DEFAULT]\nenabled_backends = one:fiel, DEFAULT:file, two:file\n"
        f"[glance_store]\ndefault_backend = three\n[two]\nfilesystem_store_datadir = {tmp_path}/two\n"
    )
    with pytest.raises(errors.ConfigurationError) as caught:
        Stores.from_config(_conf(tmp_path, text))
    told = str(caught.value)
    for word in ("'file'", "DEFAULT", "three"):
        assert word in told
    assert len(caught.value.mistakes) == 3


@pytest.mark.parametrize("where", ["store", "backend_defaults"])
def test_values_from_both_groups(tmp_path, where):
    """Makes a mistake in the shared group: it is told for the store that falls back to it."""
    group = "it" if where == "store" else where
    text = f"[DEFAULT]\nenabled_backends = it:file\n[{group}]\nfilesystem_store_datadir = relative\n"
    with pytest.raises(errors.ConfigurationError) as caught:
        Stores.from_config(_conf(tmp_path, text))
    assert [mistake.store for mistake in caught.value.mistakes] == ["it"]


def test_a_private_configuration_object(make_stores, tmp_path):
    """Makes two Stores from two private ConfigOpts with the same ids: neither knows of the other."""
    texts = [
        f"[DEFAULT]\nenabled_backends = it:file\n[it]\nfilesystem_store_datadir = {tmp_path}/{name}\n" for name in "ab"
    ]
    one, two = (make_stores(text) for text in texts)
    first = one["it"].add("same", b"1")
    second = two["it"].add("same", b"22")
    assert support.content(one["it"], first.location) == b"1"
    assert support.content(two["it"], second.location) == b"22"
    with pytest.raises(errors.ForeignLocation):
        one["it"].stat(second.location)
    assert os.path.exists(tmp_path / "a" / "same")
