"""Where `hotswap init` finds the interpreter of an app."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import venv
from pathlib import Path

import pytest

from hotswap.cli.interpreters import find_interpreter, is_own
from hotswap.core.server import Server


def environment(place: Path) -> str:
    """Make a virtual environment; gives its interpreter."""
    venv.create(place, with_pip=False, symlinks=True)
    return str(place / "bin" / "python")


def found(directory: Path, **environ: str) -> str:
    """The interpreter for a directory, with these variables and a home of its own."""
    return find_interpreter(directory, environ={"HOME": str(directory), **environ}).program


def test_without_any_it_is_hotswaps_own(tmp_path: Path) -> None:
    """With no path, so that the file names none; the servers that it has are known."""
    interpreter = find_interpreter(tmp_path, environ={})
    assert (interpreter.path, interpreter.program) == ("", sys.executable)
    assert interpreter.has(Server.UVICORN)


def test_the_active_one_comes_first_unless_it_is_hotswaps_own(tmp_path: Path) -> None:
    """Hotswap may have an environment for itself, which says nothing about the app."""
    beside, active = environment(tmp_path / "venv"), environment(tmp_path / "elsewhere")
    assert found(tmp_path) == beside
    assert found(tmp_path, VIRTUAL_ENV=str(tmp_path / "elsewhere")) == active
    assert is_own(sys.prefix)
    assert found(tmp_path, VIRTUAL_ENV=sys.prefix) == beside
    assert found(tmp_path, VIRTUAL_ENV=str(tmp_path / "gone")) == beside


def test_hotswaps_own_counts_where_it_lies_beside_the_app(tmp_path: Path) -> None:
    """Then both were installed into it, and the file says so."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    interpreter = find_interpreter(tmp_path, environ={})
    assert interpreter.path == ".venv/bin/python"


def test_that_of_the_project_above_is_found(tmp_path: Path) -> None:
    """Up to its repository and no further."""
    outside = tmp_path / "home"
    app = outside / "project" / "packages" / "app"
    app.mkdir(parents=True)
    environment(outside / ".venv")
    (outside / "pyproject.toml").touch()
    (outside / "project" / ".git").mkdir()
    python = environment(outside / "project" / ".venv")
    assert found(app) == python
    (app / ".git").mkdir()
    assert found(app) == sys.executable


@pytest.mark.parametrize("document", ['[tool.poetry]\nname = "My Shop"\n', '[project]\nname = "My Shop"\n'])
def test_that_of_poetry_is_found(tmp_path: Path, document: str) -> None:
    """In its cache, by the name of the project and a hash of its path; the newest Python first."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "pyproject.toml").write_text(document)
    (app / "poetry.lock").touch()
    digest = base64.urlsafe_b64encode(hashlib.sha256(os.fsencode(app)).digest()).decode()[:8]
    folder = tmp_path / ".cache" / "pypoetry" / "virtualenvs"
    python = environment(folder / f"my_shop-{digest}-py3.11")
    assert found(app, HOME=str(tmp_path)) == python
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    assert found(app, HOME=str(tmp_path)) == sys.executable
    assert found(app, POETRY_VIRTUALENVS_PATH=str(moved)) == python.replace(str(folder), str(moved))


def test_those_of_uv_pdm_and_conda_are_found(tmp_path: Path) -> None:
    """Each by what its tool leaves behind."""
    app = tmp_path / "app"
    app.mkdir()
    python = environment(tmp_path / "elsewhere")
    assert found(app, UV_PROJECT_ENVIRONMENT="../elsewhere").endswith("/elsewhere/bin/python")
    assert found(app, CONDA_PREFIX=str(tmp_path / "elsewhere")) == python
    assert found(app, CONDA_PREFIX=str(tmp_path / "elsewhere"), CONDA_DEFAULT_ENV="base") == sys.executable
    (app / ".pdm-python").write_text(f"{python}\n")
    assert found(app) == python


def test_one_that_does_not_answer_has_no_servers(tmp_path: Path) -> None:
    """It is told by `check`; nothing is raised."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    assert find_interpreter(tmp_path, named=str(python)).servers == frozenset()
