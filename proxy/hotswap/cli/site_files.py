"""Finds the files of a site that a front answers by itself: static files and media of Django, a built front end.

As with apps nothing is imported: settings are read as text, and of what they compute only paths are understood, as
Django's own template and most projects write them.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BUILT = "dist"
"""Where Vite and most other tools put what they build."""

PAGE = "index.html"

MOST_FILES = 20
LARGEST_FILE = 256 * 1024

_OTHERS = re.compile(r"(test|local|dev|ci|docker_test)", re.IGNORECASE)
"""Settings of machines that serve nobody."""

_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._~/-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRoute:
    """A route with files that a first configuration proposes.

    Attributes:
        path: of the URL.
        files: the directory, relative to the releases or absolute.
        fallback: what is answered where nothing is found; "" for nothing.
        sure: everything in it was found; else it is proposed as a comment.
        like: what nginx would be told.
        hint: what the operator has to see to.
    """

    path: str
    files: str
    fallback: str = ""
    sure: bool
    like: str
    hint: str


def find_site_files(directory: Path, root: Path, *, django: bool) -> tuple[FileRoute, ...]:
    """Find the files of a site.

    Args:
        directory: where the configuration is to be.
        root: where the app runs; what is below it belongs to its release.
        django: it is a Django project.
    """
    routes = [*_of_django(root)] if django else []
    built = _built_front_end(directory)
    if built is not None:
        routes.append(
            FileRoute(
                path="/",
                files=_relative_to(root, str(built)),
                fallback=PAGE,
                sure=True,
                like="try_files $uri /index.html",
                hint="of each release that serves, so that open pages find their assets; build before the reload",
            )
        )
    return tuple(routes)


def _of_django(root: Path) -> Iterator[FileRoute]:
    values = _settings_of(root)
    static = _url_path(values.get("STATIC_URL", "static/"))
    if static is not None:
        place = values.get("STATIC_ROOT")
        hint = "STATIC_ROOT: of the release that rendered the page; have a deploy run collectstatic"
        if place is None:
            hint = 'once settings have STATIC_ROOT = BASE_DIR / "staticfiles" and a deploy runs collectstatic'
        yield FileRoute(
            path=static,
            files=_relative_to(root, place or "staticfiles"),
            sure=bool(place),
            like="alias with expires max and gzip_static",
            hint=hint,
        )
    media, place = _url_path(values.get("MEDIA_URL")), values.get("MEDIA_ROOT")
    if media is not None and place is not None and media != static:
        yield FileRoute(
            path=media,
            files=os.path.normpath(os.path.join(root, place)),
            sure=bool(place),
            like="alias",
            hint="MEDIA_ROOT: anybody may read it; uploads outlive releases, so keep it outside of them",
        )


def _url_path(url: str | None) -> str | None:
    """Give the path of a URL of Django's settings; None of one that leads to another host, and of none."""
    if not url:
        return None
    path = url if url.startswith("/") else f"/{url}"
    return path if ":" not in url and "//" not in path and _PLAIN_PATH.fullmatch(path) else None


def _relative_to(root: Path, place: str) -> str:
    """Give a directory as it is in each release where it is below the app's, else as an absolute path."""
    path = os.path.normpath(os.path.join(root, place))
    inside = os.path.relpath(path, root)
    return path if inside.startswith("..") or inside == "." else inside


def _built_front_end(directory: Path) -> Path | None:
    """Give the directory of a front end that was built: here, or in the directory of its sources."""
    try:
        below = sorted(entry for entry in directory.iterdir() if not entry.name.startswith((".", "node_modules")))
    except OSError:
        return None
    for place in (directory, *below[:MOST_FILES]):
        if (place / BUILT / PAGE).is_file():
            return place / BUILT
    return None


def _settings_of(root: Path) -> dict[str, str]:
    """Give the settings of a Django project that are texts or paths, by what its `manage.py` names."""
    names: dict[str, str] = {}
    for path in _settings_files(root):
        try:
            tree = ast.parse(path.read_bytes()[:LARGEST_FILE])
        except (OSError, SyntaxError, ValueError):
            continue
        names["__file__"] = str(path)
        for statement in tree.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    found = _read(value, names)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    found = _read(value, names)
                case _:
                    continue
            if found is not None:
                names[name] = found
    return names


def _settings_files(root: Path) -> list[Path]:
    """Give the files of the settings, those that the others build on first."""
    try:
        source = (root / "manage.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = re.search(r"""DJANGO_SETTINGS_MODULE["'],\s*["']([\w.]+)["']""", source)
    if found is None:
        return []
    module = root.joinpath(*found[1].split("."))
    own = [path for path in (module / "__init__.py", module.with_suffix(".py")) if path.is_file()]
    package = module if module.is_dir() else module.parent if "settings" in module.parent.name else None
    beside = sorted(package.glob("*.py")) if package is not None else []
    shared = [path for path in beside if path not in own and not _OTHERS.match(path.stem)]
    return [*shared[:MOST_FILES], *own]


def _read(node: ast.expr, names: dict[str, str]) -> str | None:
    """Give the text or path that an expression is, if it is understood."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return names.get(name)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _joined([left, right], names)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = [_read(part, names) for part in (left, right)]
            return None if None in parts else "".join(filter(None, parts))
        case ast.JoinedStr(values=values):
            parts = [_read(part.value if isinstance(part, ast.FormattedValue) else part, names) for part in values]
            return None if None in parts else "".join(filter(None, parts))
        case ast.Call(func=ast.Name(id="str" | "Path"), args=[_, *_] as args):
            return _joined(args, names)
        case ast.Call(func=ast.Attribute(attr="joinpath", value=value), args=args):
            return _joined([value, *args], names)
        case ast.Call(func=ast.Attribute(attr="join"), args=[_, *_] as args):
            return _joined(args, names)
        case ast.Call(func=ast.Attribute(attr="abspath" | "realpath" | "normpath" | "Path"), args=[value]):
            return _read(value, names)
        case ast.Call(func=ast.Attribute(attr="resolve" | "absolute" | "as_posix", value=value), args=[]):
            return _read(value, names)
        case ast.Call(func=ast.Attribute(attr="dirname"), args=[value]) | ast.Attribute(attr="parent", value=value):
            return _above(_read(value, names), 1)
        case ast.Subscript(value=ast.Attribute(attr="parents", value=value), slice=ast.Constant(value=int(number))):
            return _above(_read(value, names), number + 1)
    return None


def _joined(nodes: list[ast.expr], names: dict[str, str]) -> str | None:
    parts = [part for node in nodes if (part := _read(node, names)) is not None]
    return os.path.join(*parts) if len(parts) == len(nodes) else None


def _above(path: str | None, levels: int) -> str | None:
    for _ in range(min(levels, 32)):
        path = None if path is None else os.path.dirname(path)
    return path
