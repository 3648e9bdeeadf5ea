"""The pages: all of them build without a warning, their examples run, and nothing that exists is left out."""

import importlib.metadata
import os
import re
import subprocess
import sys

import pytest

from store_lib import opts
from store_lib.registry import DriverRegistry
from store_lib.tests.documentation.blocks import SOURCE, TOP, blocks

DRIVERS = sorted(
    point.name
    for point in importlib.metadata.entry_points(group="store_lib.drivers")
    if point.dist is not None and point.dist.name == "store_lib"
)


def build(builder, target, read):
    """Build the pages; every warning is an error.

    :param read: folder for what was read of them; a second build takes it from there.
    """
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", builder, "-d", read, SOURCE, target]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of the built pages."""
    folder = tmp_path_factory.mktemp("site")
    build("html", folder / "html", folder / "read")
    return folder / "html"


@pytest.mark.timeout(300)
def test_the_site_is_built(site):
    """Has every page that was written."""
    for page in SOURCE.rglob("*.rst"):
        assert (site / page.relative_to(SOURCE).with_suffix(".html")).exists()


@pytest.mark.timeout(300)
def test_the_man_page_is_built(site, tmp_path):
    """Names the commands."""
    build("man", tmp_path, site.parent / "read")
    text = (tmp_path / "store-lib.1").read_text()
    for command in ("image add", "store sweep"):
        assert command in text.replace("\\-", "-")


def text_of(path):
    """Return the words of a built page."""
    return re.sub(r"<[^>]+>", "", path.read_text())


@pytest.mark.timeout(300)
def test_every_driver_is_there(site):
    """Side by side, with a page of its own, its options, and how to install it."""
    compared = text_of(site / "drivers" / "index.html")
    install = (site / "operator" / "install.html").read_text()
    for name in DRIVERS:
        assert name in compared
        assert (site / "drivers" / f"{name}.html").exists(), f"doc/source/drivers/{name}.rst is missing"
        assert f'href="../drivers/{name}.html"' in install


@pytest.mark.timeout(300)
def test_every_option_is_there(site):
    """With a help text."""
    page = (site / "reference" / "options.html").read_text()
    options = [*opts.DEFAULT_OPTIONS, *opts.GLOBAL_OPTIONS, *opts.BASE_OPTIONS]
    for name in DRIVERS:
        options += DriverRegistry().load(name).OPTIONS
    for option in options:
        assert f'id="confval-{option.dest.replace("_", "-").lower()}"' in page or f'id="confval-{option.dest}"' in page
        assert option.help, option.dest


@pytest.mark.timeout(300)
def test_every_command_is_there(site):
    """With its options."""
    page = text_of(site / "cli" / "store-lib.html")
    for point in importlib.metadata.entry_points(group="store_lib.cli"):
        assert point.name.replace("_", " ") in page


def test_the_user_guide_runs(tmp_path):
    """Its blocks, one after another, in a folder with its configuration file."""
    found = blocks("user/library")
    for block in found:
        if block.caption:
            (tmp_path / block.caption).write_text(block.text)
    code = "\n".join(block.text for block in found if block.language == "python")
    assert code.count("assert") > 15
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "there is no image" in done.stdout


def test_the_configurations_are_right(make_stores, tmp_path):
    """Those of the pages of drivers and of the operator guide make stores, or would with the place that they name."""
    made = 0
    for page in ["operator/configuration", *(f"drivers/{path.stem}" for path in (SOURCE / "drivers").glob("*.rst"))]:
        for block in blocks(page):
            if block.language == "ini" and "enabled_backends" in block.text:
                stores = make_stores(block.text, strict=False)
                unknown = {str(mistake) for error in stores.broken.values() for mistake in error.mistakes}
                assert not {text for text in unknown if "enabled_backends" in text and "no driver" in text}
                made += len(stores)
                if "web" in stores:
                    assert not stores["web"].owns("http://10.1.2.3/image")
                    assert not stores["web"].owns("http://[::1]/image")
    assert made >= 5


def test_the_readme_runs(tmp_path):
    """Its example in Python, with its configuration file."""
    readme = (TOP / "README.rst").read_text()
    found = {block.language: block.text for block in blocks(os.path.relpath(TOP / "README", SOURCE))}
    conf = found["ini"].replace("/var/lib", str(tmp_path))
    (tmp_path / "store_lib.conf").write_text(conf)
    (tmp_path / "debian.raw").write_bytes(b"an image" * 1000)
    done = subprocess.run(
        [sys.executable, "-c", 'image_id = "one"\n' + found["python"]], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "8000" in done.stdout
    assert readme.index("make demo") < 1500
