"""The cinder store without a Cinder: locations, options, what errors mean, devices, connectors."""

import errno
import os
import threading

import pytest

from store_lib import errors
from store_lib.drivers.cinder import failures, values
from store_lib.drivers.cinder.api import Volume
from store_lib.drivers.cinder.base import PathDevice, connector_of, protocol_of
from store_lib.drivers.cinder.brick import BrickConnector
from store_lib.drivers.cinder.iscsi import IscsiConnector
from store_lib.drivers.cinder.nfs import NfsConnector
from store_lib.drivers.cinder.rbd import RbdConnector
from store_lib.errors import Outcome
from store_lib.interface import GIB, KIB, Feature, Owner
from store_lib.tests.support import payload
from store_lib.tests.unit.drivers.cinder.conftest import LOGIN, VOLUME

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


def test_tls():
    """A certificate that is not trusted stays so, and the option is told; what broke off may be tried again."""
    from keystoneauth1 import exceptions

    broken = exceptions.SSLError("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol")
    wrong = exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] unable to get local issuer certificate")
    for translate, outcome in ((failures.of_keystone, Outcome.NOT_DONE), (failures.of_request, Outcome.UNKNOWN)):
        found = translate(broken)
        assert found is not None
        assert (type(found), found.transient, found.outcome) == (errors.StoreUnavailable, True, outcome)
        found = translate(wrong)
        assert found is not None
        assert (type(found), found.transient, found.outcome) == (errors.StoreUnavailable, False, Outcome.NOT_DONE)
        assert "cinder_ca_certificates_file" in str(found)


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
    assert type(connector_of(host, "iscsi")) is IscsiConnector
    assert type(connector_of(host, "lightos")) is BrickConnector
    with pytest.raises(errors.StoreUnavailable, match="no protocol pigeons"):
        connector_of(host, "pigeons").attach({"driver_volume_type": "pigeons"}, False)


def test_protocols_of_pools():
    """They are told by the names of their connectors; pools of several protocols tell none."""
    names = {"ceph": "rbd", "NFS": "nfs", "iSCSI": "iscsi", "FC": "fibre_channel", "NVMe-TCP": "nvmeof", "new": "new"}
    for told, name in names.items():
        assert protocol_of([{"storage_protocol": told}] * 2) == name
    assert protocol_of([]) is protocol_of([{}]) is None
    assert protocol_of([{"storage_protocol": each} for each in ("ceph", "NFS")]) is None


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
