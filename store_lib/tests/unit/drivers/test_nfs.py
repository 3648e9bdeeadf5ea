"""What an NFS store tells without a server."""

import os
import socket
import struct
import threading

import pytest

from store_lib import errors
from store_lib.drivers import _mounts, _nfs_rpc


@pytest.fixture(autouse=True)
def _tools(monkeypatch):
    """Mounting needs os-brick and mount.nfs, which these tests do not use."""
    monkeypatch.setattr("store_lib.drivers._nfs_opts._check_tools", lambda store: iter(()))


@pytest.fixture
def make(make_stores):
    """Return a function that makes an NFS store from the lines of its group."""

    def made(*lines):
        text = "[DEFAULT]\nenabled_backends = it:nfs\n[it]\n" + "\n".join(lines) + "\n"
        return make_stores(text)["it"]

    return made


def mistakes(make, *lines):
    with pytest.raises(errors.ConfigurationError) as raised:
        make(*lines)
    return str(raised.value)


def test_locations_hold_server_export_and_id_and_no_mount_point(make):
    store = make("nfs_host = nfs.example.org", "nfs_export = /srv/image store/")
    uri = "nfs://nfs.example.org/srv/image%20store/image-1"
    assert store.image_id(uri) == "image-1"
    assert store.prefix() == "nfs://nfs.example.org/srv/image%20store/"
    address = store._driver.parse(uri)
    assert store._driver.uri(address) == uri


def test_an_address_of_ipv6_stays_in_brackets(make):
    store = make("nfs_host = [fd00::1]", "nfs_export = /")
    assert store.prefix() == "nfs://[fd00::1]/"
    assert store.owns("nfs://[fd00::1]/image-1")
    assert not store.owns("nfs://[fd00::2]/image-1")


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("nfs://host/export", errors.ForeignLocation),  # an image of the share "/"
        ("nfs://host/other/image-1", errors.ForeignLocation),
        ("nfs://elsewhere/export/image-1", errors.ForeignLocation),
        ("nfs://host/export/sub/image-1", errors.ForeignLocation),
        ("file:///export/image-1", errors.ForeignLocation),
        ("nfs:/host/export/image-1", errors.BadLocation),
        ("nfs://host/export/", errors.BadLocation),
        ("nfs://host//export/image-1", errors.BadLocation),
        ("nfs://host/export/../image-1", errors.BadLocation),
        ("nfs://host/export/%2e%2e/image-1", errors.BadLocation),
        ("nfs://host/export%2fimage-1", errors.BadLocation),
        ("nfs://host/export/.store_lib", errors.BadLocation),
        ("nfs://host/export/image%00", errors.BadLocation),
        ("nfs://host/export/image-1?x", errors.BadLocation),
        ("nfs://host/export/im\u00e4ge", errors.BadLocation),
    ],
)
def test_other_locations_are_refused(make, uri, error):
    store = make("nfs_host = host", "nfs_export = /export")
    with pytest.raises(error) as raised:
        store._driver.parse(uri)
    assert type(raised.value) is error


def test_every_mistake_is_told(make):
    told = mistakes(make, "nfs_host = a b", "nfs_export = export", "nfs_mount_point_base = mnt")
    assert "'a b' is no host" in told
    assert "'export' is no exported path" in told
    assert "mnt is not absolute" in told
    told = mistakes(make)
    assert "no server is named" in told
    assert "no export is named" in told
    told = mistakes(make, "nfs_host = a", "nfs_export = /b", "filesystem_store_timeout = 0")
    assert "would let calls hang" in told


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "it has no section"),
        ("host = a\n", "no section headers"),
        ("[a]\nhost = a\nexport = /a\nhots = b\n", "unknown hots"),
        ("[a]\nhost = a\nexport = /a\nweight = much\n", "[a]"),
        ("[a]\nhost = a\nexport = /a\n[b]\nhost = a\nexport = /a/\n", "a:/a is there twice"),
        ("[a]\nhost = a\nexport = /a\nversion = 5\n", "version '5' is unknown"),
    ],
)
def test_mistakes_in_a_file_of_shares_are_told(make, tmp_path, content, problem):
    path = tmp_path / "shares.ini"
    path.write_text(content)
    assert problem in mistakes(make, f"nfs_store_config_file = {path}")


def test_a_missing_file_of_shares_is_told(make, tmp_path):
    assert "No such file" in mistakes(make, f"nfs_store_config_file = {tmp_path}/none.ini")


def test_mount_options_are_the_operators_and_what_is_missing(make):
    store = make("nfs_host = a", "nfs_export = /b", "nfs_version = 4.1", "nfs_mount_options = soft, retry=2")
    (share,) = store.describe()["shares"]
    assert share["options"] == "vers=4.1,soft,retry=2,lookupcache=positive"


def test_a_share_that_is_not_mounted_takes_and_makes_nothing(make, tmp_path):
    point = tmp_path / "mnt"
    point.mkdir()
    store = make(
        "nfs_host = 127.0.0.1",
        "nfs_export = /b",
        "nfs_mount = false",
        f"nfs_mount_point_base = {point}",
        "retry_attempts = 1",
    )
    for call in (
        lambda: store.add("image-1", b"x"),
        lambda: store.stat("nfs://127.0.0.1/b/image-1"),
        lambda: store.delete("nfs://127.0.0.1/b/image-1", missing_ok=True),
        store.initialise,
    ):
        with pytest.raises(errors.StoreUnavailable):
            call()
    assert os.listdir(point) == []


def test_the_table_of_mounts_is_read(monkeypatch, tmp_path):
    table = tmp_path / "mountinfo"
    table.write_text(
        "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "40 21 0:50 / /mnt/with\\040space ro,relatime shared:2 master:1 - nfs4 host:/a\\040b rw,vers=4.2\n"
        "41 21 0:51 / /mnt rw - tmpfs none rw\n"
        "42 41 0:52 / /mnt rw - nfs host:/c rw,vers=3\n"
    )
    monkeypatch.setattr(_mounts, "_TABLE", str(table))
    assert [each.id for each in _mounts.mounts()] == [21, 40, 41, 42]
    found = _mounts.mount_of("/mnt/with space/below")
    assert (found.id, found.kind, found.source, found.point) == (40, "nfs4", "host:/a b", "/mnt/with space")
    assert {"ro", "vers=4.2"} <= set(found.options)
    assert _mounts.mount_of("/mnt/x").id == 42  # the last of two at one point
    assert _mounts.mount_of("/mntx").id == 21


def answering(answer):
    """Serve one call on a port of loopback with what `answer` makes of its number; None hangs."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listener:
            connection, _ = listener.accept()
            with connection:
                call = connection.recv(100)
                data = answer(call[4:8])
                if data is None:
                    connection.recv(1)
                else:
                    connection.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def replied(*words):
    return lambda number: struct.pack(">I", 0x80000000 | 24) + number + struct.pack(">6I", *words)[: 4 * len(words)]


def test_a_server_that_answers_the_null_procedure_is_alive():
    _nfs_rpc.null_call("127.0.0.1", answering(replied(1, 0, 0, 0, 0, 0)))


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (replied(1, 0, 0, 0, 2, 3), ValueError, "does not serve NFS version 4"),
        (replied(1, 1, 0, 0, 0, 0), ValueError, "refuses"),
        (lambda number: b"HTTP/1.0 400 Bad Request\r\n\r\n", ValueError, "no NFS server"),
        (lambda number: b"", OSError, "closed"),
        (lambda number: None, TimeoutError, None),
    ],
)
def test_everything_else_is_told(answer, error, text):
    with pytest.raises(error, match=text):
        _nfs_rpc.null_call("127.0.0.1", answering(answer), timeout=0.5)
