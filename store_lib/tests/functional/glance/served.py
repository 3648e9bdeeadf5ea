"""Stores on real servers, started with the tools of this project."""

import configparser
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from store_lib.tests import support
from store_lib.tests.functional.glance.places import Place
from store_lib.tests.functional.glance.service import TOP

MIB = 1024 * 1024
#: Seconds that Cinder may take on a busy machine: each of its steps takes several requests.
CINDER_PATIENCE = 200


class Server:
    """What one of tools/services runs, in a folder of its own.

    STORE_LIB_SERVICES names a folder in which such servers are left running, for trying things out.
    """

    def __init__(self, tool):
        self._tool = TOP / "tools/services" / tool
        self._kept = os.environ.get("STORE_LIB_SERVICES")
        self.folder = Path(self._kept, tool) if self._kept else Path(tempfile.mkdtemp(prefix=f"store_lib-{tool}-"))
        try:
            self._printed = self._run("start")
        except BaseException:
            self.close()
            raise
        lines = (self.folder / "env").read_text().splitlines()
        self.env = {name: shlex.split(value)[0] for name, _, value in (line.partition("=") for line in lines)}

    def _run(self, action):
        done = subprocess.run([self._tool, action, self.folder], capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ceph_fsid(self):
        """Return the id of the Ceph cluster below it."""
        lines = Path(self.env["CEPH_CONF"]).read_text().splitlines()
        return next(line.partition("=")[2].strip() for line in lines if line.startswith("fsid"))

    def section(self, name=None):
        """Return the options of the section that the tool printed: of the last one, where there are several."""
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string("[" + self._printed.partition("[")[2])
        return dict(parser[name or parser.sections()[-1]])

    def close(self):
        """Stop it and remove its folder."""
        if self._kept:
            return
        try:
            self._run("stop")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


class S3Place(Place):
    """A bucket of Ceph's object gateway, over TLS."""

    kind = "s3"

    def __init__(self, store, server):
        import boto3
        from botocore.config import Config

        super().__init__(store)
        self._section = server.section()
        self._bucket = self._section["s3_store_bucket"]
        self._host = self._section["s3_store_host"].partition("://")[2]
        self._client = boto3.client(
            "s3",
            endpoint_url=self._section["s3_store_host"],
            region_name="us-east-1",
            verify=self._section["s3_store_cacert"],
            aws_access_key_id=self._section["s3_store_access_key"],
            aws_secret_access_key=self._section["s3_store_secret_key"],
            config=Config(s3={"addressing_style": "path"}),
        )
        self._client.create_bucket(Bucket=self._bucket)  # a second time does no harm

    def section(self):
        """Return the options of the store's section; images of some MiB are large ones."""
        return {**self._section, "s3_store_large_object_size": "5", "s3_store_large_object_chunk_size": "5"}

    def objects(self):
        """Return the keys of objects and of uploads that were begun."""
        found = self._client.list_objects_v2(Bucket=self._bucket).get("Contents", [])
        begun = self._client.list_multipart_uploads(Bucket=self._bucket).get("Uploads", [])
        return {entry["Key"] for entry in [*found, *begun]}

    def properties(self):
        """Return what stores-info detail tells of the store."""
        sizes = {"s3_store_large_object_size": 5 * MIB, "s3_store_large_object_chunk_size": 5 * MIB}
        return {**sizes, "s3_store_thread_pools": 10}

    def url(self, image):
        """Return the location of an image."""
        return f"s3+https://{self._host}/{self._bucket}/{image}"

    def take_away(self, image):
        """Remove an image behind Glance's back."""
        self._client.delete_object(Bucket=self._bucket, Key=image)


class RbdPlace(Place):
    """A pool of Ceph's."""

    kind = "rbd"

    def __init__(self, store, section, fsid):
        super().__init__(store)
        self._section = section
        self._fsid = fsid

    def _rbd(self, *words):
        command = ["rbd", "-c", self._section["rbd_store_ceph_conf"], "-p", self._section["rbd_store_pool"], *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.splitlines()

    def section(self):
        """Return the options of the store's section."""
        return self._section

    def objects(self):
        """Return the names of images, those in the trash included."""
        return {*self._rbd("ls"), *self._rbd("trash", "ls", "--all")}

    def properties(self):
        """Return what stores-info detail tells of the store."""
        pool = self._section["rbd_store_pool"]
        return {"chunk_size": 8 * MIB, "pool": pool, "thin_provisioning": False, "fsid": self._fsid}

    def url(self, image):
        """Return the location of an image."""
        return f"rbd://{self._fsid}/{self._section['rbd_store_pool']}/{image}/snap"

    def take_away(self, image):
        """Remove an image behind Glance's back."""
        self._rbd("snap", "unprotect", f"{image}@snap")
        self._rbd("snap", "purge", image, "--no-progress")
        self._rbd("rm", image, "--no-progress")


class SwiftPlace(Place):
    """A container of Swift's, with Keystone."""

    kind = "swift"

    def __init__(self, store, server):
        import swiftclient
        from keystoneauth1 import session
        from keystoneauth1.identity import v3

        super().__init__(store)
        self._section = server.section()
        project, _, user = self._section["swift_store_user"].partition(":")
        password = v3.Password(
            self._section["swift_store_auth_address"],
            username=user,
            password=self._section["swift_store_key"],
            project_name=project,
            user_domain_id="default",
            project_domain_id="default",
        )
        self._client = swiftclient.Connection(session=session.Session(password))
        self._client.put_container("glance")

    def section(self):
        """Return the options of the store's section."""
        return self._section

    def objects(self):
        """Return the names of all objects, of segments as well."""
        found = set()
        for container in self._client.get_account(full_listing=True)[1]:
            name = container["name"]
            found |= {entry["name"] for entry in self._client.get_container(name, full_listing=True)[1]}
        return found

    def properties(self):
        """Return what stores-info detail tells of the store."""
        megabyte = 1_024_000
        sizes = {"large_object_size": 5120 * megabyte, "large_object_chunk_size": 200 * megabyte}
        return {"container": "glance", **sizes}

    def url(self, image):
        """Return the location of an image."""
        return f"swift+config://ref1/glance/{image}"

    def take_away(self, image):
        """Remove an image behind Glance's back."""
        self._client.delete_object("glance", image)


class CinderPlace(Place):
    """Volumes of Cinder's, in Ceph.

    :param kind: the type of the volumes.
    """

    kind = "cinder"

    def __init__(self, store, server, kind):
        from cinderclient import client
        from keystoneauth1 import session
        from keystoneauth1.identity import v3

        super().__init__(store)
        self._section = {**server.section(kind), "cinder_rbd_keyring": server.env["CEPH_KEYRING"]}
        password = v3.Password(
            self._section["cinder_store_auth_address"],
            username=self._section["cinder_store_user_name"],
            password=self._section["cinder_store_password"],
            project_name=self._section["cinder_store_project_name"],
            user_domain_id="default",
            project_domain_id="default",
        )
        self._client = client.Client("3.54", session=session.Session(password))

    def _volumes(self):
        """Return all volumes of the type, once those are gone or not that are being deleted."""

        def settled():
            kind = self._section["cinder_volume_type"]
            found = [each for each in self._client.volumes.list() if each.volume_type == kind]
            return None if any(each.status == "deleting" for each in found) else [found]

        return support.until(settled, CINDER_PATIENCE)[0]

    def _volume(self, image):
        return next(each for each in self._volumes() if each.name == f"image-{image}")

    def section(self):
        """Return the options of the store's section."""
        return self._section

    def objects(self):
        """Return the names of the volumes."""
        return {each.name for each in self._volumes()}

    def attached(self):
        """Return the volumes that are attached to some host, or are about to be."""
        return [each.volume_id for each in self._client.attachments.list()]

    def properties(self):
        """Return what stores-info detail tells of the store."""
        return {"volume_type": self._section["cinder_volume_type"], "use_multipath": False}

    def url(self, image):
        """Return the location of an image."""
        return f"cinder://{self.store}/{self._volume(image).id}"

    def take_away(self, image):
        """Remove an image behind Glance's back."""
        self._volume(image).delete()
        support.until(lambda: not self.holds(image), CINDER_PATIENCE)
