"""What users and operators do with Glance's API."""

import hashlib
import socket
import urllib.parse

import requests

from store_lib.tests import support
from store_lib.tests.functional.glance import service


class Client:
    """One user of a Glance; every answer must have the expected status.

    :param role: of the user; ``admin`` may copy images and see tasks, ``service`` may see locations.
    """

    def __init__(self, glance, role="admin"):
        self.glance = glance
        self._headers = {"X-Auth-Token": f"user:project:{role}"}

    def as_role(self, role):
        """Return another user."""
        return Client(self.glance, role)

    def ask(self, method, path, status, **kwargs):
        """Send a request and return the answer.

        :param status: that it must have; None for any.
        """
        headers = self._headers | kwargs.pop("headers", {})
        url = f"{self.glance.url}/v2/{path}"
        answer = requests.request(method, url, headers=headers, timeout=2 * service.PATIENCE, **kwargs)
        assert status is None or answer.status_code == status, (method, path, answer.status_code, answer.text)
        return answer

    # -- images -------------------------------------------------------------------------------------------------------

    def create(self, **properties):
        """Create an image record and return its id."""
        body = {"name": "image", "disk_format": "raw", "container_format": "bare", **properties}
        return self.ask("POST", "images", 201, json=body).json()["id"]

    def show(self, image):
        """Return the record of an image."""
        return self.ask("GET", f"images/{image}", 200).json()

    def upload(self, image, data, store=None, status=204):
        """Upload bytes, or an iterable of bytes of unknown length; return the answer."""
        headers = {"Content-Type": "application/octet-stream"}
        if store:
            headers["X-Image-Meta-Store"] = store
        return self.ask("PUT", f"images/{image}/file", status, data=data, headers=headers)

    def add(self, data, store=None, **properties):
        """Create an image with bytes and return its id."""
        image = self.create(**properties)
        self.upload(image, data, store)
        return image

    def download(self, image, status=200, headers=None, prefer=None):
        """Return the bytes of an image."""
        query = {"prefer": prefer} if prefer else {}
        return self.ask("GET", f"images/{image}/file", status, headers=headers or {}, params=query).content

    def delete(self, image, status=204):
        """Delete an image."""
        self.ask("DELETE", f"images/{image}", status)

    def delete_from(self, store, image, status=204):
        """Delete one copy of an image."""
        self.ask("DELETE", f"stores/{store}/{image}", status)

    def stores_of(self, image):
        """Return the stores that hold an image, the heaviest first."""
        return [name for name in self.show(image).get("stores", "").split(",") if name]

    def abandon(self, image, data, store=None):
        """Begin to upload twice as much as `data`, send it, and go away."""
        url = urllib.parse.urlsplit(self.glance.url)
        head = [
            f"PUT /v2/images/{image}/file HTTP/1.1",
            f"Host: {url.netloc}",
            "Content-Type: application/octet-stream",
            f"Content-Length: {2 * len(data)}",
            *(f"{name}: {value}" for name, value in self._headers.items()),
            *([f"X-Image-Meta-Store: {store}"] if store else []),
        ]
        with socket.create_connection((url.hostname, url.port), timeout=service.PATIENCE) as connection:
            connection.sendall("\r\n".join([*head, "", ""]).encode() + data)
            support.until(lambda: self.show(image)["status"] == "saving", service.PATIENCE)

    # -- imports and locations ----------------------------------------------------------------------------------------

    def stage(self, image, data, status=204):
        """Stage bytes for an import."""
        headers = {"Content-Type": "application/octet-stream"}
        self.ask("PUT", f"images/{image}/stage", status, data=data, headers=headers)

    def import_image(self, image, method, status=202, wait="active", failed=(), **body):
        """Import an image and wait until that is over.

        :param method: a dict, or the name of an import method.
        :param body: further members of the request, ``stores`` for example.
        :param wait: see :meth:`settled`.
        """
        method = {"name": method} if isinstance(method, str) else method
        self.ask("POST", f"images/{image}/import", status, json={"method": method, **body})
        return self.settled(image, wait, failed)

    def add_location(self, image, url, status=202, **body):
        """Add a location to a queued image; see :meth:`settled`."""
        return self.ask("POST", f"images/{image}/locations", status, json={"url": url, **body})

    def locations(self, image):
        """Return all locations of an image, as services see them."""
        return self.as_role("service").ask("GET", f"images/{image}/locations", 200).json()

    def tasks(self, image):
        """Return the tasks of an image."""
        return self.as_role("admin").ask("GET", f"images/{image}/tasks", 200).json()["tasks"]

    def settled(self, image, status="active", failed=()):
        """Wait until nothing goes on with an image any more, and return its record.

        Glance shows a new copy, and even the status ``active``, before the task that made it has saved the image for
        the last time; it then writes the list of locations that it knew before.  What is deleted in between comes back.

        :param failed: the stores into which the import is expected to fail.
        """

        def look():
            tasks = self.tasks(image)
            shown = self.show(image)
            going_on = shown.get("os_glance_importing_to_stores") or shown.get("os_glance_import_task")
            if any(task["status"] in ("pending", "processing") for task in tasks) or going_on:
                return None
            return shown

        try:
            shown = support.until(look, service.PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"it is not settled: {self.show(image)} {self.tasks(image)}") from error
        told = shown["status"], sorted(name for name in shown.get("os_glance_failed_import", "").split(",") if name)
        assert told == (status, sorted(failed)), (shown, self.tasks(image), self.glance.log[-3000:])
        return shown

    def stores(self, detail=False, status=200):
        """Return what Glance tells of its stores, by id."""
        answer = self.ask("GET", "info/stores/detail" if detail else "info/stores", status).json()
        return {store["id"]: store for store in answer["stores"]}

    def check(self, image, data, stores=None):
        """See that an image is whole: record, digests, bytes, and copies in exactly these stores; return the record."""
        shown = self.show(image)
        assert shown["status"] == "active"
        assert shown["size"] == len(data)
        assert shown["checksum"] == hashlib.md5(data).hexdigest()
        assert (shown["os_hash_algo"], shown["os_hash_value"]) == ("sha512", hashlib.sha512(data).hexdigest())
        assert self.download(image) == data
        if stores is not None:
            assert sorted(self.stores_of(image)) == sorted(stores)
        return shown
