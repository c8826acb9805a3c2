"""Finds the Python interpreter that runs the app of a directory, where tools for virtual environments put it.

In this order: the environment that is active; one beside the app, or beside the project that it is in; that of Poetry,
and that which PDM wrote down; one of conda that is active; and last, which has to be said, the one that runs hotswap.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hotswap.cli.exits import CommandError, ExitCode
from hotswap.core.server import Server
from hotswap.processes.scripts import read_script

BESIDE: Final = (".venv", "venv", "env")
"""Names of virtual environments beside an app."""

MOST_PARENTS: Final = 3
"""So many directories above the app are looked at, up to the one that has the repository."""

ANSWER_TIMEOUT: Final = 15.0
"""Seconds that an interpreter may take to say which servers it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """The Python interpreter that runs the app.

    Attributes:
        path: as the configuration names it, relative to its directory where it is below it; "" for the one that runs
            this.
        program: its absolute path.
        servers: those that are installed for it.
        why: how it was found, in words.
    """

    path: str
    program: str
    servers: frozenset[Server]
    why: str

    def has(self, server: Server) -> bool:
        """Whether a server is installed for it."""
        return server in self.servers


def find_interpreter(
    directory: Path, *, roots: Collection[Path] = (), named: str = "", environ: Mapping[str, str] = os.environ
) -> Interpreter:
    """Find the interpreter for the app of a directory.

    Args:
        directory: where the configuration is going to be.
        roots: further directories below it in which the app may be.
        named: a program that somebody has named; it is taken.
        environ: the variables.

    Raises:
        CommandError: what was named cannot be executed.
    """
    if named:
        program = os.path.normpath(directory / named) if "/" in named else named
        if shutil.which(program) is None:
            raise CommandError(ExitCode.USAGE, f"--python is {named!r}: allowed: an interpreter; {program} is none")
        return _made(directory, program, "it was named")
    for prefix, why in (*_active(environ), *_beside(directory, roots), *_kept_elsewhere(directory, environ)):
        program = os.path.join(prefix, "bin", "python")
        if os.access(program, os.X_OK):
            return _made(directory, program, why)
    return Interpreter(path="", program=sys.executable, servers=_servers_of(sys.executable), why="hotswap runs in it")


def is_own(prefix: str | Path) -> bool:
    """Tell whether an environment is the one that hotswap runs in."""
    return os.path.realpath(prefix) == os.path.realpath(sys.prefix)


def _made(directory: Path, program: str, why: str) -> Interpreter:
    inside = os.path.isabs(program) and Path(program).is_relative_to(directory)
    path = os.path.relpath(program, directory) if inside else program
    return Interpreter(path=path, program=program, servers=_servers_of(program), why=why)


def _active(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give the environment that is active, unless it is hotswap's own: that one says nothing about the app."""
    prefix = environ.get("VIRTUAL_ENV", "")
    if os.path.isabs(prefix) and not is_own(prefix):
        yield prefix, "$VIRTUAL_ENV is active"


def _beside(directory: Path, roots: Collection[Path]) -> Iterator[tuple[str, str]]:
    """Give what lies beside the app, though it may be hotswap's own: then both were installed into it."""
    for place in (*roots, directory, *_parents(directory)):
        for name in BESIDE:
            if (place / name / "pyvenv.cfg").is_file():
                yield str(place / name), "it lies beside the app"


def _parents(directory: Path) -> Iterator[Path]:
    """Give the directories above one that belong to the same project."""
    below = directory
    for parent in list(directory.parents)[:MOST_PARENTS]:
        if (below / ".git").exists() or parent == Path.home():
            return
        if any((parent / name).exists() for name in (".git", "pyproject.toml", "uv.lock")):
            yield parent
        below = parent


def _kept_elsewhere(directory: Path, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if environ.get("UV_PROJECT_ENVIRONMENT"):
        yield os.path.join(directory, environ["UV_PROJECT_ENVIRONMENT"]), "$UV_PROJECT_ENVIRONMENT names it"
    try:
        written = (directory / ".pdm-python").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        written = ""
    if written:
        yield os.path.dirname(os.path.dirname(written)), "PDM uses it"
    for place in (directory, *_parents(directory)):
        yield from ((prefix, "Poetry made it") for prefix in _of_poetry(place, environ))
    conda = environ.get("CONDA_PREFIX", "")
    if os.path.isabs(conda) and environ.get("CONDA_DEFAULT_ENV") != "base" and not is_own(conda):
        yield conda, "$CONDA_PREFIX is active"


def _of_poetry(place: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Give the environments that Poetry keeps for a project: named after it and a hash of where it is."""
    try:
        document: dict[str, Any] = tomllib.loads((place / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    poetry = document.get("tool", {}).get("poetry")
    if poetry is None and not (place / "poetry.lock").is_file():
        return
    name = (poetry or {}).get("name") or document.get("project", {}).get("name")
    if not isinstance(name, str):
        return
    cache = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME", "/"), ".cache")
    folder = Path(environ.get("POETRY_VIRTUALENVS_PATH") or os.path.join(cache, "pypoetry", "virtualenvs"))
    digest = hashlib.sha256(os.fsencode(os.path.realpath(place))).digest()
    stem = re.sub(r'[ $`!*@"\\\r\n\t]', "_", name.lower())[:42] + "-" + base64.urlsafe_b64encode(digest).decode()[:8]
    try:
        found = sorted(entry.name for entry in folder.iterdir() if entry.name.startswith(f"{stem}-py"))
    except OSError:
        return
    yield from (str(folder / one) for one in reversed(found))


def _servers_of(program: str) -> frozenset[Server]:
    """Ask an interpreter which servers it has; none where it does not say."""
    source = read_script("hotswap_backends", "presence.py")
    names = [server.value for server in Server if server is not Server.COMMAND]
    try:
        done = subprocess.run(
            [program, "-c", source, json.dumps({"modules": names})],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_TIMEOUT,
            check=False,
        )
        answer = json.loads(done.stdout.strip().rpartition(b"\n")[2])
        return frozenset(server for server in Server if answer.get(server.value) is True)
    except (OSError, ValueError, AttributeError, subprocess.SubprocessError):
        return frozenset()
