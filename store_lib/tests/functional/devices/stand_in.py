"""As much of Cinder's and Keystone's API as the store asks for, over volumes of the kernel's own targets.

The devices are real: what attaching, writing, growing and detaching come to on this host is the same as with a Cinder.
One that runs here takes minutes to start, and for each image most of a minute; `cinder_block` has it in long runs.
"""

import ast
import dataclasses
import datetime
import http.server
import json
import re
import subprocess
import threading
import urllib.parse
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from store_lib.interface import GIB

PROJECT = uuid.uuid4().hex
KIND, NOWHERE = "volumes", "nowhere"
#: GiB that the project may have.
QUOTA = 1000
_HEX = "([0-9a-f-]{36})"
_ROUTES: list[tuple[str, re.Pattern[str], Any]] = []


class _Refusal(Exception):
    """An answer that is none: its code, its name in Cinder's words, and its text."""


def _missing(what, name):
    return _Refusal(404, "itemNotFound", f"{what} {name} could not be found.")


def _refused(text):
    return _Refusal(400, "badRequest", text)


def _now():
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat()


def _answers(method, path):
    """Have a function answer requests for a path below the project's; it gets what the path's groups match."""

    def register(function):
        _ROUTES.append((method, re.compile(path), function))
        return function

    return register


@dataclasses.dataclass
class _Volume:
    told: dict[str, Any]
    target: Any
    read_only: bool = False
    problem: str = ""


class StandIn:
    """The servers.  Requests are answered one after another.

    :param target: makes what has one volume of a `size` in bytes, at some of `places`: it has `file`, which holds the
        bytes, and `connection`, which is what Cinder tells of it; it can `export` the volume at some places, `withdraw`
        and `grow` it, be `in_use` by this host, and be removed by `remove`.
    :param places: where volumes are reached: all of them by who has several paths, and else the first.
    """

    def __init__(self, target: Callable[..., Any], places: Sequence[str]):
        self._target = target
        self._places = tuple(places)
        self._volumes: dict[str, _Volume] = {}
        self._attachments: dict[str, dict[str, Any]] = {}
        self._token = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.stand_in = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, name="stand-in", daemon=True).start()

    def section(self, name, **options):
        """Return the lines of a store's group."""
        own = {
            "cinder_volume_type": KIND,
            "cinder_store_auth_address": f"{self.url}/identity/v3",
            "cinder_store_user_name": "images",
            "cinder_store_password": "images-pw",
            "cinder_store_project_name": "images",
            "cinder_mount_point_base": "/tmp/stand-in",
        }
        return "\n".join([f"[{name}]", *(f"{option} = {value}" for option, value in (own | options).items())])

    def volumes(self):
        """Return the ids of the volumes that are there."""
        return list(self._volumes)

    def attachments(self):
        """Return the ids of the attachments that are there."""
        return list(self._attachments)

    def stop(self):
        """End, and take away what is left of the volumes."""
        self._server.shutdown()
        self._server.server_close()
        for volume in self._volumes.values():
            if volume.target is not None:
                volume.target.remove()

    def answer(self, method, path, headers, body):
        """Return code, headers and body of an answer."""
        path, _, query = path.partition("?")
        if (method, path) == ("POST", "/identity/v3/auth/tokens"):
            return 201, {"X-Subject-Token": self._token}, self._login()
        if path.rstrip("/") == "/v3":
            return 200, {}, {"versions": [{"id": "v3.0", "status": "CURRENT", "version": "3.71", "min_version": "3.0"}]}
        if headers.get("X-Auth-Token") != self._token:
            return 401, {}, {"unauthorized": {"code": 401, "message": "no such token"}}
        below = path.removeprefix(f"/v3/{PROJECT}")
        given = dict(urllib.parse.parse_qsl(query))
        for known, pattern, function in _ROUTES:
            if method == known and (found := pattern.fullmatch(below)):
                try:
                    with self._lock:
                        code, told = function(self, *found.groups(), {**given, **(body or {})})
                except _Refusal as refusal:
                    code, name, text = refusal.args
                    told = {name: {"code": code, "message": text}}
                return code, {}, told
        # What only administrators may ask.
        return 403, {}, {"forbidden": {"code": 403, "message": "Policy doesn't allow that."}}

    def _login(self):
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=12)
        place = {"interface": "public", "region": "RegionOne", "region_id": "RegionOne", "id": uuid.uuid4().hex}
        endpoint = {**place, "url": f"{self.url}/v3/{PROJECT}"}
        service = {"type": "volumev3", "name": "cinderv3", "id": uuid.uuid4().hex, "endpoints": [endpoint]}
        domain = {"id": "default", "name": "Default"}
        return {
            "token": {
                "methods": ["password"],
                "issued_at": f"{_now()}Z",
                "expires_at": f"{end.replace(tzinfo=None).isoformat()}Z",
                "user": {"id": uuid.uuid4().hex, "name": "images", "domain": domain},
                "project": {"id": PROJECT, "name": "images", "domain": domain},
                "roles": [{"id": uuid.uuid4().hex, "name": "member"}],
                "catalog": [service],
            }
        }

    # -- volumes ------------------------------------------------------------------------------------------------------

    def _volume(self, name):
        if name not in self._volumes:
            raise _missing("Volume", name)
        return self._volumes[name]

    @_answers("POST", "/volumes")
    def create(self, given):
        """Make a volume, or a clone of one."""
        wanted, name = given["volume"], str(uuid.uuid4())
        told = {key: wanted.get(key) for key in ("name", "size", "volume_type", "metadata")}
        more = {"id": name, "status": "available", "multiattach": False, "created_at": _now(), "updated_at": None}
        source = wanted.get("source_volid")
        target, problem = None, ""
        if wanted["volume_type"] == NOWHERE:
            more["status"], problem = "error", "Could not find any available weighted backend."
        else:
            target = self._target((), size=wanted["size"] * GIB)
        if source is not None and target is not None:
            origin = self._volume(source).target
            subprocess.run(["cp", "--sparse=always", origin.file, target.file], check=True, timeout=120)
        self._volumes[name] = _Volume(told | more, target, problem=problem)
        return 202, {"volume": told | more | {"status": "creating"}}

    @_answers("GET", "/volumes/detail")
    def list_volumes(self, given):
        """Return the volumes, the youngest first, those after a marker or with some metadata only."""
        wanted = ast.literal_eval(given.get("metadata", "{}")).items()
        found = [each.told for each in self._volumes.values() if wanted <= each.told["metadata"].items()][::-1]
        names = [each["id"] for each in found]
        start = names.index(given["marker"]) + 1 if "marker" in given else 0
        return 200, {"volumes": found[start : start + int(given.get("limit", 1000))]}

    @_answers("GET", f"/volumes/{_HEX}")
    def show_volume(self, name, given):
        """Return a volume."""
        return 200, {"volume": self._volume(name).told}

    @_answers("DELETE", f"/volumes/{_HEX}")
    def delete_volume(self, name, given):
        """Remove a volume that is free."""
        volume = self._volume(name)
        if volume.told["status"] not in ("available", "error"):
            raise _refused(f"Invalid volume: Volume status must be available or error, not {volume.told['status']}.")
        del self._volumes[name]
        if volume.target is not None:
            volume.target.remove()
        return 202, None

    @_answers("POST", f"/volumes/{_HEX}/action")
    def act(self, name, given):
        """Extend a volume, or have it be read only."""
        volume = self._volume(name)
        if "os-extend" in given:
            size = given["os-extend"]["new_size"]
            if volume.told["status"] not in ("available", "in-use") or size <= volume.told["size"]:
                raise _refused(f"Invalid volume: it is {volume.told['status']}, of {volume.told['size']} GiB.")
            volume.target.grow(size * GIB)
            volume.told["size"] = size
        else:
            volume.read_only = given["os-update_readonly_flag"]["readonly"]
        return 202, None

    @_answers("POST", f"/volumes/{_HEX}/metadata")
    def note(self, name, given):
        """Add to the metadata of a volume."""
        volume = self._volume(name)
        volume.told["metadata"] = {**volume.told["metadata"], **given["metadata"]}
        volume.told["updated_at"] = _now()
        return 200, {"metadata": volume.told["metadata"]}

    @_answers("GET", "/messages")
    def messages(self, given):
        """Return why a volume could not be made."""
        found = self._volumes.get(given["resource_uuid"])
        told = [{"id": "1", "user_message": found.problem, "created_at": _now()}] if found and found.problem else []
        return 200, {"messages": told}

    # -- attachments --------------------------------------------------------------------------------------------------

    def _attachment(self, name):
        if name not in self._attachments:
            raise _missing("Volume attachment", name)
        return self._attachments[name]

    @_answers("POST", "/attachments")
    def reserve(self, given):
        """Reserve a volume that is free."""
        wanted = given["attachment"]
        volume = self._volume(wanted["volume_uuid"])
        if volume.told["status"] != "available":
            raise _refused(f"Invalid volume: it must be available to reserve, but it is {volume.told['status']}.")
        volume.told["status"] = "reserved"
        mode = "ro" if volume.read_only else wanted.get("mode", "rw")
        made = {"id": str(uuid.uuid4()), "volume_id": volume.told["id"], "attach_mode": mode, "status": "reserved"}
        self._attachments[made["id"]] = made | {"attached_at": None, "connection_info": {}}
        return 200, {"attachment": self._attachments[made["id"]]}

    @_answers("PUT", f"/attachments/{_HEX}")
    def export(self, name, given):
        """Have a reserved volume be reached by this host."""
        made = self._attachment(name)
        volume = self._volume(made["volume_id"])
        several = given["attachment"]["connector"].get("multipath")
        volume.target.export(self._places if several else self._places[:1])
        volume.told["status"] = made["status"] = "attaching"
        made["connection_info"] = {**volume.target.connection, "access_mode": made["attach_mode"]}
        made["attached_at"] = _now()
        return 200, {"attachment": made}

    @_answers("POST", f"/attachments/{_HEX}/action")
    def complete(self, name, given):
        """Note that a volume is attached."""
        made = self._attachment(name)
        made["status"] = "attached"
        self._volume(made["volume_id"]).told["status"] = "in-use"
        return 204, None

    @_answers("DELETE", f"/attachments/{_HEX}")
    def release(self, name, given):
        """End an attachment; one whose device is still here was not detached as it should be."""
        volume = self._volume(self._attachment(name)["volume_id"])
        if volume.target.in_use():
            raise _Refusal(500, "computeFault", "this host is still logged in to the volume's target")
        volume.target.withdraw()
        volume.told["status"] = "available"
        del self._attachments[name]
        return 200, {"attachments": []}

    @_answers("GET", "/attachments/detail")
    def list_attachments(self, given):
        """Return the attachments of a volume."""
        found = [each for each in self._attachments.values() if each["volume_id"] == given["volume_id"]]
        return 200, {"attachments": found}

    @_answers("GET", f"/attachments/{_HEX}")
    def show_attachment(self, name, given):
        """Return an attachment."""
        return 200, {"attachment": self._attachment(name)}

    # -- the cloud ----------------------------------------------------------------------------------------------------

    @_answers("GET", "/types")
    def types(self, given):
        """Return the volume types."""
        found = [{"id": name, "name": name, "extra_specs": {}} for name in (KIND, NOWHERE)]
        return 200, {"volume_types": found}

    @_answers("GET", "/limits")
    def limits(self, given):
        """Return the quota."""
        used = sum(each.told["size"] for each in self._volumes.values())
        told = {"maxTotalVolumeGigabytes": QUOTA, "totalGigabytesUsed": used}
        return 200, {"limits": {"rate": [], "absolute": told}}


class _Server(http.server.ThreadingHTTPServer):
    stand_in: StandIn
    daemon_threads = True
    request_queue_size = 64


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer leaves in one piece
    disable_nagle_algorithm = True

    def _handle(self):
        length = int(self.headers.get("Content-Length") or 0)
        given = json.loads(self.rfile.read(length)) if length else None
        code, headers, told = self.server.stand_in.answer(self.command, self.path, self.headers, given)
        body = b"" if told is None else json.dumps(told).encode()
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        if code != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _handle

    def log_message(self, form, *values):
        """Tell nobody."""
