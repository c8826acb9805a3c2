"""Finds the apps in a directory by reading its modules, without importing them.

What counts is what stands at the top of a module: a name that is given an app of a known framework, a function or
class that has the shape of ASGI or WSGI, or a function that makes an app when it is called. A Django project is known
by its `manage.py`, which says where its settings are; beside them are its two entry points.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hotswap.core.server import Interface

ASGI_MAKERS = {"FastAPI", "Starlette", "Quart", "Litestar", "Sanic", "BlackSheep", "get_asgi_application"}
WSGI_MAKERS = {"Flask", "Bottle", "get_wsgi_application", "make_wsgi_app", "APIFlask"}

ASGI_ARGUMENTS = ["scope", "receive", "send"]
WSGI_ARGUMENTS = ["environ", "start_response"]

ENTRY_NAMES = {"app", "application"}
"""What an app that is a plain function is called; other functions of that shape are middleware more often."""

FACTORY_NAMES = re.compile(r"(create|make|build|get)_?(\w+_)?app(lication)?")

HEALTH_PATHS = re.compile(r"""["']/?((?:healthz|health|livez|readyz)/?)["']""")
"""Paths that are there for health checks, as they stand in the sources of an app."""

API_PATHS = re.compile(r"""["'](/api)(?:/[^"']*)?["']""")
"""Paths below which an app answers the requests of a front end, likewise."""

MOST_FILES = 500
"""So many Python files are looked at; a tree with more is named by hand."""

SOURCES = "src"
"""The directory of a src layout: its modules are imported from there, while the app runs in the one above."""

MARKS = ("manage.py", "pyproject.toml", "requirements.txt", "setup.py", "Pipfile")
"""A directory with one of these is a project of its own, and its modules are imported from there."""

SKIPPED = {"tests", "test", "docs", "node_modules", "build", "dist", "site-packages", "migrations"}


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An app that a server can serve.

    Attributes:
        name: what the server imports, MODULE:ATTRIBUTE.
        interface: what it speaks.
        factory: the attribute is a function that makes the app.
        framework: the word for what it is made with, for messages; "" when it is plain.
        root: where its module is imported from, relative to the directory; "" for that itself.
    """

    name: str
    interface: Interface
    factory: bool = False
    framework: str = ""
    root: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found in a directory.

    Attributes:
        apps: those that are an app beyond doubt, or the best guesses where none is; a Django project counts with both
            of its entry points.
        project: the package of the Django project, or "".
        health_path: a path for health checks that the sources speak of, or "".
        api_path: a path for requests of a front end that they speak of, or "".
    """

    apps: tuple[App, ...]
    project: str
    health_path: str
    api_path: str


def find_apps(directory: Path) -> Findings:
    """Look for apps in the modules below a directory."""
    apps: list[App] = []
    health = api = ""
    projects: dict[str, str] = {}
    for number, (path, root) in enumerate(_sources(directory, depth=4, root=directory)):
        if number >= MOST_FILES:
            break
        try:
            source = path.read_bytes()
            tree = ast.parse(source)
        except (OSError, SyntaxError, ValueError):
            continue
        place = "" if root == directory else root.relative_to(directory).as_posix()
        if place not in projects:
            projects[place] = _django_project(root)
        parts = path.relative_to(root).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if module:
            apps += (replace(app, root=place) for app in _apps_in(module, tree))
        text = source.decode("utf-8", "replace")
        if not health and (found := HEALTH_PATHS.search(text)):
            health = f"/{found[1]}"
        if not api and (found := API_PATHS.search(text)):
            api = found[1]
    real = [app for app in apps if not app.factory]
    entries = [app for app in real if app.name in _entry_points(projects[app.root])]
    # Of several projects none is the one that is meant.
    managed = {projects[app.root] for app in entries}
    # Where an app is made for good, the function that makes it is its means, and no app of its own.
    return Findings(
        apps=tuple(entries or real or apps),
        project=managed.pop() if len(managed) == 1 else "",
        health_path=health,
        api_path=api,
    )


def _entry_points(project: str) -> set[str]:
    return {f"{project}.{kind}:application" for kind in Interface} if project else set()


def _django_project(directory: Path) -> str:
    try:
        source = (directory / "manage.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(r"""DJANGO_SETTINGS_MODULE["'],\s*["']([\w.]+)["']""", source)
    # shop.settings, and shop.settings.production, are both of the project shop.
    return re.split(r"\.settings\b", found[1])[0] if found and ".settings" in found[1] else ""


def _sources(directory: Path, depth: int, root: Path) -> Iterator[tuple[Path, Path]]:
    """Give the sources below a directory, each with the directory that its module is imported from."""
    try:
        entries = sorted(directory.iterdir())
    except OSError:
        return
    for entry in entries:
        if not entry.stem.isidentifier() or entry.name.lower() in SKIPPED or entry.is_symlink():
            continue
        if entry.suffix == ".py" and not entry.name.startswith("test_"):
            yield entry, root
        elif depth and entry.is_dir() and not (entry / "pyvenv.cfg").exists():
            yield from _sources(entry, depth - 1, entry if directory == root and _is_root(entry) else root)


def _is_root(directory: Path) -> bool:
    """Tell whether modules are imported from a directory, and are no package with it."""
    if (directory / "__init__.py").exists():
        return False
    return directory.name == SOURCES or any((directory / mark).exists() for mark in MARKS)


def _apps_in(module: str, tree: ast.Module) -> Iterator[App]:
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=maker)):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=maker)):
                pass
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _function(module, statement)
                continue
            case _:
                continue
        match _interface_of(maker):
            case None:
                pass
            case interface, made:
                yield App(name=f"{module}:{name}", interface=interface, framework=made)


def _interface_of(maker: ast.expr) -> tuple[Interface, str] | None:
    match maker:
        case ast.Name(id=made) | ast.Attribute(attr=made):
            framework = "Django" if made.startswith("get_") else made
            if made in ASGI_MAKERS:
                return Interface.ASGI, framework
            if made in WSGI_MAKERS:
                return Interface.WSGI, framework
    return None


def _function(module: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[App]:
    arguments = [argument.arg.lstrip("_") for argument in (*function.args.posonlyargs, *function.args.args)]
    name = f"{module}:{function.name}"
    if function.name in ENTRY_NAMES:
        if arguments == ASGI_ARGUMENTS and isinstance(function, ast.AsyncFunctionDef):
            yield App(name=name, interface=Interface.ASGI)
        elif arguments == WSGI_ARGUMENTS and isinstance(function, ast.FunctionDef):
            yield App(name=name, interface=Interface.WSGI)
    needed = len(arguments) - len(function.args.defaults)
    if isinstance(function, ast.FunctionDef) and FACTORY_NAMES.fullmatch(function.name) and not needed:
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and (made := _interface_of(node.func)):
                yield App(name=name, interface=made[0], factory=True, framework=made[1])
                return
