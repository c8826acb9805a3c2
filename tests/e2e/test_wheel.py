"""The wheel: what is in it, and that an app keeps its own packages, however ordinary their names, beside it."""

from __future__ import annotations

import json
import os
import shutil
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest
import trio

from tests.support.hotswap import run_hotswap
from tests.support.pools import table
from tests.support.wheels import build, copy_sources, pip

PACKAGES = {"hotswap": "proxy", "hotswap_backends": "backends"}
"""What is in it, each with the folder that it is in."""

NAMES = ("backends", "demo", "proxy", "tests")
"""Packages that many an app has, named like folders of this project."""

SHOP = {
    "pyproject.toml": f"""\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "shop"
version = "1.0"

[tool.setuptools]
packages = {json.dumps(["shop", *NAMES])}
""",
    "shop/__init__.py": "",
    "shop/asgi.py": """\
import json
import os

import backends
import demo
import proxy
import tests

ANSWER = {
    "owners": [package.OWNER for package in (backends, demo, proxy, tests)],
    "generation": os.environ.get("HOTSWAP_GENERATION"),
}


async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(ANSWER).encode()})
""",
    **{f"{name}/__init__.py": 'OWNER = "the shop"\n' for name in NAMES},
}
"""An app, by the names of its files."""


def entries_of(wheel: Path) -> set[str]:
    """Everything that is in a wheel."""
    with ZipFile(wheel) as opened:
        return set(opened.namelist())


def content(wheel: Path) -> set[str]:
    """The files of a wheel but those about it."""
    return {name for name in entries_of(wheel) if not name.startswith("hotswap-")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A copy of the checkout in which the wheel was built."""

    sources: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    """Nothing is left of the build in the checkout itself."""
    directory = tmp_path_factory.mktemp("built")
    sources = directory / "sources"
    sources.mkdir()
    copy_sources(sources)
    return Built(sources=sources, wheel=build(sources, directory / "wheel"))


class Environment:
    """A virtual environment that sees the packages that the tests run with, but not the hotswap of the checkout.

    Attributes:
        python: its interpreter.
        programs: where its commands are.
        packages: where packages are installed.
    """

    def __init__(self, directory: Path) -> None:
        place = directory / "venv"
        venv.create(place, symlinks=True)
        self.programs = place / "bin"
        self.python = self.programs / "python"
        self.packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(place)}))
        seen = directory / "seen"
        seen.mkdir()
        for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            for entry in Path(folder).iterdir():
                # Without the .pth of the checkout, and without its metadata, by which pip would know it.
                if entry.suffix != ".pth" and not entry.name.startswith("hotswap-"):
                    (seen / entry.name).symlink_to(entry)
        (self.packages / "seen.pth").write_text(f"{seen}\n", encoding="utf-8")

    def entries(self) -> set[Path]:
        """What is installed, and the commands that came with it."""
        return {*self.packages.iterdir(), *self.programs.iterdir()}


async def output(*command: Path | str, cwd: Path, environment: dict[str, str]) -> str:
    """Run a command that must not fail, and give what it prints."""
    words = [str(word) for word in command]
    done = await trio.run_process(
        words, cwd=cwd, env=environment, capture_stdout=True, capture_stderr=True, check=False
    )
    assert done.returncode == 0, (words, done.stdout.decode(), done.stderr.decode())
    return done.stdout.decode().strip()


def lay_shop(directory: Path) -> None:
    """Write the app."""
    for name, text in SHOP.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def files_of_shop(*roots: Path) -> dict[Path, bytes]:
    """Every file of the app with what is in it, but what Python and setuptools made of them."""
    return {path: path.read_bytes() for root in roots for name in SHOP for path in [root / name] if path.exists()}


def test_the_wheel_has_two_packages_and_nothing_else(built: Built):
    """Whole, with types, page and API description; neither the demo app nor backends that misbehave nor tests."""
    expected = {
        str(path.relative_to(built.sources / folder))
        for package, folder in PACKAGES.items()
        for path in (built.sources / folder / package).rglob("*")
        if path.is_file()
    }
    found = content(built.wheel)
    assert found == expected
    assert {
        "hotswap/py.typed",
        "hotswap/control/page/index.html",
        "hotswap/control/admin/openapi.json",
        "hotswap_backends/py.typed",
        "hotswap_backends/launch.py",
    } <= found
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in entries_of(built.wheel))


def test_a_build_has_nothing_of_an_earlier_one(built: Built, tmp_path: Path):
    """What was removed since, and what once was a package at the top, is in no later wheel."""
    sources = tmp_path / "sources"
    shutil.copytree(built.sources, sources)
    (sources / "proxy" / "hotswap" / "__main__.py").unlink()
    old = sources / "build" / "lib" / "proxy"
    old.mkdir(parents=True)
    (old / "__init__.py").touch()
    assert content(built.wheel) - content(build(sources, tmp_path / "wheel")) == {"hotswap/__main__.py"}


@pytest.mark.fail_after(120)
@pytest.mark.parametrize("way", ["installed", "editable", "path"])
async def test_an_app_with_packages_of_the_same_names_stays_whole(way: str, built: Built, tmp_path: Path):
    """It is installed, installed by reference, or found by `PYTHONPATH=.`; hotswap comes, serves, rolls, and goes."""
    shop, home = tmp_path / "shop", tmp_path / "home"
    lay_shop(shop)
    home.mkdir()
    environment = Environment(tmp_path)
    if way != "path":
        by_reference = ["--editable"] if way == "editable" else []
        pip(environment.python, "install", "--no-deps", "--no-build-isolation", *by_reference, shop)
    # Where hotswap is run: beside the packages of the app, or with them installed.
    here = shop if way == "path" else home
    variables = {
        "PATH": f"{environment.programs}:{os.environ['PATH']}",
        "HOME": str(home),
        "PYTHONPATH": "." if way == "path" else "",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOTSWAP_ADMIN": f"unix:{here / 'admin.sock'}",
    }
    files, entries = files_of_shop(shop, environment.packages), environment.entries()

    pip(environment.python, "install", "--no-deps", "--no-compile", built.wheel)
    version = f"hotswap {built.wheel.name.split('-')[1]}"
    hotswap = str(environment.programs / "hotswap")
    for command in ([hotswap], [str(environment.python), "-m", "hotswap"]):
        assert await output(*command, "--version", cwd=here, environment=variables) == version

    configuration = (
        table("listeners.public", {"bind": ["127.0.0.1:0"]})
        + '[[routes]]\npool = "shop"\n'
        + table("pools.shop", {"server": "uvicorn", "app": "shop.asgi:app", "size": 2, "directory": here})
        + table("pools.shop.health", {"path": "/", "interval": "200ms"})
    )
    async with run_hotswap(configuration, here, program=[hotswap], environment=variables) as running:
        for generation in ("1", "2"):
            answer = (await running.fetch("/")).expect().json()
            assert answer == {"owners": ["the shop"] * len(NAMES), "generation": generation}
            if generation == "1":
                await output(hotswap, "reload", cwd=here, environment=variables)
        await output(hotswap, "stop", cwd=here, environment=variables)
        await running.wait_stopped()

    pip(environment.python, "uninstall", "--yes", "hotswap")
    assert environment.entries() == entries
    assert files_of_shop(shop, environment.packages) == files
    script = "import shop.asgi; print(*shop.asgi.ANSWER['owners'], sep=', ')"
    owners = await output(environment.python, "-c", script, cwd=here, environment=variables)
    assert owners == ", ".join(["the shop"] * len(NAMES))
