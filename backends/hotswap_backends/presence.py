"""Tells whether a program, a server and an app are there, in the interpreter that would run them; imports none of them.

Run by the proxy as `python -c SOURCE QUESTION`, in the directory, with the environment and as the user of a pool, so
that what is found is what a backend would find. The question is JSON, and so is the last line of the output.

Modules are looked for along their packages as an import would do it, but no package is run; whether a module has an
attribute is read from its source. Where that cannot be told for certain, the answer is null and not a guess: a module
may make its names as it likes.

Standard library only, and nothing newer than Python 3.8, because the interpreter is the app's.
"""

from __future__ import annotations

import ast
import difflib
import json
import os
import shutil
import sys
from typing import Any

DYNAMIC = {"globals", "vars", "locals", "exec", "eval", "setattr"}
"""Functions by which a module gets names that its source does not show."""


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Answer one question.

    Args:
        question: `program` (looked up in PATH), or `modules` (names), or else `server` (a module), `module` and
            `attribute` of the app (empty: not asked), and `paths`, which come first in the search.

    Returns:
        What was found: see `look_for_program` and `look_for_app`; of each of the modules, and of the server, whether
        it is there; `pip` is whether this interpreter has pip.
    """
    if question.get("program"):
        return look_for_program(question["program"])
    if question.get("modules"):
        return {name: find(name) is not None for name in question["modules"]}
    sys.path[:0] = question.get("paths") or [""]
    found: dict[str, Any] = {
        "prefix": sys.prefix,
        "server": find(question["server"]) is not None,
        "pip": find("pip") is not None,
    }
    if question.get("module"):
        found.update(look_for_app(question["module"], question["attribute"]))
    return found


def look_for_program(name: str) -> dict[str, Any]:
    """Tell why a program cannot be executed: `wrong` is a few words about it, null when it can be."""
    path = shutil.which(name)
    if path is None:
        if "/" not in name:
            return {"wrong": f"there is none of this name in PATH ({os.environ.get('PATH', '')})"}
        return {"wrong": f"{name} may not be executed" if os.path.exists(name) else f"there is no {name}"}
    try:
        with open(path, "rb") as file:
            first = file.readline(256)
    except OSError:
        return {"wrong": None}
    words = first[2:].decode("utf-8", "replace").split() if first.startswith(b"#!") else []
    if words and not os.path.exists(words[0]):
        return {"wrong": f"{path} is to be run by {words[0]}, which does not exist"}
    return {"wrong": None}


def look_for_app(module: str, attribute: str) -> dict[str, Any]:
    """Look for MODULE:ATTRIBUTE.

    Returns:
        `missing`: the module or package that is not there, or null; `broken`: why its source cannot be run, or null;
        `has`: whether it has the attribute, null when only running it could tell; `file`: its source, or null;
        `near`: names that were perhaps meant; `below`: a directory in which the module would be found, or null.
    """
    found: dict[str, Any] = {"missing": None, "broken": None, "has": None, "file": None, "near": [], "below": None}
    parts, path = module.split("."), None
    for number in range(len(parts)):
        name = ".".join(parts[: number + 1])
        try:
            spec = find(name, path)
        except Exception:
            return found  # somebody's own importer: it cannot be told
        if spec is None:
            siblings = neighbours(sys.path if path is None else path)
            near = difflib.get_close_matches(parts[number], siblings, n=1)
            return {**found, "missing": name, "near": near, "below": elsewhere(parts[0]) if number == 0 else None}
        last = number == len(parts) - 1
        file = spec.origin if isinstance(spec.origin, str) and spec.origin.endswith(".py") else None
        source = read(file)
        if file is not None and source is not None:
            found["file"] = file
            try:
                tree = compile(source, file, "exec", ast.PyCF_ONLY_AST, True)
                compile(source, file, "exec", 0, True)
            except SyntaxError as error:
                return {**found, "broken": f"{file}:{error.lineno or 1}: {error.msg}"}
            except (ValueError, RecursionError, MemoryError):
                return found
            if last and attribute:
                found.update(look_for_attribute(tree, attribute, spec))
            elif uncertain(tree) or "__path__" in bound(tree):
                return found  # a package that makes its modules by itself
        elif last and attribute and spec.origin is None and spec.submodule_search_locations is not None:
            # A directory without __init__.py: only the modules in it can be attributes.
            found["has"] = None if find(f"{module}.{attribute}", spec.submodule_search_locations) else False
        path = spec.submodule_search_locations
        if path is None and not last:
            return {**found, "missing": ".".join(parts[: number + 2])}
    return found


def look_for_attribute(tree: ast.AST, attribute: str, spec: Any) -> dict[str, Any]:
    """Tell whether a module binds a name at its top, and names like it if it does not."""
    names = bound(tree)
    if attribute in names:
        return {"has": True}
    within = spec.submodule_search_locations
    if uncertain(tree) or (within and find(f"{spec.name}.{attribute}", within)):
        return {"has": None}
    usual = [name for name in ("app", "application", "asgi", "wsgi", "api", "create_app", "make_app") if name in names]
    return {"has": False, "near": difflib.get_close_matches(attribute, names, n=1) or usual[:1]}


def find(name: str, path: Any = None) -> Any:
    """Find a module as an import would, without running the packages above it."""
    for finder in sys.meta_path:
        look = getattr(finder, "find_spec", None)
        spec = None if look is None else look(name, path)
        if spec is not None:
            return spec
    return None


def read(file: str | None) -> bytes | None:
    """Read a source, or give None where there is none."""
    if file is None:
        return None
    try:
        with open(file, "rb") as source:
            return source.read()
    except OSError:
        return None


def bound(tree: ast.AST) -> set[str]:
    """Give the names that a module may bind at its top; rather too many than too few."""
    names: set[str] = set()
    waiting = list(ast.iter_child_nodes(tree))
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
            # What is in it is its own, but for what it declares to be the module's.
            names.update(name for one in ast.walk(node) if isinstance(one, ast.Global) for name in one.names)
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        else:
            name = getattr(node, "name", None)  # except … as name, case … as name
            if isinstance(name, str):
                names.add(name)
        waiting.extend(ast.iter_child_nodes(node))
    return names


def uncertain(tree: ast.AST) -> bool:
    """Tell whether a module may have names that its source does not show."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return True
        if isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
            return True
        if isinstance(node, ast.Name) and node.id in DYNAMIC:
            return True
        if isinstance(node, ast.Attribute) and node.attr in {"modules", "__dict__"}:
            return True
    return False


def neighbours(path: Any) -> list[str]:
    """Give the names of modules in the first directories of a search, which are the app's own."""
    names: list[str] = []
    for folder in list(path)[:3]:
        try:
            entries = sorted(os.listdir(folder or "."))[:500]
        except OSError:
            continue
        names += [name[:-3] if name.endswith(".py") else name for name in entries]
    return [name for name in names if name.isidentifier()]


def elsewhere(name: str) -> str | None:
    """Give a directory near this one in which a module would be found: that of a src layout, or the one above."""
    for folder in ("src", "app", "backend", "server", ".."):
        if os.path.isfile(os.path.join(folder, name + ".py")) or os.path.isdir(os.path.join(folder, name)):
            return folder
    return None


if __name__ == "__main__":
    print(json.dumps(answer(json.loads(sys.argv[1]))))
