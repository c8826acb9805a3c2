"""Wheels without an index: this project's own, and those of what is installed where the tests run, packed again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement

from tests.support.hotswap import REPOSITORY

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "proxy", "backends")
"""What the wheel of this project is made from."""


def pip(python: Path | str, *arguments: Path | str) -> None:
    """Have pip install, remove or build for an interpreter; nothing is fetched.

    Raises:
        AssertionError: it failed.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    offline = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [python, "-m", "pip", *arguments]
    done = subprocess.run(command, env={**kept, **offline}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def copy_sources(place: Path) -> None:
    """Lay into an empty directory what a wheel is made from, so that nothing of a build is left in the checkout."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, place / name, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / name, place)


def build(sources: Path, output: Path) -> Path:
    """Build the wheel of a checkout into an empty directory."""
    pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", output, sources)
    (wheel,) = output.iterdir()
    return wheel


def with_what_they_need(names: Iterable[str]) -> set[str]:
    """Give distributions with all that they require, and so on; without extras, and without this project itself."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found - {"hotswap"}


def pack_again(names: Iterable[str], place: Path) -> None:
    """Write a wheel for each of these distributions, which must be installed where the tests run."""
    for name in names:
        distribution = metadata.distribution(name)
        tags = [line[5:] for line in (distribution.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")]
        parts = [set(part) for part in zip(*(tag.split("-") for tag in tags), strict=True)]
        tag = "-".join(".".join(sorted(part)) for part in parts)
        stem = distribution.name.replace("-", "_").replace(".", "_")
        with ZipFile(place / f"{stem}-{distribution.version}-{tag}.whl", "w") as wheel:
            for file in distribution.files or ():
                # Commands are made anew from the entry points; caches are of another interpreter.
                if ".." not in file.parts and file.suffix != ".pyc" and file.name not in {"INSTALLER", "REQUESTED"}:
                    wheel.write(str(file.locate()), str(file))
