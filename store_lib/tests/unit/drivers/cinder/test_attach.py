"""Attaching and removing without a Cinder: notes of the dead, sharing, locks, what is in the way of a delete."""

import json
import os
import threading
from typing import ClassVar

import pytest
from cinderclient.exceptions import BadRequest

from store_lib import errors
from store_lib.drivers.cinder import attach as attach_module
from store_lib.drivers.cinder import removal
from store_lib.drivers.cinder.api import Api, Deadline, Volume
from store_lib.drivers.cinder.attach import Attacher, Readers
from store_lib.drivers.cinder.host import Host
from store_lib.drivers.cinder.notes import Note, Notes
from store_lib.drivers.cinder.removal import remove_volume
from store_lib.interface import GIB, Deletion
from store_lib.tests.support import Child, until
from store_lib.tests.unit.drivers.cinder.conftest import VOLUME


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


class CinderThatDies(Api):
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


def test_a_delete_that_takes_longer_is_deferred(make_cinder):
    """It goes on without anybody who watches it."""
    store = make_cinder()
    api, attacher = Refusing(*["deleting"] * 3), Attacher(store.id, Host(store.settings))
    deadline = Deadline(store._runtime.context(), 0)
    assert remove_volume(api, attacher, Refusing("available").volume(VOLUME), deadline) is Deletion.DEFERRED


class Occupied(CinderThatDies):
    """A volume in each of some states, which can be reserved in the last one only."""

    def __init__(self, *states):
        super().__init__()
        self.states = list(states)
        self.refused = 0

    def reserve(self, volume, writable):
        """Reserve it, or do not."""
        if self.states:
            self.refused += 1
            refusal = errors.BackendError("refused")
            refusal.__cause__ = BadRequest(400)
            raise refusal
        return "an-attachment"

    def volume(self, volume):
        """Return the volume in the next state."""
        return Volume(VOLUME, "", self.states.pop(0), GIB, None, False, {}, None)


def test_who_waits_for_a_volume_looks_and_does_not_press(make_cinder):
    """It is asked for again once it was seen to be free, or was free already when it was refused."""
    store = make_cinder()
    attacher, volume = Attacher(store.id, Host(store.settings)), Occupied("in-use").volume(VOLUME)
    for states, refused in ((["in-use", "detaching", "available"], 1), (["available"] * 2, 2)):
        api = Occupied(*states)
        deadline = Deadline(store._runtime.context(), 60)
        assert attacher._reserve(api, volume, False, deadline) == "an-attachment"
        assert api.refused == refused


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
