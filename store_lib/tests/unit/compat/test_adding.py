"""Adding images as services do: arguments, results, failures."""

import hashlib
import io
from typing import Any

import pytest
from oslo_config import cfg

import store_lib.compat as glance_store
from store_lib import errors
from store_lib.tests.support import names, payload

DATA = payload(200_000, 3)


class OnlyRead:
    """What a service hands over: ``read(n)`` and nothing else, short reads included."""

    def __init__(self, data, failure=None):
        self._file = io.BytesIO(data)
        self._failure = failure

    def read(self, size):
        found = self._file.read(min(size, 7000))
        if not found and self._failure is not None:
            raise self._failure
        return found

    def __next__(self):
        raise AssertionError("it has a read()")


class Signature:
    """A verifier whose ``verify`` is for the service alone."""

    def __init__(self):
        self.seen = b""

    def update(self, data):
        self.seen += data

    def verify(self):
        raise AssertionError("the service asks, once")


def store(name="fast"):
    return glance_store.get_store_from_store_identifier(name)


def test_add_with_multihash(two, tmp_path):
    uri, size, checksum, multihash, metadata = glance_store.add_with_multihash(
        two, "one", OnlyRead(DATA), len(DATA), "cheap", "sha512", context=None, verifier=None
    )
    assert uri == f"file://{tmp_path}/cheap/one"
    assert uri.startswith(store("cheap").url_prefix)
    assert size == len(DATA)
    assert checksum == hashlib.md5(DATA).hexdigest()
    assert multihash == hashlib.sha512(DATA).hexdigest()
    assert metadata == {"store": "cheap"}
    assert (tmp_path / "cheap" / "one").read_bytes() == DATA


@pytest.mark.parametrize("name", [None, ""])
def test_the_default_store_takes_what_names_none(two, name):
    assert glance_store.add_with_multihash(two, "one", OnlyRead(b"x"), 1, name, "sha256")[4] == {"store": "fast"}
    assert glance_store.add(two, "two", OnlyRead(b"x"), 1, name)[3] == {"store": "fast"}


def test_a_store_that_is_not_there(two):
    with pytest.raises(glance_store.UnknownScheme):
        glance_store.add_with_multihash(two, "one", OnlyRead(b"x"), 1, "nope", "sha256")


def test_size_0_is_not_known(two, tmp_path):
    assert glance_store.add(two, "one", OnlyRead(DATA), 0, "fast")[1] == len(DATA)
    assert store().add("two", OnlyRead(b""), 0)[1] == 0
    assert store().add("three", OnlyRead(b"x"), None)[1] == 1
    assert (tmp_path / "fast" / "two").read_bytes() == b""


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1, 1])
def test_another_size_than_declared(two, tmp_path, size):
    with pytest.raises(glance_store.Invalid):
        glance_store.add_with_multihash(two, "one", OnlyRead(DATA), size, "fast", "sha512")
    assert names(tmp_path / "fast") == []
    assert glance_store.add(two, "one", OnlyRead(DATA), len(DATA), "fast")[1] == len(DATA)


@pytest.mark.parametrize(
    ("arguments", "keywords", "values"),
    [
        ((), {}, 4),
        ((), {"context": "whose"}, 4),
        (("whose",), {}, 4),
        (("whose-object-is-no-text",), {}, 5),
        ((None, None), {}, 4),
        (("sha256",), {}, 5),
        (("sha256", "whose", None), {}, 5),
        (("sha256",), {"context": "whose", "verifier": None}, 5),
        ((), {"hashing_algo": "sha256"}, 5),
        ((), {"hashing_algo": None}, 4),
    ],
    ids=str,
)
def test_values_of_an_add(it, arguments, keywords, values):
    if arguments and arguments[0] == "whose":
        arguments = ({"user": "whose"},)
    if arguments and arguments[0] == "whose-object-is-no-text":
        arguments = ("sha1",)
    told = store("it").add("one", OnlyRead(DATA), len(DATA), *arguments, **keywords)
    assert len(told) == values
    assert told[2] == hashlib.md5(DATA).hexdigest()
    if values == 5:
        algorithm = keywords.get("hashing_algo") or arguments[0]
        assert told[3] == hashlib.new(algorithm, DATA).hexdigest()
    assert told[-1] == {"store": "it"}


def test_the_context_reaches_the_driver(it):
    whose = object()
    glance_store.add_with_multihash(cfg.ConfigOpts(), "one", OnlyRead(DATA), 0, "it", "sha256", context=whose)
    store("it").add("two", OnlyRead(DATA), 0, whose)
    store("it").add("three", OnlyRead(DATA), 0, "sha256", whose)
    store("it").add("four", OnlyRead(DATA), 0, context=whose)
    uploads = [each for each in it.told if each[0] == "upload"]
    assert uploads == [("upload", name, None, whose) for name in ("one", "two", "three", "four")]


def test_the_verifier_sees_all_and_is_not_asked(two):
    for name, arguments in (("one", ("sha256", None)), ("two", (None,))):
        seen = Signature()
        store().add(name, OnlyRead(DATA), len(DATA), *arguments, verifier=seen)
        assert seen.seen == DATA
    seen = Signature()
    glance_store.add_with_multihash(two, "three", OnlyRead(DATA), 0, "fast", "md5", verifier=seen)
    assert seen.seen == DATA


def test_a_digest_that_is_not_known(two, tmp_path):
    with pytest.raises(glance_store.UnknownHashingAlgo, match="sha-nonsense"):
        glance_store.add_with_multihash(two, "one", OnlyRead(DATA), 0, "fast", "sha-nonsense")
    with pytest.raises(glance_store.UnknownHashingAlgo):
        store().add("one", OnlyRead(DATA), 0, "shake_128")
    assert names(tmp_path / "fast") == []


def test_upper_case_names_of_digests(two):
    assert store().add("one", OnlyRead(DATA), 0, "SHA256")[3] == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize("kind", ["chunks", "image", "file"])
def test_what_data_may_be(two, tmp_path, kind):
    data: Any
    if kind == "image":
        uri = glance_store.add(two, "source", OnlyRead(DATA), 0, "cheap")[0]
        data, size = glance_store.get(uri, "cheap")
    elif kind == "file":
        (tmp_path / "source").write_bytes(DATA)
        data, size = (tmp_path / "source").open("rb"), len(DATA)
    else:
        data, size = iter([DATA[:10], b"", DATA[10:]]), len(DATA)
    assert store().add("one", data, size)[1] == len(DATA)
    assert (tmp_path / "fast" / "one").read_bytes() == DATA
    if kind != "chunks":
        data.close()


@pytest.mark.parametrize("failure", [OSError(28, "client gone"), glance_store.NotFound("mine"), ValueError("mine")])
def test_what_the_source_raises_passes_through(two, tmp_path, failure):
    with pytest.raises(type(failure)) as raised:
        glance_store.add_with_multihash(two, "one", OnlyRead(DATA, failure), 0, "fast", "sha512")
    assert raised.value is failure
    assert names(tmp_path / "fast") == []


def test_an_image_that_is_there_stays(two, tmp_path):
    glance_store.add(two, "one", OnlyRead(b"first"), 0, "fast")
    with pytest.raises(glance_store.Duplicate):
        glance_store.add(two, "one", OnlyRead(b"second"), 0, "fast")
    assert (tmp_path / "fast" / "one").read_bytes() == b"first"


def test_a_full_store(serve):
    conf = serve("[DEFAULT]\nenabled_backends = it:memory\n[it]\nmemory_store_size = 100000\n")
    for size in (0, len(DATA)):
        with pytest.raises(glance_store.StorageFull):
            glance_store.add(conf, "one", OnlyRead(DATA), size, "it")
    with pytest.raises(glance_store.NotFound):
        glance_store.get("memory://it/one", "it")


def test_what_a_store_tells_of_its_locations(serve, scripted):
    conf = serve("[DEFAULT]\nenabled_backends = it:talkative\n")
    first = glance_store.add(conf, "one", OnlyRead(b"x"), 0, "it")[3]
    assert first == {"store": "it", "share": {"hosts": ["a", "b"]}}
    first["share"]["hosts"].append("mine")
    assert glance_store.add(conf, "two", OnlyRead(b"x"), 0, "it")[3]["share"] == {"hosts": ["a", "b"]}


def test_a_store_object_of_another_make_is_checked():
    class Other:
        def __init__(self, metadata):
            self.metadata = metadata

        def add(self, image_id, data, size, hashing_algo=None, context=None, verifier=None):
            told = ("u", size, "c", "m", self.metadata)
            return told if hashing_algo else (*told[:3], self.metadata)

    assert glance_store.store_add_to_backend("i", None, 3, Other(None)) == ("u", 3, "c", None)
    good = Other({"a": [{"b": "c"}]})
    assert glance_store.store_add_to_backend_with_multihash("i", None, 3, "sha256", good)[4] == good.metadata
    wrong: list[Any] = [[], {"a": 1}, {"a": ["b", {"c": None}]}, "text"]
    for bad in wrong:
        with pytest.raises(glance_store.BackendException):
            glance_store.store_add_to_backend("i", None, 3, Other(bad))


def test_metadata_of_locations():
    glance_store.check_location_metadata({"a": ["b", {"c": "d"}]})
    wrong: list[Any] = [{"a": 1}, {"a": {"b": [True]}}, {"a": None}, {"a": ("b",)}]
    for bad in wrong:
        with pytest.raises(glance_store.BackendException):
            glance_store.check_location_metadata(bad)


# -- stores that do not add -------------------------------------------------------------------------------------------


def test_web_servers_take_nothing(serve):
    conf = serve("[DEFAULT]\nenabled_backends = web:http\n")
    with pytest.raises(glance_store.StoreAddDisabled):
        glance_store.add(conf, "one", OnlyRead(b"x"), 1, "web")
    assert not store("web").is_capable(glance_store.capabilities.BitMasks.WRITE_ACCESS)


def test_a_store_that_the_operator_made_read_only(serve):
    conf = serve("[DEFAULT]\nenabled_backends = it:memory\n[it]\nread_only = true\n")
    with pytest.raises(glance_store.StoreAddDisabled):
        glance_store.add(conf, "one", OnlyRead(b"x"), 1, "it")


def test_a_store_that_is_closed(it):
    it.failures["probe"] = errors.StoreUnavailable("gone fishing")
    with pytest.raises(glance_store.StoreAddDisabled, match="gone fishing"):
        store("it").add("one", OnlyRead(b"x"), 1)
    it.failures.clear()
    assert store("it").add("one", OnlyRead(b"x"), 1)[1] == 1


@pytest.mark.parametrize(
    ("failure", "wanted"),
    [
        (errors.StoreUnavailable("x"), glance_store.exceptions.TimeoutError),
        (errors.OperationTimeout("x"), glance_store.exceptions.TimeoutError),
        (errors.Busy("x"), glance_store.exceptions.TimeoutError),
        (errors.Forbidden("x"), glance_store.StorageWriteDenied),
        (errors.StoreFull("x"), glance_store.StorageFull),
        (errors.ReadOnlyStore("x"), glance_store.StoreAddDisabled),
        (errors.NotFound("x"), glance_store.BackendException),
        (errors.BackendError("x"), glance_store.BackendException),
        (errors.CommitUnknown("x"), glance_store.BackendException),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else type(each).__name__,
)
def test_failures_of_a_store(it, failure, wanted):
    it.failures["upload"] = failure
    with pytest.raises(wanted) as raised:
        store("it").add("one", OnlyRead(b"x"), 1)
    assert type(raised.value) is wanted
    assert raised.value.__cause__ is failure
    if wanted is not glance_store.BackendException:
        assert raised.value.msg == str(raised.value) == "x (store it, add)"


def test_an_id_that_can_name_no_image(two):
    with pytest.raises(glance_store.Invalid):
        glance_store.add(two, "../outside", OnlyRead(b"x"), 1, "fast")
