"""The command, run as a user runs it."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).parent / "store-lib")


@dataclasses.dataclass
class Cli:
    """Runs ``store-lib`` with two file stores below `root` and an empty home folder."""

    root: Path
    environment: dict[str, str]

    def __call__(self, *arguments, stdin=b"", code=0, environment=None):
        """Return the ended process; its exit code must be `code`."""
        done = subprocess.run(
            [COMMAND, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            env={**self.environment, **(environment or {})},
            timeout=60,
        )
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        assert b"Traceback" not in done.stderr
        return done

    def json(self, *arguments, **kwargs):
        """Return what the command prints as JSON."""
        return json.loads(self(*arguments, "-f", "json", **kwargs).stdout)

    def start(self, *arguments, hidden=False, **kwargs):
        """Return a process that runs the command.

        :param hidden: as on a file system without files that have no name.
        """
        command = [COMMAND, *map(str, arguments)]
        if hidden:
            code = (
                "import sys\nfrom store_lib.cli.app import main\nfrom store_lib.drivers import _posix\n"
                "_posix.create_unnamed = lambda directory, mode: None\nsys.exit(main())"
            )
            command = [sys.executable, "-c", code, *command[1:]]
        return subprocess.Popen(command, env=self.environment, **kwargs)

    def files(self, store="fast"):
        """Return the names of all files of a store, hidden ones included."""
        folder = self.root / store
        return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.fixture
def cli(tmp_path):
    """Return the command with stores ``fast`` (the default) and ``cheap``."""
    config = tmp_path / "store_lib.conf"
    config.write_text(
        "[DEFAULT]\nenabled_backends = fast:file, cheap:file\n"
        "[glance_store]\ndefault_backend = fast\n"
        f"[fast]\nfilesystem_store_datadir = {tmp_path}/fast\nweight = 7\n"
        f"[cheap]\nfilesystem_store_datadir = {tmp_path}/cheap\nstore_description = the large one\n"
    )
    (tmp_path / "home").mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "STORE_LIB"))},
        "HOME": str(tmp_path / "home"),
        "STORE_LIB_CONFIG": str(config),
        "COLUMNS": "200",
    }
    return Cli(tmp_path, environment)


@pytest.fixture
def image(tmp_path):
    """Return the path of an image file of some MiB that is no whole number of parts."""
    path = tmp_path / "disk.img"
    path.write_bytes(os.urandom(9 * 1024 * 1024 + 17))
    return path
