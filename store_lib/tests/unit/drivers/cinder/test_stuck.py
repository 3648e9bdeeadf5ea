"""Volumes that this host cannot let go of: Cinder keeps them attached until it has."""

import errno

import pytest
from cinderclient.exceptions import BadRequest

from store_lib import errors
from store_lib.drivers.cinder import attach as attach_module
from store_lib.drivers.cinder import leftovers, values
from store_lib.drivers.cinder.api import Deadline, Volume
from store_lib.drivers.cinder.attach import Attacher
from store_lib.drivers.cinder.base import connector_of
from store_lib.drivers.cinder.host import Host
from store_lib.drivers.cinder.removal import remove_volume
from store_lib.drivers.cinder.transfer import CinderUpload
from store_lib.interface import GIB, Deletion
from store_lib.leftovers import may_go
from store_lib.tests.unit.drivers.cinder.conftest import VOLUME
from store_lib.tests.unit.drivers.cinder.test_attach import CinderThatDies, Connected

NAME = "an-attachment"


class Sticky(Connected):
    """Its device stays as long as something holds it."""

    SHARED = True

    def __init__(self):
        super().__init__()
        self.held, self.comes = True, True

    def attach(self, connection, writable):
        """Return the device, or fail."""
        if not self.comes:
            raise OSError(errno.EIO, "the device does not come")
        return self

    def size(self):
        """Return its size in bytes."""
        return GIB

    def detach(self, connection, info, own):
        """Keep what it was told, or fail."""
        if self.held:
            raise errors.OperationTimeout("dm-0 stays")
        super().detach(connection, info, own)


class Keeping(CinderThatDies):
    """Stands for the API, with one volume that is being written; an attached one cannot be deleted."""

    def __init__(self, connector):
        super().__init__()
        self.connector = connector
        self.attached, self.others, self.deleted, self.multiattach = set(), [], False, False

    def reserve(self, volume, writable):
        """Reserve it."""
        self.attached.add(NAME)
        return NAME

    def volume(self, volume):
        """Return it."""
        if self.deleted:
            raise errors.NotFound
        metadata = {values.IMAGE: "x", values.STATE: values.UPLOADING}
        status = "in-use" if self.attached else "available"
        return Volume(VOLUME, "", status, GIB, None, self.multiattach, metadata, None)

    def wait(self, *args, **options):
        """Return it."""
        return self.volume(VOLUME)

    def connection(self, attachment, properties=None):
        """Return how it is reached."""
        return {"driver_volume_type": "fake"} if attachment in self.attached else None

    def attachments(self, volume):
        """Return those of others."""
        return self.others

    def release(self, attachment):
        """End an attachment."""
        super().release(attachment)
        self.attached.discard(attachment)

    def delete(self, volume):
        """Delete it, unless it is attached."""
        if self.attached:
            raise errors.BackendError("refused") from BadRequest(400)
        self.deleted = True


@pytest.fixture
def connector(monkeypatch):
    """Return what every protocol's connector is."""
    made = Sticky()
    monkeypatch.setattr(attach_module, "connector_of", lambda host, protocol: made)
    monkeypatch.setattr(Host, "properties", lambda self: {"host": "here"})
    return made


@pytest.fixture
def api(connector):
    """Return what stands for the API."""
    return Keeping(connector)


@pytest.fixture
def store(make_cinder):
    """Return a store."""
    return make_cinder()


@pytest.fixture
def attacher(store):
    """Return what attaches for it."""
    return Attacher(store.id, Host(store.settings))


@pytest.fixture
def attach(store, attacher, api):
    """Return a function that attaches the volume."""
    return lambda: attacher.attach(api, api.volume(VOLUME), True, store._runtime.context())


def test_the_attachment_stays_until_the_host_has_let_go(connector, api, attacher, attach):
    """The error says what to do; another call tries the same again."""
    attached = attach()
    with pytest.raises(errors.OperationTimeout, match=r"dm-0 stays; .*'store-lib store sweep volumes'"):
        attached.detach()
    assert (api.released, attached.here) == ([], True)
    assert not attacher.bury(api, VOLUME), "it is still its user's"
    connector.held = False
    attached.detach()
    attached.detach()
    assert (api.released, attached.here) == ([NAME], False)
    assert connector.detached == [({"mounted": True}, True)]
    assert not list(attacher.notes.all())


def test_the_next_one_detaches_it(connector, api, attacher, attach):
    """By its note, as often as it takes."""
    with pytest.raises(errors.OperationTimeout):
        attach().leave()
    for _ in range(2):
        (note,) = attacher.notes.all()
        assert (note.dead, note.stuck, note.own, note.info) == (True, True, True, {"mounted": True})
        with pytest.raises(errors.OperationTimeout, match="store sweep"):
            attacher.bury(api, VOLUME)
    assert api.released == []
    connector.held = False
    assert attacher.bury(api, VOLUME)
    assert api.released == [NAME]
    assert not list(attacher.notes.all())


@pytest.mark.parametrize("gone", ["attachment", "volume"])
def test_what_the_operator_has_ended_is_forgotten(api, attacher, attach, gone):
    """Of an attachment that Cinder does not know, only the note is left to go."""
    with pytest.raises(errors.OperationTimeout):
        attach().leave()
    api.attached.clear()
    api.deleted = gone == "volume"
    assert attacher.bury(api, VOLUME)
    assert not list(attacher.notes.all())


def test_a_volume_that_does_not_come_whole_and_does_not_go(connector, api, attacher, attach):
    """The first error is told, and nothing is tried again that would fail by the second one."""
    connector.comes = False
    with pytest.raises(errors.StoreUnavailable, match="does not come") as told:
        attach()
    assert not told.value.transient
    assert api.released == []
    connector.held = False
    assert attacher.bury(api, VOLUME)
    with pytest.raises(OSError, match="does not come"):  # the engine has it translated, and tries again
        attach()
    assert not attacher.bury(api, VOLUME)


def test_who_shares_the_device_does_not_wait_for_it(api, attach):
    """It is not for him to take it away: his attachment ends at once."""
    api.multiattach, api.others = True, [Shown("another")]
    attached = attach()
    attached.leave()
    assert (api.released, attached.here) == ([NAME], False)


class Shown:
    """An attachment as the client has it."""

    def __init__(self, name):
        self.id = name

    def to_dict(self):
        """Return what Cinder tells."""
        return {"connection_info": {}}


def test_an_unfinished_volume_stays_until_the_host_has_let_go(connector, api, store, attacher):
    """What an add leaves that failed: a sweep detaches and deletes it, however young it is, when that can be done."""
    driver, context = store._driver, store._runtime.context()
    driver.attacher = attacher
    upload = CinderUpload(driver, api, "x", 5, context)
    upload._volume = VOLUME
    upload._attach(api.volume(VOLUME))
    (told,) = upload.abort()
    (found,) = leftovers.find(api, attacher, store.id, iter([api.volume(VOLUME)]))
    assert found.address == told.address == ("volume", VOLUME)
    assert may_go(found, store._runtime.clock.wall(), 1e9)
    assert found.abandoned
    with pytest.raises(errors.OperationTimeout):
        leftovers.sweep(api, attacher, found, context)
    assert (api.released, api.deleted) == ([], False)
    connector.held = False
    leftovers.sweep(api, attacher, found, context)
    assert (api.released, api.deleted) == ([NAME], True)
    assert not list(attacher.notes.all())


def test_an_upload_that_goes_on_detaches_before_it_releases(connector, api, store, attacher):
    """One more try finds the volume attached: not by a request without an answer, but by this host."""
    driver = store._driver
    driver.attacher = attacher
    upload = CinderUpload(driver, api, "x", 5, store._runtime.context())
    upload._volume, connector.comes = VOLUME, False
    with pytest.raises(errors.StoreUnavailable, match="does not come"):
        upload.start()
    with pytest.raises(errors.OperationTimeout, match="dm-0 stays"):
        upload.start()
    assert api.released == []
    connector.held, connector.comes = False, True
    upload.start()
    assert api.released == [NAME]
    assert upload.abort() == ()
    assert api.deleted


def test_an_image_whose_reader_is_stuck_is_not_deleted(connector, api, store, attacher, attach):
    """It is once it can be detached."""
    deadline = Deadline(store._runtime.context(), 60)
    with pytest.raises(errors.OperationTimeout):
        attach().leave()
    with pytest.raises(errors.OperationTimeout, match="store sweep"):
        remove_volume(api, attacher, api.volume(VOLUME), deadline)
    assert not api.deleted
    connector.held = False
    assert remove_volume(api, attacher, api.volume(VOLUME), deadline) is Deletion.DELETED


def test_a_protocol_that_nobody_knows_leaves_nothing(host):
    """Nothing of it can be here: its attachment may end."""
    connector_of(host, "pigeons").detach({"driver_volume_type": "pigeons"}, {}, True)
