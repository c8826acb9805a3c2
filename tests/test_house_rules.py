"""Rules of this code base that no linter knows."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("proxy", "backends") for path in (ROOT / folder).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
MOST_LINES = 600
"""A file of five hundred lines that is one idea is better than three that are one class; beyond this there are two."""
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "manager", "managers", "misc"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions_of_tests(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_module_says_what_it_owns(path):
    """Each begins with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_module_is_about_one_noun(path):
    """It is short enough to be read at one sitting, and its name says what it is about."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert path.stem not in VAGUE


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_every_test_has_one_sentence_of_specification(path):
    """Its docstring says what must hold, or why."""
    missing = [node.name for node in functions_of_tests(path) if not ast.get_docstring(node)]
    assert missing == []


@pytest.mark.parametrize("path", TESTS, ids=name)
def test_no_test_has_a_mock(path):
    """Tests meet the real thing or a fake that passes the same tests."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {module for module in imported if module.startswith(("unittest", "mock"))}


def module_name(path: Path) -> str:
    """The name by which a source is imported; a package has that of its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]  # without proxy/ or backends/
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports() -> Mapping[str, set[str]]:
    """What each module imports of the others, for its types only, or within a function, included."""
    paths = {module_name(path): path for path in SOURCES}
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        named: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                named |= inner & paths.keys() or {node.module}
        graph[module] = named & paths.keys() - {module}
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[frozenset[str]]:
    """The groups of modules each of which leads to all others of its group."""
    reach: dict[str, set[str]] = {}
    for module in graph:
        reach[module], ahead = set(), [module]
        while ahead:
            new = graph[ahead.pop()] - reach[module]
            reach[module] |= new
            ahead += new
    groups = {frozenset(other for other in reach[module] if module in reach[other]) for module in graph}
    return sorted((group for group in groups if len(group) > 1), key=lambda group: (len(group), min(group)))


def test_a_circle_is_found():
    """Whole, and without those that only lead into it."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == [frozenset("bc")]


def test_the_data_plane_starts_without_pydantic():
    """A worker of it is to start fast and to stay small."""
    modules = [module_name(path) for path in SOURCES if path.is_relative_to(ROOT / "proxy" / "hotswap" / "edge")]
    code = f"import sys, {', '.join(modules)}; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "proxy")}).returncode == 0


FLOORS = {path.name for path in (ROOT / "proxy" / "hotswap").iterdir() if path.is_dir()}
MIRROR = [path for path in TESTS if path.relative_to(ROOT / "tests").parts[0] in FLOORS]
"""Tests that lie as the proxy does; others are of the whole, or of what is beside it."""


@pytest.mark.parametrize("path", MIRROR, ids=name)
def test_tests_lie_where_what_they_test_lies(path):
    """Their folder is a room of the proxy."""
    assert (ROOT / "proxy" / "hotswap" / path.parent.relative_to(ROOT / "tests")).is_dir()


def acts(path: Path) -> bool:
    """Whether a module does something: it has a function that is more than a signature."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body and not isinstance(body[0], ast.Pass):
                return True
    return False


def test_each_module_has_its_tests():
    """Named after it, with a topic behind or not, or after its room; those of a room of control may be among `e2e`."""
    untested = []
    for path in SOURCES:
        if not path.is_relative_to(ROOT / "proxy" / "hotswap") or path.stem.startswith("__") or not acts(path):
            continue
        place = path.parent.relative_to(ROOT / "proxy" / "hotswap")
        room = ROOT / "tests" / place
        own = [room / f"test_{path.stem}.py", *room.glob(f"test_{path.stem}_*.py")]
        of_the_room = [folder / f"test_{room.name}.py" for folder in (room, room.parent)]
        if place.parts[0] == "control":
            of_the_room.append(ROOT / "tests" / "e2e" / f"test_{room.name}.py")
        if not any(test.exists() for test in own + of_the_room):
            untested.append(name(path))
    assert not untested, "\n".join(["modules without tests of their name, or of their room's:", *untested])


def test_one_class_name_means_one_thing():
    """In the whole tree; what is private to a module is its own."""
    places: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name(path))
    assert not {one: where for one, where in places.items() if len(where) > 1}


def test_no_module_imports_itself_by_way_of_others():
    """No circles, type-only imports included: what two files need of each other is a third, or they are one."""
    graph = imports()
    told = [
        "\n".join(
            [
                f"{len(group)} modules:",
                *(f"    {one} -> {', '.join(sorted(graph[one] & group))}" for one in sorted(group)),
            ]
        )
        for group in circles(graph)
    ]
    assert not told, "\n".join(["circles of imports:", *told])
