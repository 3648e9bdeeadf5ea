"""Images of a Glance whose store is an NFS share."""

import pytest

from store_lib.tests import support
from store_lib.tests.functional.glance.client import Client
from store_lib.tests.functional.nfs.conftest import LIMIT, mount, mounted, unmount

#: Glance takes one to two minutes to start in the guest.
pytestmark = pytest.mark.timeout(2 * LIMIT)


@pytest.fixture
def user(glance):
    """Return an administrator."""
    return Client(glance)


@pytest.fixture
def place(glance, tmp_path):
    """Return the store, mounted as the operator does it."""
    (place,) = glance.places
    place.point.mkdir(exist_ok=True)
    mount(place.share, place.point)
    return place


def test_glance_keeps_its_images_on_the_share(user, place):
    data = support.payload(3 * support.MIB + 5)
    image = user.add(data)
    assert (user.show(image)["status"], user.show(image)["size"]) == ("active", len(data))
    assert place.share.names == [image]
    assert (place.share.folder / image).read_bytes() == data
    assert user.download(image) == data
    (where,) = [each["url"] for each in user.locations(image)]
    assert where == f"file://{place.point}/{image}"
    told = user.stores(detail=True)[place.store]
    print(told)
    assert told["type"] == "file"
    assert told["properties"]["data_dir"] == str(place.point)

    unmount(place.point)
    late = user.create()
    answer = user.upload(late, b"late", status=None)
    print(answer.status_code, answer.reason)
    assert answer.status_code >= 400
    assert support.names(place.point) == []
    assert user.ask("GET", f"images/{image}/file", None).status_code >= 400
    assert user.ask("DELETE", f"images/{image}", None).status_code >= 400
    assert (place.share.folder / image).read_bytes() == data

    mount(place.share, place.point)
    assert mounted() == [str(place.point)]
    assert user.download(image) == data
    user.upload(late, b"late")
    assert user.download(late) == b"late"
    for each in (image, late):
        user.delete(each)
    assert place.share.names == []
