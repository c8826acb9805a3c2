"""Rules of this code base that no linter knows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
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
