"""An unmodified Glance in processes of its own, on loopback.

It is served as an operator serves it: gunicorn with threads, a WSGI file with one line more than Glance's own, a
configuration file and a database below one folder.  The database is sqlite, and Glance's own fake middleware for its
functional tests stands for Keystone.
"""

import configparser
import os
import pathlib
import shutil
import signal
import socket
import subprocess

import requests

from store_lib.tests import support

TOP = pathlib.Path(__file__).resolve().parents[4]
ENVIRONMENT = TOP / ".venv-glance"
PYTHON = ENVIRONMENT / "bin/python"
#: Seconds that everything which should happen may take on a busy machine.
PATIENCE = 60.0

#: The WSGI file, by what is under Glance: store_lib by the one line of the guide, the peer, or store_lib by the
#: stand-in of the peer's name, with which no line changes.
WSGI = {
    "store_lib": "import store_lib.compat; store_lib.compat.install()\nfrom glance.wsgi.api import application\n",
    "glance_store": "from glance.wsgi.api import application\n",
    "stand_in": "from glance.wsgi.api import application\n",
}
#: Where the distribution called glance_store lies that each needs.
PATHS = {"glance_store": ENVIRONMENT / "peer", "stand_in": TOP / "tools/glance-store-standin"}

# oslo.db begins transactions that read first and write later, which sqlite cannot have in two threads at once.
GUNICORN = """
from sqlalchemy import Engine, event

@event.listens_for(Engine, "before_cursor_execute", retval=True)
def immediate(connection, cursor, statement, parameters, context, many):
    return ("BEGIN IMMEDIATE" if statement == "BEGIN" else statement), parameters
"""

PASTE = """
[pipeline:glance-api]
pipeline = fakeauth context rootapp
[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app
[app:apiversions]
paste.app_factory = glance.api.versions:create_resource
[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory
[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory
[filter:fakeauth]
paste.filter_factory = glance.tests.utils:FakeAuthMiddleware.factory
"""


def library():
    """Return what the suite runs Glance on; ``STORE_LIB_GLANCE_ON=glance_store`` shows what the peer does."""
    return os.environ.get("STORE_LIB_GLANCE_ON", "store_lib")


def command(name, *arguments, on=None):
    """Return the command line that runs a console script of Glance on a library."""
    script = ENVIRONMENT / "bin" / name
    module = ["-m", "store_lib.compat"] if (on or library()) == "store_lib" else []
    return [str(PYTHON), *module, str(script), *map(str, arguments)]


def environment(folder, on=None):
    """Return the environment variables for a process of Glance."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PYTHON"))}
    kept |= {"HOME": str(folder), "OS_GLANCE_CONFIG_DIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    path = PATHS.get(on or library())
    return kept | ({"PYTHONPATH": str(path)} if path else {})


class Glance:
    """One Glance, with its database and its configuration below `folder`.

    :param places: its stores; the first one is the default.
    :param template: a database file made by :func:`make_database`.
    :param single: configure the first place the old way, as the only one beside an http store.
    :param options: of ``[DEFAULT]``.
    """

    def __init__(self, folder, places, template, *, on=None, single=False, **options):
        self.folder = folder
        self.places = places
        self.single = single
        self.library = on or library()
        self.options = options
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if not self.database.exists():
            shutil.copyfile(template, self.database)

    @property
    def database(self):
        """Return the path of the database."""
        return self.folder / "glance.sqlite"

    @property
    def config(self):
        """Return the path of the configuration file."""
        return self.folder / "glance-api.conf"

    @property
    def pid(self):
        """Return the id of its first process."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def staging(self):
        """Return the folder of staged images."""
        return self.folder / "staging"

    @property
    def log(self):
        """Return the text of the log so far."""
        return "".join(
            path.read_text(errors="replace")
            for path in (self.folder / "glance.log", self.folder / "gunicorn.log")
            if path.exists()
        )

    def start(self):
        """Start it and wait until it answers."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self._write_files()
            with open(self.folder / "gunicorn.log", "ab") as log:
                self._process = subprocess.Popen(
                    [
                        str(PYTHON), "-m", "gunicorn", "--config", "gunicorn.conf.py", "--bind", f"fd://{listener.fileno()}",
                        "--workers", "1", "--threads", "16", "--timeout", "0", "--graceful-timeout", "10",
                        "--log-level", "warning", "glance_wsgi:application",
                    ],
                    cwd=self.folder,
                    env=environment(self.folder, self.library),
                    pass_fds=[listener.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )  # fmt: skip
        try:
            support.until(self._answers, PATIENCE)
        except BaseException:
            self.stop()
            raise
        return self

    def _answers(self):
        running = self._process is not None and self._process.poll() is None
        assert running, f"Glance did not start:\n{self.log[-4000:]}"
        try:
            return requests.get(self.url, timeout=PATIENCE).status_code == 401  # we say not who we are
        except requests.ConnectionError:
            return False

    def stop(self, number=signal.SIGTERM):
        """Stop it and wait for its end; its folder stays."""
        if self._process is None:
            return
        group = self._process.pid
        if self._process.poll() is None:
            (os.killpg if number == signal.SIGKILL else os.kill)(group, number)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(group, signal.SIGKILL)
            self._process.wait()
            raise
        finally:
            self._process = None

    def restart(self):
        """Stop and start it; its address changes."""
        self.stop()
        return self.start()

    def run(self, name, *arguments):
        """Run a console script of Glance to its end on this configuration and return what it printed."""
        done = subprocess.run(
            command(name, *arguments, on=self.library),
            cwd=self.folder,
            env=environment(self.folder, self.library),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def _write_files(self):
        (self.folder / "glance_wsgi.py").write_text(WSGI[self.library])
        (self.folder / "gunicorn.conf.py").write_text(GUNICORN)
        (self.folder / "paste.ini").write_text(PASTE)
        self.write_config()

    def write_config(self):
        """Write the configuration file, ``glance-api.conf``."""
        folder = self.folder
        sections = {
            "DEFAULT": {
                "enabled_import_methods": "[glance-direct,web-download,copy-image]",
                "debug": "false",
                "log_file": f"{folder}/glance.log",
                "show_image_direct_url": "true",
                "show_multiple_locations": "true",
                "worker_self_reference_url": "http://glance.test",
                **self.options,
            },
            "database": {"connection": f"sqlite:///{self.database}?timeout=60", "sqlite_synchronous": "false"},
            "import_filtering_opts": {"allowed_hosts": "[127.0.0.1]", "allowed_ports": "[]"},
            "oslo_concurrency": {"lock_path": f"{folder}/lock"},
            "paste_deploy": {"config_file": f"{folder}/paste.ini"},
        }
        if self.single:
            self._add_single_store(sections)
        else:
            self._add_stores(sections)
        write_sections(self.config, sections)

    def _add_stores(self, sections):
        """Configure all stores, and those that Glance keeps for itself."""
        enabled = [f"{place.store}:{place.kind}" for place in self.places]
        sections["DEFAULT"]["enabled_backends"] = ", ".join(enabled)
        sections["glance_store"] = {"default_backend": self.places[0].store}
        sections["os_glance_staging_store"] = {"filesystem_store_datadir": f"{self.staging}"}
        sections["os_glance_tasks_store"] = {"filesystem_store_datadir": f"{self.folder}/tasks"}
        sections |= {place.store: place.section() for place in self.places}

    def _add_single_store(self, sections):
        """Configure one store as before there were several."""
        place = self.places[0]
        sections["DEFAULT"]["node_staging_uri"] = f"file://{self.staging}"
        sections["DEFAULT"]["enabled_import_methods"] = "[glance-direct,web-download]"
        stores = {"stores": f"{place.kind},http", "default_store": place.kind}
        sections["glance_store"] = {**stores, **place.section()}


def write_sections(path, sections):
    """Write a configuration file."""
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    parser.read_dict(sections)
    with open(path, "w") as file:
        parser.write(file)


def make_database(folder):
    """Make a database as Glance's own command makes it, and return its path."""
    path = folder / "template.sqlite"
    config = folder / "glance-manage.conf"
    connection = {"connection": f"sqlite:///{path}", "sqlite_synchronous": "false"}
    write_sections(config, {"DEFAULT": {"use_stderr": "true"}, "database": connection})
    done = subprocess.run(
        command("glance-manage", "--config-file", config, "db_sync"),
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return path
