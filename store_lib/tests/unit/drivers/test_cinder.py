"""The cinder store without a Cinder: locations, options, what errors mean, devices, notes, sharing."""

import errno
import json
import os
import threading
from typing import ClassVar

import pytest
from cinderclient.exceptions import BadRequest

from store_lib import errors
from store_lib.drivers.cinder import attach as attach_module
from store_lib.drivers.cinder import failures, removal, values
from store_lib.drivers.cinder.api import Deadline, Volume
from store_lib.drivers.cinder.attach import Attacher, Readers
from store_lib.drivers.cinder.base import PathDevice, connector_of
from store_lib.drivers.cinder.brick import BrickConnector
from store_lib.drivers.cinder.host import Host
from store_lib.drivers.cinder.nfs import NfsConnector
from store_lib.drivers.cinder.notes import Note, Notes
from store_lib.drivers.cinder.rbd import RbdConnector
from store_lib.drivers.cinder.removal import remove_volume
from store_lib.errors import Outcome
from store_lib.interface import GIB, KIB, Deletion, Feature, Owner
from store_lib.tests.support import Child, payload, until

VOLUME = "5c0f5a3e-95b1-4a53-9d6f-5c8f5d4f7c11"
LOGIN = {
    "cinder_store_auth_address": "http://127.0.0.1:1",
    "cinder_store_user_name": "glance",
    "cinder_store_password": "a secret",
    "cinder_store_project_name": "service",
}


@pytest.fixture
def make_cinder(make_stores, tmp_path):
    """Return a function that makes the store of an id; its keyword arguments are options, None leaves one out."""

    def make(name="volumes", **options):
        given = {**LOGIN, "cinder_mount_point_base": tmp_path / "mnt", **options}
        lines = [f"{option} = {value}" for option, value in given.items() if value is not None]
        return make_stores("\n".join(["[DEFAULT]", f"enabled_backends = {name}:cinder", f"[{name}]", *lines]))[name]

    return make


@pytest.fixture
def host(make_cinder):
    """Return this host as the driver sees it."""
    return Host(make_cinder().settings)


# -- locations and options ---------------------------------------------------------------------------------------------


def test_locations(make_cinder):
    """A location names store and volume; that of a single store and of old services the volume alone."""
    driver = make_cinder()._driver
    for uri in (f"cinder://volumes/{VOLUME}", f"cinder://{VOLUME}"):
        assert driver.uri(driver.parse(uri)) == f"cinder://volumes/{VOLUME}"
    with pytest.raises(errors.ForeignLocation):
        driver.parse(f"cinder://others/{VOLUME}")
    alone = make_cinder("cinder")._driver
    assert alone.uri(alone.parse(f"cinder://cinder/{VOLUME}")) == f"cinder://{VOLUME}"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("cinder_catalog_info", "volumev3"),
        ("cinder_endpoint_template", "http://cinder:8776/v3/%(user)s"),
        ("cinder_endpoint_template", "cinder:8776"),
        ("cinder_ca_certificates_file", "/nowhere/ca.pem"),
        ("cinder_store_project_name", None),
    ],
)
def test_mistakes_in_the_options(make_cinder, option, value):
    """Each is told with the option that holds it."""
    with pytest.raises(errors.ConfigurationError) as told:
        make_cinder(**{option: value})
    assert [mistake.option for mistake in told.value.mistakes] == [option]


def test_credentials_that_are_not_complete(make_cinder):
    """They are a mistake, and are not taken for none; the secret of them is not told."""
    with pytest.raises(errors.ConfigurationError) as told:
        make_cinder(cinder_store_user_name=None)
    assert "cinder_store_user_name" in str(told.value)
    assert LOGIN["cinder_store_password"] not in str(told.value)


def test_without_credentials(make_cinder):
    """Requests carry their callers' tokens: nothing that needs a project of the store's own is offered."""
    store = make_cinder(**dict.fromkeys(LOGIN))
    own = Feature.LIST | Feature.LEFTOVERS | Feature.CAPACITY
    assert not store.features & own
    assert make_cinder().features & own == own
    with pytest.raises(errors.Forbidden, match="cinder_store_auth_address"):
        store.stat(f"cinder://{VOLUME}")


# -- what errors mean --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "transient", "outcome"),
    [
        (401, errors.Forbidden, False, Outcome.NOT_DONE),
        (403, errors.Forbidden, False, Outcome.NOT_DONE),
        (404, errors.StoreUnavailable, False, Outcome.NOT_DONE),
        (406, errors.StoreUnavailable, False, Outcome.NOT_DONE),
        (409, errors.BackendError, True, Outcome.NOT_DONE),
        (413, errors.StoreFull, False, Outcome.NOT_DONE),
        (429, errors.StoreUnavailable, True, Outcome.NOT_DONE),
        (500, errors.StoreUnavailable, True, Outcome.UNKNOWN),
        (503, errors.StoreUnavailable, True, Outcome.NOT_DONE),
    ],
)
def test_answers_of_cinder(code, kind, transient, outcome):
    """A code means the same wherever it comes from."""
    from cinderclient import exceptions

    found = failures.translate(exceptions.ClientException(code, "told"))
    assert found is not None
    assert (type(found), found.transient, found.outcome) == (kind, transient, outcome)
    assert "told" in str(found)


def test_errors_of_devices():
    """The kernel's are named by what an operator can do about them; a bug stays a bug."""
    kinds = {
        errno.ENOSPC: errors.StoreFull,
        errno.EFBIG: errors.StoreFull,
        errno.EACCES: errors.Forbidden,
        errno.ETIMEDOUT: errors.OperationTimeout,
        errno.EIO: errors.StoreUnavailable,
        errno.ESTALE: errors.StoreUnavailable,
    }
    for number, kind in kinds.items():
        assert type(failures.translate(OSError(number, os.strerror(number)))) is kind
    assert failures.translate(TypeError("a bug")) is None


def test_commands_of_os_brick_are_not_told():
    """What follows its first line may be a command with a secret in it."""
    from oslo_concurrency import processutils

    found = failures.translate(processutils.ProcessExecutionError(cmd="login --password hush", description="it failed"))
    assert "it failed" in str(found)
    assert "hush" not in str(found)


# -- values ------------------------------------------------------------------------------------------------------------


def volume(**told):
    """Return a volume of 2 GiB."""
    fields = {"name": "image-x", "status": "available", "size": 2 * GIB, "type": None, "multiattach": False}
    return Volume(VOLUME, **{**fields, "metadata": {}, "modified": None, **told})


def test_size_of_an_image():
    """It is what the metadata say, never more than the volume holds, and the volume's where they say nothing."""
    assert values.info_of(volume(metadata={"image_size": "12345"})).size == 12345
    assert values.info_of(volume(metadata={"image_size": str(3 * GIB)})).size == 2 * GIB
    assert values.info_of(volume(metadata={"image_size": "many"})).size == 2 * GIB


def test_incomplete_images():
    """Metadata of store_lib tell them; what others made is complete."""
    owner = Owner("ab" * 16, "host", "cd" * 16, 1, 2, 3)
    begun = values.metadata_of("x", "volumes", owner, "project", None)
    assert not values.is_complete(volume(metadata=begun))
    assert values.owner_of(begun) == owner
    assert values.is_complete(volume(metadata={"glance_image_id": "x"}))
    assert values.rounded(0) == values.rounded(1) == values.rounded(GIB) == GIB
    assert values.rounded(GIB + 1) == 2 * GIB


# -- devices and connectors --------------------------------------------------------------------------------------------


def test_a_file_as_a_device(tmp_path):
    """Bytes are written at their places by several threads, and read back."""
    path = tmp_path / "volume"
    path.write_bytes(bytes(512 * KIB))
    data = payload(256 * KIB)
    device = PathDevice(str(path), True, {})
    assert device.size() == 512 * KIB
    quarter = len(data) // 4
    threads = [
        threading.Thread(target=device.write, args=(memoryview(data)[at : at + quarter], 100 + at))
        for at in range(0, len(data), quarter)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    device.flush()
    assert b"".join(device.read(100, len(data))) == data
    with pytest.raises(errors.BackendError, match="too early"):
        list(device.read(511 * KIB, 2 * KIB))
    device.close()
    device.close()
    with pytest.raises(errors.StoreUnavailable):
        device.size()


def test_a_device_is_closed_once_nobody_reads_it(tmp_path):
    """A reader in the middle keeps the file open, so that its number cannot become another file's."""
    path = tmp_path / "volume"
    path.write_bytes(payload(KIB))
    device = PathDevice(str(path), False, {})
    descriptor = device._descriptor
    with device._open():
        device.close()
        assert os.fstat(descriptor).st_size == KIB
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_connectors_are_found_by_protocol(host):
    """Those of store_lib by their entry points, all others by os-brick."""
    assert type(connector_of(host, "rbd")) is RbdConnector
    assert type(connector_of(host, "nfs")) is NfsConnector
    assert type(connector_of(host, "iscsi")) is BrickConnector
    with pytest.raises(errors.StoreUnavailable, match="no protocol pigeons"):
        connector_of(host, "pigeons").attach({"driver_volume_type": "pigeons"}, False)


@pytest.mark.parametrize("protocol", ["rbd", "nfs", "iscsi"])
def test_encrypted_volumes_are_refused(host, protocol):
    """Nothing is attached for them."""
    with pytest.raises(errors.BackendError, match="encrypted"):
        connector_of(host, protocol).attach({"encrypted": True, "export": "a:/b", "name": "x"}, True)


def test_other_formats_and_names_on_nfs_are_refused(host):
    """Before anything is mounted."""
    connector = connector_of(host, "nfs")
    with pytest.raises(errors.BackendError, match="qcow2"):
        connector.attach({"export": "a:/b", "name": "volume-x", "format": "qcow2"}, True)
    with pytest.raises(errors.BackendError, match="outside"):
        connector.attach({"export": "a:/b", "name": "../volume-x", "format": "raw"}, True)
    assert not os.path.exists(host.mounts)


def test_a_key_ring_that_is_missing(host):
    """The error names the file and the option."""
    pytest.importorskip("rbd", reason="not offered: Ceph's bindings are not installed")
    connection = {"name": "pool/x", "hosts": ["::1"], "ports": ["1"], "cluster_name": "nowhere", "auth_username": "u"}
    with pytest.raises(errors.Forbidden, match=r"/etc/ceph/nowhere\.client\.u\.keyring.*cinder_rbd_keyring"):
        connector_of(host, "rbd").attach(connection, False)


# -- notes and sharing -------------------------------------------------------------------------------------------------


def write_note(host, attachment, told):
    """Write a note in another process, and live on until it is killed."""
    Notes(host).write(Note(attachment, VOLUME, "volumes", "rbd", "owner", {"path": "/dev/x"}, True))
    told.touch()
    threading.Event().wait()


def test_notes_tell_the_dead(host, tmp_path):
    """A note of a living process is not dead, one of a killed process is; no process sees half a note."""
    notes = Notes(host)
    told = tmp_path / "told"
    with Child(write_note, host, "theirs", told) as child:
        until(told.exists, 60)
        notes.write(Note("ours", VOLUME, "volumes", "nfs", "owner", {}, False))
        assert {note.attachment: note.dead for note in notes.all()} == {"ours": False, "theirs": False}
        child.kill(9)
        child.wait()
    found = {note.attachment: note for note in notes.all()}
    assert found["theirs"].dead
    assert found["theirs"].info == {"path": "/dev/x"}
    assert not found["theirs"].own
    notes.drop("ours")
    ours = next(note for note in notes.all() if note.attachment == "ours")
    assert ours.dead, "nobody refers to the attachment any more"
    assert ours.own
    for name in ("ours", "theirs", "none"):
        notes.remove(name)
    assert not list(notes.all())


def test_what_is_no_note_is_passed_over(host):
    """Files of others in the folder harm nobody."""
    folder = host.directory("attachments")
    for name, text in (("a.json", "no json"), ("b.json", "{}"), ("c.json", json.dumps({"attachment": "d"})), ("e", "")):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    assert not list(Notes(host).all())


class Detached:
    """Stands for an attached volume."""

    def __init__(self):
        self.count = 0

    def leave(self):
        """Count."""
        self.count += 1


def test_readers_share():
    """The volume is attached by the first and detached by the last; one that fails leaves nothing behind."""
    readers, made = Readers(), []

    def attach():
        made.append(Detached())
        return made[-1]

    with pytest.raises(errors.Busy):
        readers.enter(VOLUME, lambda: (_ for _ in ()).throw(errors.Busy()))
    first, second = readers.enter(VOLUME, attach), readers.enter(VOLUME, attach)
    assert first is second
    readers.leave(VOLUME)
    assert made[0].count == 0
    readers.leave(VOLUME)
    assert made[0].count == 1
    assert readers.enter(VOLUME, attach) is not first


class Connected:
    """Stands for a connector, and for the device that it makes."""

    SHARED, ZEROED, protocol = False, True, "fake"
    info: ClassVar = {"mounted": True}

    def __init__(self):
        self.detached = []

    def attach(self, connection, writable):
        """Return the device."""
        return self

    def detach(self, connection, info, own):
        """Keep what it was told."""
        self.detached.append((dict(info), own))

    def close(self):
        """Let go of nothing."""


class CinderThatDies:
    """Stands for the API; releases no attachment as long as it is dead."""

    def __init__(self):
        self.dead, self.released = False, []

    def reserve(self, volume, writable):
        """Return the id of an attachment."""
        return "an-attachment"

    def volume(self, volume):
        """Return the volume."""
        return Volume(VOLUME, "", "in-use", GIB, None, False, {}, None)

    def export(self, attachment, properties=None):
        """Return how the volume is reached."""
        return {"driver_volume_type": "fake"}

    connection = export

    def complete(self, attachment):
        """Do nothing."""

    def release(self, attachment):
        """Keep what was released."""
        if self.dead:
            raise errors.StoreUnavailable("dead", transient=False)
        self.released.append(attachment)


def test_what_cinder_was_too_dead_for_is_ended_later(make_cinder, monkeypatch):
    """An attachment that could not be ended is for whoever comes next, in this process too; this host let go once."""
    connector, api = Connected(), CinderThatDies()
    monkeypatch.setattr(attach_module, "connector_of", lambda host, protocol: connector)
    monkeypatch.setattr(Host, "properties", lambda self: {"host": "here"})
    store = make_cinder()
    attacher = Attacher(store.id, Host(store.settings))
    attached = attacher.attach(api, api.volume(VOLUME), True, store._runtime.context())
    assert not attacher.bury(api, VOLUME)
    api.dead = True
    with pytest.raises(errors.StoreUnavailable):
        attached.leave()
    with pytest.raises(errors.StoreUnavailable):
        attacher.bury(api, VOLUME)
    api.dead = False
    assert attacher.bury(api, VOLUME)
    assert api.released == ["an-attachment"]
    assert connector.detached[0] == ({"mounted": True}, True)
    assert {repr(info) for info, _own in connector.detached[1:]} == {"{}"}
    assert not list(attacher.notes.all())


class Refusing(CinderThatDies):
    """Refuses to delete a volume in each of some states, and then deletes it."""

    def __init__(self, *states):
        super().__init__()
        self.states = list(states)
        self.deleted = False

    def delete(self, volume):
        """Delete it, or do not."""
        if self.states:
            refusal = errors.BackendError("refused")
            refusal.__cause__ = BadRequest(400)
            raise refusal
        self.deleted = True

    def volume(self, volume):
        """Return the volume in the next state."""
        if self.deleted:
            raise errors.NotFound
        return Volume(VOLUME, "", self.states.pop(0), GIB, None, False, {}, None)


@pytest.mark.parametrize("states", [["in-use", "detaching", "available"], ["available", "in-use", "available"]])
def test_a_volume_that_becomes_free_is_deleted(make_cinder, states):
    """A reader that has come to its end lets go of it while it is being deleted."""
    store = make_cinder()
    api, attacher = Refusing(*states), Attacher(store.id, Host(store.settings))
    deadline = Deadline(store._runtime.context(), 60)
    assert remove_volume(api, attacher, Refusing("in-use").volume(VOLUME), deadline) is Deletion.DELETED
    assert api.deleted


@pytest.mark.parametrize("states", [["available"] * 2, ["in-use"] * 50, ["error"]])
def test_a_volume_that_is_needed_is_not_waited_for(make_cinder, monkeypatch, states):
    """Snapshots hold one that is free, and others one that stays in use."""
    monkeypatch.setattr(removal, "_LEAVING", 0.5)
    store = make_cinder()
    api, attacher = Refusing(*states), Attacher(store.id, Host(store.settings))
    deadline = Deadline(store._runtime.context(), 60)
    with pytest.raises(errors.InUse):
        remove_volume(api, attacher, Refusing("in-use").volume(VOLUME), deadline)
    assert not api.deleted


def test_a_lock_that_nobody_lets_go_of(make_cinder):
    """Waiting for it ends."""
    host = Host(make_cinder(cinder_attach_timeout=1).settings)
    with host.locked("volume", "x"):
        failed = []

        def other():
            try:
                with host.locked("volume", "x"):
                    pass
            except errors.Busy as error:
                failed.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert failed
    with host.locked("volume", "x"):
        pass


def test_a_directory_of_locks_that_cannot_be_made(make_cinder, tmp_path):
    """The probe tells the option."""
    (tmp_path / "file").touch()
    store = make_cinder(cinder_lock_path=tmp_path / "file" / "locks")
    assert "cinder_lock_path" in store.probe().reason
