"""Importing: no client library before it is needed, and the layers point one way."""

import ast
import pathlib
import subprocess
import sys

import pytest

import store_lib

ROOT = pathlib.Path(store_lib.__file__).parent
CLIENTS = {
    *("boto3", "botocore", "swiftclient", "keystoneauth1", "cinderclient", "os_brick", "oslo_privsep"),
    *("rados", "rbd", "requests", "urllib3"),
}

#: What the modules of a layer may import of store_lib; whole packages end in a dot.
MAY = {
    "errors": [],
    "location": ["errors"],
    "location_forms": ["errors", "location"],
    "values": [],
    "heap": ["values"],
    "lent": ["values"],
    "interface": ["errors", "heap", "lent", "settings", "values"],
    "opts": [],
    "settings": ["opts", "errors", "interface"],
    "runtime.": ["runtime.", "interface", "errors", "settings"],
    "transfer.": ["transfer.", "runtime.", "interface", "errors", "settings"],
    "health": ["errors", "interface", "runtime."],
    "info": ["health", "interface"],
    "leftovers": ["errors", "interface", "runtime."],
    "record": ["interface", "location"],
    "registry": ["errors", "interface", "opts"],
    "drivers.": ["drivers.", "interface", "errors", "location", "location_forms", "settings"],
    "store_base": [
        *["errors", "health", "interface", "location", "opts", "settings"],
        *["runtime.", "transfer."],
    ],
    "store": [
        *["errors", "info", "interface", "leftovers", "location", "record", "store_base"],
        *["runtime.", "transfer."],
    ],
    "copying": ["errors", "interface", "location", "record", "store", "transfer."],
    "stores": [
        *["copying", "errors", "health", "interface", "location", "opts", "record", "registry", "settings", "store"],
        *["runtime.", "transfer."],
    ],
}


def modules():
    """Return the names of the modules whose layer is written above, with their paths."""
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if layer_of(name) in MAY:  # what is not there is a user of the stores
            yield name, path


def layer_of(name):
    """Return the row of a module."""
    return name if name in MAY else f"{name.split('.')[0]}."


def imported(path):
    """Return what a module imports of store_lib, by name without the package's own."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "store_lib":
            base = (node.module or "").removeprefix("store_lib").removeprefix(".")
            for alias in node.names:
                below = f"{base}.{alias.name}".removeprefix(".")
                yield below if _is_module(below) else base
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "store_lib":
                    yield alias.name.removeprefix("store_lib").removeprefix(".")


def _is_module(name):
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


@pytest.mark.parametrize(("name", "path"), [*modules()], ids=lambda value: value if isinstance(value, str) else "")
def test_layers_point_one_way(name, path):
    allowed = MAY[layer_of(name)]
    for found in imported(path):
        assert any(found == each or f"{found}.".startswith(each) for each in allowed if each.endswith(".")) or (
            found in allowed
        ), f"{name} may not import store_lib.{found}"


def test_only_the_registry_loads_drivers():
    for name, path in modules():
        if not name.startswith("drivers"):
            assert not [found for found in imported(path) if found.startswith("drivers")], name


def run(code):
    """Run `code` in a new interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_store_lib_imports_no_client_library():
    code = "import store_lib, sys; from store_lib import Stores, Store, ImageReader; print(*sys.modules)"
    loaded = {name.split(".")[0] for name in run(code)}
    assert not loaded & {*CLIENTS, "eventlet"}
    assert "store_lib.drivers.file" not in run(code)


def test_a_store_imports_only_its_own_driver(tmp_path):
    path = tmp_path / "it.conf"
    path.write_text("[DEFAULT]\nenabled_backends = it:memory\n")
    code = f"import sys; from store_lib import Stores; s = Stores.from_file({str(path)!r}); print(*sys.modules)"
    loaded = run(code)
    assert "store_lib.drivers.memory" in loaded
    assert "store_lib.drivers.file" not in loaded
    assert not {name.split(".")[0] for name in loaded} & CLIENTS


def test_importing_and_making_stores_starts_no_thread(tmp_path):
    path = tmp_path / "it.conf"
    path.write_text("[DEFAULT]\nenabled_backends = it:memory, two:memory\n[glance_store]\ndefault_backend = it\n")
    code = (
        f"import threading; from store_lib import Stores; s = Stores.from_file({str(path)!r}); "
        "print(threading.active_count())"
    )
    assert run(code) == ["1"]


def test_every_public_name_is_there():
    for name in store_lib.__all__:
        assert getattr(store_lib, name) is not None
        assert name in dir(store_lib)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        str(store_lib.nonsense)
